"""Compressed objects: true sizes, detected damage, and files that any zstd program decompresses."""

from __future__ import annotations

from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dashboard.errors import InvalidInput, Kind
from dashboard.storage import Backend
from dashboard.storage.copying import copy_object
from dashboard.storage.driver import SMALL, CopiesWithin, Driver, Links, ReadsRanges
from dashboard.storage.drivers.memory import MemoryDriver
from dashboard.storage.errors import Damaged, StorageError, Unsupported
from dashboard.storage.registry import build, check_options
from dashboard.storage.types import Attributes
from dashboard.storage.wrappers.compressed.driver import Compressed
from dashboard.storage.wrappers.compressed.format import END, HEADER_BYTES, Header
from dashboard.storage.wrappers.compressed.zstd import compress
from tests.servers.drivers import ftp_on, new_folder, sftp_on
from tests.storage.objects import content_of, get, keys_of, md5, stream

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
LINES = b"".join(b"line %d of a log that repeats itself\n" % n for n in range(5000))
CONTENTS = st.one_of(
    st.binary(max_size=200),
    st.builds(lambda n, word: word * n, st.integers(0, 20_000), st.binary(max_size=12)),
    st.builds(content_of, st.integers(0, 200_000)),
)


def pair(*chosen: str) -> tuple[MemoryDriver, Compressed]:
    place = MemoryDriver()
    return place, Compressed(place, frozenset(chosen or ("log", "txt")))


def test_chosen_endings_are_stored_smaller_and_others_as_they_are() -> None:
    place, driver = pair()
    for key in ("a.log", "folder.log/b.LOG", "c.bin", "log", "d.log/e"):
        driver.put(key, LINES)
        assert get(driver, key) == LINES
        assert driver.stat(key).size == len(LINES)
        assert (place.stat(key).size < len(LINES) // 10) == key.lower().endswith(".log")
    assert {entry.size for entry in driver.list()} == {len(LINES)}
    assert driver.stat("c.bin") == place.stat("c.bin")
    assert driver.put("c.bin", b"x").etag == place.stat("c.bin").etag


def test_any_zstd_program_unpacks_it() -> None:
    place, driver = pair()
    driver.put("a.log", LINES)
    stream(driver, "b.log", LINES)
    for key in ("a.log", "b.log"):
        reader = zstandard.ZstdDecompressor().stream_reader(get(place, key), read_across_frames=True)
        assert reader.read() == LINES


@given(CONTENTS, st.integers(1, 100_000), st.booleans())
@QUICK
def test_however_it_is_written_it_comes_back(data: bytes, cut: int, known: bool) -> None:
    place, driver = pair()
    with driver.write("a.txt", size=len(data) if known else None) as writing:
        for start in range(0, len(data), cut):
            writing.write(data[start : start + cut])
        written = writing.commit()
    assert (written.size, written.md5, written.proven) == (len(data), md5(data), True)
    assert driver.put("b.txt", data).proven
    assert get(driver, "a.txt") == get(driver, "b.txt") == data
    assert [entry.size for entry in driver.list()] == [len(data)] * 2
    assert place.stat("b.txt").size <= len(data) + HEADER_BYTES + len(END)


@given(CONTENTS, st.integers(0, 300_000), st.integers(0, 300_000))
@QUICK
def test_a_part_is_the_part(data: bytes, start: int, length: int) -> None:
    _, driver = pair()
    driver.put("a.txt", data)
    assert isinstance(driver, ReadsRanges)
    assert driver.read_range("a.txt", start, length) == data[start : start + length]


def outcome(driver: Driver, key: str) -> bytes | Kind:
    try:
        return get(driver, key)
    except StorageError as error:
        return error.kind


@given(CONTENTS, st.integers(0), st.integers(0, 7))
@QUICK
def test_a_flipped_bit_never_yields_another_content_of_a_packed_object(
    data: bytes, at: int, bit: int
) -> None:
    place, driver = pair()
    data += LINES
    driver.put("a.txt", data)
    stored = bytearray(get(place, "a.txt"))
    assert len(stored) < len(data)
    stored[at % len(stored)] ^= 1 << bit
    place.put("a.txt", bytes(stored))
    assert outcome(driver, "a.txt") in (Kind.DAMAGED, data)


@given(CONTENTS, st.integers(0))
@QUICK
def test_a_cut_is_noticed_after_the_head(data: bytes, left: int) -> None:
    place, driver = pair()
    driver.put("a.txt", data)
    stored = get(place, "a.txt")
    place.put("a.txt", stored[: HEADER_BYTES + left % (len(stored) - HEADER_BYTES)])
    assert outcome(driver, "a.txt") is Kind.DAMAGED


def test_more_than_was_written_is_noticed_and_unpacked_in_bounded_memory() -> None:
    place, driver = pair()
    driver.put("a.txt", b"\0" * 300_000_000)
    stored = get(place, "a.txt")
    assert len(stored) < 20_000
    with driver.read("a.txt") as reading:
        assert max(map(len, reading.chunks())) <= 1 << 20
    for wrong in (b"\0" * 5, stored):
        place.put("a.txt", stored[: -len(END)] + wrong + END)
        with driver.read("a.txt") as reading, pytest.raises(Damaged):
            for _ in reading.chunks():
                pass


def test_what_was_there_before_is_read_as_it_is() -> None:
    place, driver = pair()
    place.put("old.txt", LINES)
    place.put("tiny.txt", b"x")
    place.put("none.txt", b"")
    assert [get(driver, key) for key in keys_of(driver)] == [b"", LINES, b"x"]
    assert [entry.size for entry in driver.list()] == [0, len(LINES), 1]
    # What is stored compressed, taken as a content of its own, is no special case.
    driver.put("a.txt", LINES)
    packed = get(place, "a.txt")
    driver.put("b.txt", packed)
    assert get(driver, "b.txt") == packed
    assert driver.stat("b.txt").size == len(packed)


def test_a_large_write_of_unknown_size_is_stored_as_it_is() -> None:
    place, driver = pair()
    data = (LINES * 60)[: SMALL + 100_000]
    with driver.write("a.txt") as writing:
        for start in range(0, len(data), 1 << 20):
            writing.write(data[start : start + (1 << 20)])
        written = writing.commit()
    assert written.proven
    assert place.stat("a.txt").size == len(data) + HEADER_BYTES + len(END)
    assert driver.stat("a.txt").size == len(data)
    assert get(driver, "a.txt") == data
    assert isinstance(driver, ReadsRanges)
    assert driver.read_range("a.txt", len(data), 5) == b""
    place.put("a.txt", get(place, "a.txt")[:5_000_000])
    for start in (4_900_000, 5_000_000, 6_000_000):
        with pytest.raises(Damaged):
            driver.read_range("a.txt", start, 1_000_000)


def test_a_small_object_that_says_to_be_huge_fills_no_memory() -> None:
    place, driver = pair()
    head = Header(True, 8 << 30).encode()
    place.put("a.txt", head + compress(bytes(1 << 20)) + END)
    assert place.stat("a.txt").size < 1000
    backend = Backend("media", driver)
    assert backend.stat("a.txt").size == 8 << 30
    with pytest.raises(Unsupported) as caught:
        backend.get("a.txt")
    assert "stream" in caught.value.reason
    with pytest.raises(Damaged):
        driver.read_range("a.txt", 7 << 30, 10)


def test_a_write_keeps_its_promise_of_size() -> None:
    place, driver = pair()
    with driver.write("a.txt", size=10) as writing:
        writing.write(b"12345")
        with pytest.raises(Damaged):
            writing.commit()
    with driver.write("a.txt", size=10) as writing:
        writing.write(b"1234567890")
        with pytest.raises(Damaged):
            writing.write(b"1")
    assert keys_of(place) == []


def test_an_object_that_goes_while_it_is_listed_is_not_listed() -> None:
    class Vanishing(MemoryDriver):
        def list(self, prefix: str = "", *, start_after: str = ""):  # type: ignore[no-untyped-def]
            for entry in list(super().list(prefix, start_after=start_after)):
                if entry.key == "b.txt":
                    self.delete("b.txt")
                if entry.key == "c.txt":
                    self.put("c.txt", content_of(50))
                yield entry

    driver = Compressed(Vanishing(), frozenset({"txt"}))
    for key in ("a.txt", "b.txt", "c.txt"):
        driver.put(key, LINES)
    assert keys_of(driver) == ["a.txt", "c.txt"]


def test_copies_on_the_server_stay_in_the_same_form() -> None:
    place, driver = pair()
    driver.put("a.log", LINES * 10, attributes=Attributes(content_type="text/x"))
    driver.put("a.bin", LINES)
    assert isinstance(driver, CopiesWithin)
    assert driver.can_copy_from(driver)
    assert not driver.can_copy_from(place)
    assert not driver.can_copy_from(pair("log")[1])
    written = driver.copy_from(driver, "a.log", "b.log", if_version=driver.stat("a.log").version)
    assert (written.size, written.md5) == (len(LINES) * 10, "")
    assert get(place, "b.log") == get(place, "a.log")
    assert driver.copy_from(driver, "a.bin", "b.bin").md5 == md5(LINES)
    with pytest.raises(Unsupported):
        driver.copy_from(driver, "a.log", "c.bin")
    [entry] = driver.list("a.log")
    copied = copy_object(
        driver, driver, entry, to="c.bin", progress=lambda n: None, stop=lambda: False, need_md5=False
    )
    assert copied.proven
    assert get(driver, "c.bin") == LINES * 10


def test_only_what_is_stored_as_it_is_has_an_address() -> None:
    class Linked(MemoryDriver):
        def url(self, key: str) -> str:
            return f"https://example.com/{key}"

        def temporary_url(self, key: str, *, seconds: int) -> str:
            return f"https://example.com/{key}?{seconds}"

    driver = Compressed(Linked(), frozenset({"txt"}))
    assert isinstance(driver, Links)
    assert driver.url("a.bin") == "https://example.com/a.bin"
    for call in (driver.url, lambda key: driver.temporary_url(key, seconds=1)):
        with pytest.raises(Unsupported, match="compressed"):
            call("a.txt")


def test_it_is_switched_on_by_options(tmp_path: Path) -> None:
    checked = check_options("local", {"root": str(tmp_path), "compress": " .TXT, *.log log"})
    assert checked["compress"] == "log txt"
    assert check_options("local", {"root": str(tmp_path), "compress": "*"})["compress"] == "*"
    driver = build("local", checked)
    assert isinstance(driver, Compressed)
    driver.put("a.txt", LINES)
    assert (tmp_path / "a.txt").stat().st_size < 50_000
    for wrong in ("a/b", "t?t", "x" * 20, "é"):
        with pytest.raises(InvalidInput) as caught:
            check_options("local", {"root": str(tmp_path), "compress": wrong})
        assert caught.value.subject == "compress"


@pytest.mark.parametrize("server", ["ftp", "sftp"])
def test_one_connection_is_enough_to_list(server: str, request: pytest.FixtureRequest) -> None:
    """While a listing goes on, beginnings are read; neither may wait for the other's connection."""
    if server == "ftp":
        ftp_server = request.getfixturevalue("ftp_server")
        inner = ftp_on(ftp_server, new_folder(ftp_server.root), connections="1")
    else:
        sftp_server = request.getfixturevalue("sftp_server")
        inner = sftp_on(sftp_server, new_folder(sftp_server.root), connections="1")
    driver = Compressed(inner, frozenset({"txt"}))
    keys = sorted(f"{folder}/{number:03}.txt" for folder in ("a", "b/c") for number in range(90))
    for key in keys:
        driver.put(key, b"again and again " * 20)
    assert {(entry.key, entry.size) for entry in driver.list()} == {(key, 320) for key in keys}
    driver.close()
