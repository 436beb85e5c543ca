"""The settings file's text: read like other programs read it, edited without touching anything else."""

from __future__ import annotations

import os
import random
import re
import subprocess

import pytest

from dashboard.envfile.env_document import Document
from dashboard.errors import InvalidInput, Kind, StowageError

FILES = 400
"""Of the 5,000 seeded files; `make torture` tries all."""


def test_it_reads_what_shells_and_dotenv_agree_on() -> None:
    text = (
        "\ufeff# comment\r\nA=1\r\n  export B = two words  # why\nC='$HOME \\n'\n"
        'D="a\\"b\\\\c\\$d\\ne"\nE=\nF= # none\nG=a#b\nH="two\nlines" # c\nA=last\n\nI=it\'s'
    )
    document = Document(text.encode())
    assert document.problems == ()
    assert document.values == {
        "A": "last",
        "B": "two words",
        "C": "$HOME \\n",
        "D": 'a"b\\c$d\ne',
        "E": "",
        "F": "",
        "G": "a#b",
        "H": "two\nlines",
        "I": "it's",
    }
    assert document.duplicates == ("A",)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("A='x", "never closed"),
        ('A="x\\"', "never closed"),
        ('A="x"y', "after the closing quote"),
        ("A=x\\", "backslash"),
        ("A=x\ry", "line end inside"),
        ("just words", "neither a comment"),
        ("1A=x", "neither a comment"),
    ],
)
def test_a_line_that_programs_read_differently_is_reported_and_the_file_not_edited(
    line: str, why: str
) -> None:
    document = Document(f"OK=1\n{line}\nB=2\n".encode())
    assert [problem.line for problem in document.problems] == [2]
    assert why in document.problems[0].reason
    with pytest.raises(StowageError, match="Line 2 of the settings file") as caught:
        document.edit({"OK": "2"})
    assert caught.value.kind is Kind.CONFLICT


def test_an_edit_keeps_comments_quotes_blanks_and_line_ends() -> None:
    before = b"# keep \xff\r\nexport A='x'  # note\r\nB = 1\r\nC=a b\r\nD=\r\nE= # e\r\nlast=2"
    after = Document(before).edit({"A": "y z", "B": "2", "C": "c d", "D": "$x", "E": "5", "N": "new"})
    expected = (
        b"# keep \xff\r\nexport A='y z'  # note\r\nB = 2\r\nC=c d\r\nD='$x'\r\nE=5 # e\r\nlast=2\r\nN=new"
    )
    assert after.data == expected
    assert after.edit({"N": None}).data == expected.removesuffix(b"\r\nN=new")


def test_all_lines_of_a_name_go_and_the_last_one_is_edited() -> None:
    document = Document(b"A=1\nB=2\nA=3\n")
    assert document.edit({"A": "4"}).data == b"A=1\nB=2\nA=4\n"
    assert document.edit({"A": None}).data == b"B=2\n"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("A-B", "x"),
        ("", "x"),
        ("1A", "x"),
        ("A B", "x"),
        ("A\nB", "x"),
        ("A", "x\0"),
        ("A", "\ud800"),
        ("A", "x\ry"),
        ("A", "x" * 40_000),
    ],
)
def test_a_name_or_value_that_cannot_be_written_is_refused(name: str, value: str) -> None:
    with pytest.raises(InvalidInput):
        Document(b"").edit({name: value})


def test_a_hostile_value_stays_one_value() -> None:
    for value in (
        "x\nEVIL=1",
        "'; rm -rf /; '",
        '"\nEVIL=1\n"',
        "$(id)",
        "`id`",
        "a'b\"c\\",
        "\n",
        " ",
        "#x",
        "a #b",
    ):
        after = Document(b"A=old\nB=keep\n").edit({"A": value})
        assert after.values == {"A": value, "B": "keep"}


def test_what_shells_read_is_what_was_meant(tmp_path: os.PathLike[str]) -> None:
    values = {
        "A": 'it\'s $HOME `id` \\ "x"',
        "B": "two words",
        "C": "two\nlines",
        "D": "plain",
        "E": "tab\there",
    }
    path = os.path.join(tmp_path, "env")
    with open(path, "wb") as file:
        file.write(Document(b"").edit(values).data)
    command = ["sh", "-c", 'set -a; . "$1"; env -0', "sh", path]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = dict(pair.partition("=")[::2] for pair in shown.split("\0"))
    assert {name: found[name] for name in values} == values


def some_file(rng: random.Random) -> bytes:
    """A settings file as people write them."""
    newline = rng.choice(("\n", "\n", "\r\n"))
    lines: list[str] = []
    for number in range(rng.randrange(0, 14)):
        name = rng.choice((f"NAME_{number}", f"n{rng.randrange(4)}", "AWS_REGION", "STOWAGE_PORT"))
        text = "".join(rng.choice("ab9 #=\t$\\'\"`{}é€/:%") for _ in range(rng.randrange(12)))
        kind = rng.randrange(9)
        blank = rng.choice(("", "", " ", "\t"))
        if kind == 0:
            lines.append(rng.choice(("", "  ", "\t")))
        elif kind == 1:
            lines.append(f"{blank}# {text}")
        elif kind <= 3:
            lines.append(f"{rng.choice(('', 'export '))}{name}{blank}={blank}'{text.replace(chr(39), '')}'")
        elif kind <= 5:
            quoted = re.sub(r'[\\"]', r"\\\g<0>", text) + rng.choice(("", newline + "more", "\\n"))
            lines.append(f'{name}="{quoted}"{rng.choice(("", " # note", "  "))}')
        else:
            plain = re.sub(r"""['"\\]""", "", text).strip()
            lines.append(f"{blank}{name}={plain}{rng.choice(('', ' # note', ' '))}")
    data = newline.join(lines) + rng.choice(("", newline))
    prefix = rng.choice((b"", b"", b"\xef\xbb\xbf"))
    return prefix + data.encode() + (b"" if rng.random() < 0.9 else newline.encode() + b"# \xff\xfe")


def some_value(rng: random.Random) -> str:
    return "".join(rng.choice("ab9 #=\t$\\'\"`{}é€/:%\n") for _ in range(rng.randrange(14)))


def check_one(seed: int) -> None:
    rng = random.Random(seed)
    data = some_file(rng)
    document = Document(data)
    assert document.data == data
    assert document.problems == (), data
    assert document.edit({n: v for n, v in document.values.items() if re.fullmatch(r"\w+", n)}).data == data
    names = [name for name in document.values if re.fullmatch(r"\w+", name)]
    if names:
        name = rng.choice(names)
        last = [each for each in document.assignments if each.name == name][-1]
        value = some_value(rng)
        changed = document.edit({name: value})
        assert changed.values == {**document.values, name: value}
        # All but the value is as it was, byte for byte, there and back.
        text, new = (d.data.decode("utf-8", "surrogateescape") for d in (document, changed))
        before, after = text[: last.value_start], text[last.value_end :]
        assert new.startswith(before)
        assert new.endswith(after)
        back = changed.edit({name: last.value})
        assert back.values == document.values
        assert back.data.decode("utf-8", "surrogateescape").startswith(before)
        removed = document.edit({name: None})
        assert removed.values == {k: v for k, v in document.values.items() if k != name}
    assert document.edit({"ADDED": some_value(rng)}).edit({"ADDED": None}).data == data


def test_seeded_files_come_back_byte_for_byte() -> None:
    for seed in range(FILES):
        check_one(seed)


@pytest.mark.torture
def test_five_thousand_seeded_files_come_back_byte_for_byte() -> None:
    for seed in range(5_000):
        check_one(seed)


def test_any_bytes_are_parsed_in_linear_time_and_kept() -> None:
    rng = random.Random(7)
    for _ in range(300):
        data = bytes(rng.choice(b"A=\"'\\#\n\r \x80\xffexport$") for _ in range(rng.randrange(200)))
        assert Document(data).data == data
    for piece in (b'A="\n', b"A='\n", b"\\", b'A="\\', b" ", b"A= ", b"export "):
        assert Document(piece * 30_000).data == piece * 30_000
