"""Names in a zip can be unpacked anywhere, into one folder, without replacing each other."""

from __future__ import annotations

import random
import unicodedata

import pytest

from dashboard.services.files.zips.zip_names import zip_names


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a/b.txt", "a/b.txt"),
        ("/etc/passwd", "etc/passwd"),
        ("../../etc/passwd", "__/__/etc/passwd"),
        ("a/../b", "a/__/b"),
        ("a//b/./c", "a/b/c"),
        ("..\\..\\evil.exe", ".._.._evil.exe"),
        ("C:\\x", "C__x"),
        ("c:/x", "c_/x"),
        ("nul.txt", "_nul.txt"),
        ("a/CON", "a/_CON"),
        ("a. ", "a__"),
        ("line\nbreak\x00", "line_break_"),
        ("exe.\u202egpj", "exe._gpj"),
        ("bad\udcff\udc80", "bad__"),
        ("\U0001f469\u200d\U0001f680.png", "\U0001f469\u200d\U0001f680.png"),
        ("日本/語.txt", "日本/語.txt"),
        ("", "_"),
        ("/", "_"),
        ("a?*.txt", "a__.txt"),
    ],
)
def test_a_name_becomes_safe(path: str, name: str) -> None:
    assert zip_names([path]) == [name]


def test_names_that_some_systems_treat_as_the_same_get_numbers() -> None:
    names = zip_names(
        ["A.txt", "a.txt", "a.TXT", "caf\u00e9", "cafe\u0301", "stra\u00dfe", "STRASSE", "a?", "a*"]
    )
    assert names[:3] == ["A.txt", "a (2).txt", "a (2).TXT"] or names[1] != names[2]
    assert len({unicodedata.normalize("NFC", name).casefold() for name in names}) == len(names)


def test_a_number_that_is_taken_is_not_given_again() -> None:
    assert zip_names(["a.txt", "a (2).txt", "A.txt"]) == ["a.txt", "a (2).txt", "A (3).txt"]


def test_a_file_with_the_name_of_a_folder_gets_a_number() -> None:
    assert zip_names(["photos", "photos/1.jpg", "Photos"]) == ["photos (2)", "photos/1.jpg", "Photos (3)"]


def test_long_names_keep_their_ending() -> None:
    (name,) = zip_names(["ä" * 500 + ".tar.gz"])
    assert name.endswith(".gz")
    assert len(name.encode()) <= 240


def test_nothing_odd_gets_through() -> None:
    noise = random.Random(7)
    characters = "aAbB./\\:*? \t\x00\x7f\u202e\udcff\u0301é日"
    paths = ["".join(noise.choices(characters, k=noise.randint(0, 12))) for _ in range(3000)]
    names = zip_names(paths)
    assert len(names) == len(paths)
    folded = {unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold()) for name in names}
    assert len(folded) == len(names)
    for name in names:
        name.encode()
        for part in name.split("/"):
            assert part not in ("", ".", "..")
            assert not set(part) & set('<>:"|?*\\\x00\x7f\t\u202e')
            assert part == part.rstrip(". ")


def test_a_hundred_thousand_alike_take_no_time() -> None:
    names = zip_names(["same.txt"] * 100_000)
    assert len(set(names)) == 100_000
