"""The length of a zip is known before its first byte, and nothing that is incomplete looks complete."""

from __future__ import annotations

import io
import random
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from dashboard.errors import Kind, StowageError
from dashboard.services.files.zips import zip_stream
from dashboard.services.files.zips.zip_stream import LIMIT, ZipEntry, zip_chunks, zip_length
from dashboard.storage.errors import Damaged

NAMES = ("a.txt", "ümlaut/é.bin", "folder/\U0001f469\u200d\U0001f680.png", "x" * 200, "日本語.txt")


def contents(entries: list[ZipEntry]) -> Iterator[tuple[ZipEntry, list[bytes]]]:
    for entry in entries:
        whole = random.Random(entry.name).randbytes(entry.size)
        yield entry, [whole[start : start + 1000] for start in range(0, len(whole), 1000)]


def made(entries: list[ZipEntry]) -> bytes:
    return b"".join(zip_chunks(contents(entries)))


def test_the_length_is_exact_and_the_content_comes_back() -> None:
    noise = random.Random(1)
    for count in (0, 1, 2, 40):
        entries = [
            ZipEntry(
                f"{number}-{noise.choice(NAMES)}", noise.choice((0, 1, 999, 1000, 54_321)), noise.random()
            )
            for number in range(count)
        ]
        whole = made(entries)
        assert len(whole) == zip_length(entries)
        with zipfile.ZipFile(io.BytesIO(whole)) as archive:
            assert archive.testzip() is None
            assert archive.namelist() == [entry.name for entry in entries]
            for entry, pieces in contents(entries):
                assert archive.read(entry.name) == b"".join(pieces)


@pytest.mark.parametrize("limit", [500, 1000])
@pytest.mark.parametrize("size", [-1, 0, 1])
@pytest.mark.parametrize("before", [0, 300, 2000])
def test_the_length_is_exact_around_the_border_to_64_bits(
    limit: int, size: int, before: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The same code with a small border: a file, an offset, and the directory on either side of it.
    monkeypatch.setattr(zip_stream, "LIMIT", limit)
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", limit)
    entries = [ZipEntry("first", before), ZipEntry("border", limit + size), ZipEntry("after", 3)]
    for extra in range(0, 30, 3):
        several = [*entries, *(ZipEntry(f"{number:03}", 1) for number in range(extra))]
        assert len(made(several)) == zip_length(several)


@pytest.mark.parametrize("before", range(860, 1000))
def test_the_length_is_exact_at_every_offset_of_the_directory(
    before: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zip_stream, "LIMIT", 1000)
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 1000)
    entries = [ZipEntry("a", before), ZipEntry("b", 0)]
    assert len(made(entries)) == zip_length(entries)


def assert_exact_for(count: int) -> None:
    entries = [ZipEntry(f"{number}", number % 2) for number in range(count)]
    chunks = zip_chunks((entry, [b"x"] * entry.size) for entry in entries)
    assert sum(map(len, chunks)) == zip_length(entries)


@pytest.mark.parametrize("count", [49, 50, 51, 60])
def test_the_length_is_exact_around_the_border_of_the_count(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zip_stream, "MAX_COUNT", 50)
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 50)
    assert_exact_for(count)


@pytest.mark.torture
@pytest.mark.parametrize("count", [65_534, 65_535, 65_536, 70_000])
def test_the_length_is_exact_for_many_files(count: int) -> None:
    assert_exact_for(count)


@pytest.mark.torture
@pytest.mark.parametrize("sizes", [(LIMIT, 5), (LIMIT + 1, 5), (5 << 30, 3 << 30, 7)])
def test_the_length_is_exact_for_files_of_gigabytes(sizes: tuple[int, ...]) -> None:
    piece = bytes(1 << 20)

    def zeros(size: int) -> Iterator[bytes]:
        for _ in range(size >> 20):
            yield piece
        yield piece[: size % (1 << 20)]

    entries = [ZipEntry(f"file-{number}", size) for number, size in enumerate(sizes)]
    length = sum(len(chunk) for chunk in zip_chunks((entry, zeros(entry.size)) for entry in entries))
    assert length == zip_length(entries)


def test_files_below_two_gigabytes_take_no_64_bits() -> None:
    # The standard library alone would begin at 1.9 GiB.
    assert (zip_stream.MAX_COUNT, LIMIT) == (zipfile.ZIP_FILECOUNT_LIMIT, zipfile.ZIP64_LIMIT)
    size = LIMIT - 100
    assert zip_length([ZipEntry("a", size)]) - size == 30 + 1 + 16 + 46 + 1 + 22
    assert zip_length([ZipEntry("a", LIMIT + 1)]) - LIMIT - 1 == 30 + 1 + 20 + 24 + 46 + 1 + 20 + 22 + 76


def assert_broken(stream: Iterator[bytes], error: type[Exception]) -> bytes:
    sent = list[bytes]()
    with pytest.raises(error):
        sent.extend(stream)
    whole = b"".join(sent)
    assert not zipfile.is_zipfile(io.BytesIO(whole))
    return whole


@pytest.mark.parametrize("pieces", [[], [b"xy"], [b"xyz", b"x"], [b"xyz" * 1000]])
def test_a_file_of_another_size_ends_the_zip_without_a_directory(pieces: list[bytes]) -> None:
    entries = [ZipEntry("first", 5), ZipEntry("changed", 3), ZipEntry("last", 1)]
    stream = zip_chunks(zip(entries, ([b"12345"], pieces, [b"x"]), strict=True))
    assert len(assert_broken(stream, Damaged)) < zip_length(entries)


def test_an_error_of_a_file_ends_the_zip_without_a_directory() -> None:
    def breaking() -> Iterator[bytes]:
        yield b"xy"
        raise StowageError(Kind.UNREACHABLE, "The line broke.")

    stream = zip_chunks([(ZipEntry("first", 5), [b"12345"]), (ZipEntry("broken", 3), breaking())])
    assert_broken(stream, StowageError)


@pytest.mark.parametrize("modified", [None, -1e18, 0.0, 1e9, 4.4e9, 1e18, float("nan"), float("inf")])
def test_any_time_is_stored_as_well_as_it_can_be(modified: float | None) -> None:
    whole = made([ZipEntry("a", 1, modified)])
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        year = archive.getinfo("a").date_time[0]
    assert year == {1e9: 2001, 4.4e9: 2107, 1e18: 1980}.get(modified or 0.0, 1980)


def test_programs_in_use_read_it(tmp_path: Path) -> None:
    import shutil
    import subprocess

    unzip = shutil.which("unzip") or shutil.which("bsdtar")
    if unzip is None:
        pytest.skip("neither unzip nor bsdtar is installed")
    entries = [ZipEntry("a/b.txt", 3, 1e9), ZipEntry("ü.txt", 4, 1e9)]
    (tmp_path / "x.zip").write_bytes(made(entries))
    command = ["-tq", "x.zip"] if unzip.endswith("unzip") else ["-tf", "x.zip"]
    ran = subprocess.run([unzip, *command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
