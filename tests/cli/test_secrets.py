"""Secrets come from the environment, a file or a prompt, and are never repeated."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from dashboard.cli import arguments
from dashboard.errors import InvalidInput
from dashboard.storage.options import Option
from dashboard.storage.registry import all_options, find_preset
from tests.cli.conftest import Cli

SECRET = "wJalrXUtnFEMI-canary-K7MDENG"
S3 = ("--preset", "s3", "--option", "endpoint=http://127.0.0.1:9", "--option", "region=us-east-1")
S3 = (*S3, "--option", "bucket=media", "--option", "access_key_id=AKIAEXAMPLE00000")


def known(preset: str) -> tuple[Option, ...]:
    return all_options(find_preset(preset))


@pytest.mark.parametrize(
    "arguments",
    [
        ("--secret", f"secret_access_key={SECRET}"),
        ("--option", f"secret_access_key={SECRET}"),
        ("--secret", f"{SECRET}={SECRET}"),
        ("--secret", f"{SECRET}"),
    ],
)
@pytest.mark.parametrize("extra", [(), ("--json",)])
def test_a_secret_in_clear_is_refused_without_repeating_it(
    untouched: Cli, arguments: tuple[str, ...], extra: tuple[str, ...]
) -> None:
    answer = untouched("backend", "add", "media", *S3, *arguments, *extra)
    assert answer.code == 2
    assert SECRET not in answer.out + answer.err


def test_the_refusal_says_how_instead(untouched: Cli) -> None:
    answer = untouched("backend", "add", "media", *S3, "--secret", f"secret_access_key={SECRET}")
    assert "--secret secret_access_key=env:VARIABLE" in answer.err
    assert "file:PATH" in answer.err


def test_from_the_environment_and_from_a_file(
    console: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_SECRET", SECRET)
    one = console("backend", "add", "one", *S3, "--secret", "secret_access_key=env:MY_SECRET", "--json")
    assert one.code == 0, one.err
    path = tmp_path / "secret.txt"
    path.write_text(f"{SECRET}\n")
    two = console("backend", "add", "two", *S3, "--secret", f"secret_access_key=file:{path}", "--json")
    assert two.code == 0, two.err
    for answer in (one, two, console("backend", "show", "one"), console("backend", "list", "--json")):
        assert SECRET not in answer.out + answer.err
    assert one.document["secrets"] == two.document["secrets"] == {"secret_access_key": SECRET[-4:]}


@pytest.mark.parametrize("source", ["env:NOT_SET_ANYWHERE", "file:/nowhere/at/all", "file:/"])
def test_a_source_that_holds_nothing_is_a_sentence(untouched: Cli, source: str) -> None:
    answer = untouched("backend", "add", "media", *S3, "--secret", f"secret_access_key={source}")
    assert answer.code == 2
    assert "Traceback" not in answer.err


def test_asking_needs_a_terminal(untouched: Cli) -> None:
    answer = untouched("backend", "add", "media", *S3, "--secret", "secret_access_key")
    assert answer.code == 2
    assert "not a terminal" in answer.err
    assert "env:VARIABLE" in answer.err


def test_a_secret_of_several_lines_comes_from_a_file_and_is_not_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "id_ed25519"
    path.write_text("-----BEGIN\nline\n-----END\n")
    given = arguments.parse_secrets([f"private_key=file:{path}"], known("sftp"))
    assert given["private_key"].reveal() == path.read_text().rstrip()
    with pytest.raises(InvalidInput, match="several lines"):
        arguments.parse_secrets(["private_key"], known("sftp"))


def test_a_file_that_is_too_large_or_no_text_is_refused(tmp_path: Path) -> None:
    large, binary = tmp_path / "large", tmp_path / "binary"
    large.write_bytes(b"x" * (arguments.MAX_FILE_BYTES + 1))
    binary.write_bytes(b"\xff\xfe\x00")
    for path in (large, binary):
        with pytest.raises(InvalidInput):
            arguments.parse_secrets([f"secret_access_key=file:{path}"], known("s3"))


def test_a_certificate_comes_from_a_file_and_other_options_do_not(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_text("-----BEGIN CERTIFICATE-----\n")
    given = arguments.parse_options([f"ca_certificate=file:{path}", f"prefix=file:{path}"], known("s3"))
    assert given == {"ca_certificate": path.read_text(), "prefix": f"file:{path}"}


def test_the_same_name_twice_is_refused() -> None:
    with pytest.raises(InvalidInput, match="more than once"):
        arguments.parse_options(["bucket=a", "bucket=b"], known("s3"))


def test_a_value_may_hold_an_equals_sign() -> None:
    assert arguments.parse_options(["prefix=a=b"], known("s3")) == {"prefix": "a=b"}


@pytest.mark.parametrize("text", ["", "\n"])
def test_an_empty_standard_input_is_no_password(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    with pytest.raises(InvalidInput, match="no password on standard input"):
        arguments.read_password(from_stdin=True)
