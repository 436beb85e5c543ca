"""Encrypted objects: sizes, ranges, and detection of every change to the stored bytes."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from dashboard.errors import InvalidInput, Kind
from dashboard.storage.checks.wrappers import encryption_key, new_encryption_key
from dashboard.storage.copying import copy_object, same_content
from dashboard.storage.driver import CopiesWithin, Driver, Links, ReadsRanges
from dashboard.storage.drivers.memory import MemoryDriver
from dashboard.storage.errors import Damaged, StorageError
from dashboard.storage.registry import build, check_options
from dashboard.storage.types import Attributes, Entry, Secret
from dashboard.storage.wrappers.encrypted.driver import Encrypted
from dashboard.storage.wrappers.encrypted.format import (
    ENCRYPTED_SEGMENT_BYTES,
    HEADER_BYTES,
    MAX_CONTENT_BYTES,
    SEGMENT_BYTES,
    content_size,
    is_valid_stored_size,
    stored_size,
)
from dashboard.storage.wrappers.read_only import ReadOnly
from tests.storage.objects import content_of, get, md5, stream

KEY = bytes(range(32))
QUICK = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
SIZES = st.one_of(
    st.integers(0, 300),
    st.builds(lambda n, d: max(0, n * SEGMENT_BYTES + d), st.integers(0, 3), st.integers(-20, 20)),
)


class Slices(MemoryDriver):
    """A place whose reads come in segments of any size."""

    piece = 1 << 20

    def read(self, key: str, *, if_version: str | None = None):  # type: ignore[no-untyped-def]
        reading = super().read(key, if_version=if_version)
        data, piece = reading.read_all(), self.piece

        def chunks() -> Iterator[bytes]:
            for start in range(0, len(data), piece):
                yield data[start : start + piece]

        reading.chunks = chunks  # type: ignore[method-assign]
        return reading


def pair(key: bytes = KEY) -> tuple[Slices, Encrypted]:
    place = Slices()
    return place, Encrypted(place, key)


def stored_of(place: Driver, key: str) -> bytes:
    return get(place, key)


def assert_damaged(driver: Driver, key: str) -> StorageError:
    with pytest.raises(StorageError) as caught:
        get(driver, key)
    assert caught.value.kind is Kind.DAMAGED
    assert key in caught.value.reason
    return caught.value


# Sizes


@given(st.one_of(st.integers(0, 5 * SEGMENT_BYTES), st.integers(0, MAX_CONTENT_BYTES)))
@example(0)
@example(SEGMENT_BYTES)
@example(SEGMENT_BYTES + 1)
@example(MAX_CONTENT_BYTES)
@settings(deadline=None)
def test_content_and_stored_size_determine_each_other(size: int) -> None:
    stored = stored_size(size)
    assert content_size(stored) == size
    assert is_valid_stored_size(stored)
    assert stored_size(size + 1) > stored


@given(st.integers(0, 4 * ENCRYPTED_SEGMENT_BYTES))
@settings(deadline=None)
def test_other_sizes_are_known_to_be_impossible(stored: int) -> None:
    assert content_size(stored) >= 0
    assert is_valid_stored_size(stored) == (
        stored >= HEADER_BYTES + 16 and stored_size(content_size(stored)) == stored
    )


# There and back


@given(SIZES, st.integers(1, 200_000), st.integers(1, 200_000), st.integers(0, 99))
@QUICK
def test_however_it_is_cut_on_the_way_it_comes_back(size: int, write: int, read: int, seed: int) -> None:
    assume(size // min(write, read) < 5000)
    data = content_of(size, seed)
    place, driver = pair()
    place.piece = read
    with driver.write("a") as writing:
        for start in range(0, size, write):
            writing.write(data[start : start + write])
        written = writing.commit()
    assert (written.size, written.md5, written.stored_checksum) == (size, md5(data), md5(data))
    assert get(driver, "a") == data
    put = driver.put("b", data)
    assert put.proven
    with driver.read("b") as reading:
        assert reading.read_all() == data
    assert [entry.size for entry in driver.list()] == [size, size]
    assert place.stat("a").size == place.stat("b").size == stored_size(size)


@given(SIZES, st.integers(0, 250_000), st.integers(0, 250_000))
@QUICK
def test_a_part_is_the_part(size: int, start: int, length: int) -> None:
    data = content_of(size)
    _, driver = pair()
    driver.put("a", data)
    assert isinstance(driver, ReadsRanges)
    assert driver.read_range("a", start, length) == data[start : start + length]


def test_equal_contents_look_nothing_alike_and_nothing_like_the_content() -> None:
    place, driver = pair()
    data = b"the same words again and again " * 5000
    for key in ("a", "b"):
        driver.put(key, data)
        stream(driver, key + "2", data)
    stored = [stored_of(place, key) for key in ("a", "b", "a2", "b2")]
    assert len({each[:HEADER_BYTES] for each in stored}) == 4
    for each in stored:
        assert b"words" not in each
        seen = {each[at : at + 16] for at in range(HEADER_BYTES, len(each) - 16, 16)}
        assert len(seen) == len(range(HEADER_BYTES, len(each) - 16, 16))


# Damage


@given(SIZES, st.integers(0), st.integers(0, 7))
@QUICK
def test_a_flipped_bit_is_noticed_wherever_it_is(size: int, at: int, bit: int) -> None:
    place, driver = pair()
    driver.put("a", content_of(size))
    stored = bytearray(stored_of(place, "a"))
    stored[at % len(stored)] ^= 1 << bit
    place.put("a", bytes(stored))
    assert_damaged(driver, "a")


@given(SIZES, st.integers(0))
@QUICK
def test_a_cut_is_noticed_wherever_it_is(size: int, left: int) -> None:
    place, driver = pair()
    driver.put("a", content_of(size))
    stored = stored_of(place, "a")
    place.put("a", stored[: left % len(stored)])
    assert_damaged(driver, "a")


@pytest.mark.parametrize("segments", [1, 2, 3])
def test_a_cut_between_pieces_is_noticed(segments: int) -> None:
    place, driver = pair()
    driver.put("a", content_of(3 * SEGMENT_BYTES + 5))
    place.put("a", stored_of(place, "a")[: HEADER_BYTES + segments * ENCRYPTED_SEGMENT_BYTES])
    assert_damaged(driver, "a")
    assert isinstance(driver, ReadsRanges)
    # The parts that are gone are not taken for parts beyond the end.
    for start in (segments * SEGMENT_BYTES - 1, segments * SEGMENT_BYTES, 3 * SEGMENT_BYTES):
        with pytest.raises(Damaged):
            driver.read_range("a", start, 2)
    assert driver.read_range("a", 3 * SEGMENT_BYTES, 0) == b""


def rearranged(stored: bytes, *order: int) -> bytes:
    segments = [
        stored[at : at + ENCRYPTED_SEGMENT_BYTES]
        for at in range(HEADER_BYTES, len(stored), ENCRYPTED_SEGMENT_BYTES)
    ]
    return stored[:HEADER_BYTES] + b"".join(segments[number] for number in order)


@pytest.mark.parametrize("order", [(1, 0, 2), (0, 2, 1), (0, 0, 2), (0, 2), (1, 2), (0, 1, 2, 2), (2,)])
def test_pieces_out_of_order_twice_or_missing_are_noticed(order: tuple[int, ...]) -> None:
    place, driver = pair()
    driver.put("a", content_of(3 * SEGMENT_BYTES))
    place.put("a", rearranged(stored_of(place, "a"), *order))
    assert_damaged(driver, "a")


def test_a_piece_of_another_object_is_noticed() -> None:
    place, driver = pair()
    driver.put("a", content_of(2 * SEGMENT_BYTES))
    driver.put("b", content_of(2 * SEGMENT_BYTES))
    a, b = stored_of(place, "a"), stored_of(place, "b")
    for mixed in (
        a[: HEADER_BYTES + ENCRYPTED_SEGMENT_BYTES] + b[HEADER_BYTES + ENCRYPTED_SEGMENT_BYTES :],
        b[:HEADER_BYTES] + a[HEADER_BYTES:],
        a + b,
        a + b"\0",
    ):
        place.put("a", mixed)
        assert_damaged(driver, "a")
        assert isinstance(driver, ReadsRanges)
    place.put("a", a[: HEADER_BYTES + ENCRYPTED_SEGMENT_BYTES] + b[HEADER_BYTES + ENCRYPTED_SEGMENT_BYTES :])
    assert driver.read_range("a", 0, SEGMENT_BYTES) == content_of(2 * SEGMENT_BYTES)[:SEGMENT_BYTES]
    with pytest.raises(Damaged):
        driver.read_range("a", SEGMENT_BYTES - 1, 2)


def test_nothing_is_handed_out_of_a_damaged_piece() -> None:
    place, driver = pair()
    data = content_of(5 * SEGMENT_BYTES)
    driver.put("a", data)
    stored = bytearray(stored_of(place, "a"))
    stored[HEADER_BYTES + 3 * ENCRYPTED_SEGMENT_BYTES + 7] ^= 1
    place.put("a", bytes(stored))
    place.piece = ENCRYPTED_SEGMENT_BYTES
    with driver.read("a") as reading:
        chunks = reading.chunks()
        got = b"".join(next(chunks) for _ in range(3))
        with pytest.raises(Damaged):
            next(chunks)
    assert data.startswith(got)
    assert 2 * SEGMENT_BYTES <= len(got) <= 3 * SEGMENT_BYTES


def test_what_is_not_encrypted_and_what_has_another_key_say_so() -> None:
    place, driver = pair()
    place.put("old", content_of(5000))
    place.put("tiny", b"x")
    place.put("none", b"")
    _, other = place, Encrypted(place, KEY[::-1])
    other.put("theirs", b"secret")
    for key in ("old", "tiny", "none"):
        error = assert_damaged(driver, key)
        assert "not an encrypted object" in error.reason
        assert error.remedy
        assert not error.retryable
    assert "another key" in assert_damaged(driver, "theirs").reason
    assert get(other, "theirs") == b"secret"
    assert [entry.size >= 0 for entry in driver.list()] == [True] * 4
    assert isinstance(driver, ReadsRanges)
    with pytest.raises(StorageError, match="not an encrypted"):
        driver.read_range("old", 0, 10)


# Tokens and receipts


def test_no_token_of_stored_bytes_passes_for_one_of_the_content(tmp_path: Path) -> None:
    place, driver = pair()
    written = driver.put("a", b"hello")
    info = driver.stat("a")
    [entry] = driver.list()
    assert info.md5 is None
    assert place.stat("a").md5 is not None
    assert written.etag == info.etag == entry.etag
    for token in (info.etag, info.version):
        assert token
        assert not re.match(r"[0-9a-f]{32}", token)
    for token in (info.etag, info.version):
        with driver.read("a", if_version=token) as reading:
            assert reading.read_all() == b"hello"
    assert not isinstance(driver, Links)


def test_a_receipt_that_does_not_fit_stays_unproven() -> None:
    class HostileServer(MemoryDriver):
        def put(self, *args, **more):  # type: ignore[no-untyped-def]
            written = super().put(*args, **more)
            return written.__class__(
                written.key, written.size, written.md5, written.etag, written.md5, "0" * 32
            )

    driver = Encrypted(HostileServer(), KEY)
    written = driver.put("a", b"hello")
    assert not written.proven
    assert written.stored_checksum == "0" * 32
    assert written.md5 == md5(b"hello")


@pytest.mark.parametrize("size", [0, 5000, 2_000_000, 9_000_000])
def test_objects_are_copied_in_and_out_and_compared(size: int) -> None:
    plain, (_, driver), back = MemoryDriver(), pair(), MemoryDriver()
    data = content_of(size)
    plain.put("a", data, attributes=Attributes(content_type="text/x"))
    copied = _copy(plain, driver)
    assert copied.proven
    assert copied.written.md5 == md5(data)
    [here], there = plain.list(), driver.stat("a")
    assert same_content(plain, driver, here, there)
    assert driver.stat("a").attributes.content_type == "text/x"
    assert _copy(driver, back).proven
    assert get(back, "a") == data
    plain.put("a", data[:-1] + b"!" if data else b"")
    [here] = plain.list()
    assert same_content(plain, driver, here, there) is (not data)


def _copy(source: Driver, destination: Driver):  # type: ignore[no-untyped-def]
    [entry] = source.list("a")
    return copy_object(
        source, destination, entry, to="a", progress=lambda done: None, stop=lambda: False, need_md5=False
    )


def test_the_server_copies_between_places_with_one_key_only() -> None:
    place, driver = pair()
    same, other = Encrypted(MemoryDriver(), KEY), Encrypted(MemoryDriver(), KEY[::-1])
    data = content_of(2_000_000)
    driver.put("a", data)
    assert isinstance(same, CopiesWithin)
    assert isinstance(other, CopiesWithin)
    assert same.can_copy_from(driver)
    assert not same.can_copy_from(place)
    assert not same.can_copy_from(other)
    assert not same.can_copy_from(ReadOnly(place))
    assert isinstance(MemoryDriver(), CopiesWithin)
    version = driver.stat("a").version
    written = same.copy_from(driver, "a", "b", if_version=version)
    assert (written.size, written.md5) == (len(data), "")
    assert get(same, "b") == data
    for destination in (same, other):
        _copy(ReadOnly(driver), destination)
        assert get(destination, "a") == data
    assert stored_of(same.inner, "a") == stored_of(place, "a")
    assert stored_of(other.inner, "a") != stored_of(place, "a")


# Keys


def test_a_key_is_taken_in_the_usual_spellings_and_nothing_else() -> None:
    text = base64.b64encode(b"\xff" * 32).decode()
    for spelling in (text, text.rstrip("="), text.replace("/", "_")):
        assert encryption_key(Secret(spelling)) == b"\xff" * 32
    for wrong in ("", "short", text[:-4], text + text, "!" * 44, "é" * 44, text[:-1] + "*"):
        with pytest.raises(InvalidInput) as caught:
            encryption_key(Secret(wrong))
        assert caught.value.subject == "encryption_key"
        assert not wrong or wrong not in caught.value.reason
    assert len({new_encryption_key().reveal() for _ in range(20)}) == 20
    assert len(encryption_key(new_encryption_key())) == 32


def test_it_is_switched_on_by_options(tmp_path: Path) -> None:
    options, secrets = {"root": str(tmp_path), "encrypt": "on"}, {"encryption_key": new_encryption_key()}
    with pytest.raises(InvalidInput) as caught:
        check_options("local", options)
    assert caught.value.subject == "encryption_key"
    driver = build("local", check_options("local", options, secrets), secrets)
    assert isinstance(driver, Encrypted)
    driver.put("a", b"hello" * 100)
    assert b"hello" not in (tmp_path / "a").read_bytes()
    assert list(driver.list()) == [Entry("a", 500, driver.stat("a").modified)]
    key = secrets["encryption_key"].reveal()
    assert key not in repr(driver) + str(vars(driver))
    assert repr(encryption_key(secrets["encryption_key"])) not in str(vars(driver))
