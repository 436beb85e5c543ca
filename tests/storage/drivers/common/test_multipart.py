"""Writes in pieces: their size and order, how many are on their way, and what is left of those that fail."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextvars import ContextVar

import pytest

from dashboard.storage.driver import SMALL
from dashboard.storage.drivers.common.multipart import (
    MultipartWriting,
    UploadThreads,
    WriteRequest,
    composite_checksum,
    part_size,
)
from dashboard.storage.errors import Damaged, Unsupported
from dashboard.storage.types import Attributes, Written

MIB = 1024 * 1024
whose: ContextVar[str] = ContextVar("whose", default="nobody")


class ScriptedStore:
    """Keeps pieces, and notes what it was asked for."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.pieces: dict[int, bytes] = {}
        self.on_their_way = self.most_on_their_way = 0
        self.callers: set[str] = set()
        self.refuses = 0
        self.loses = 0
        self.lock = threading.Lock()
        self.second_arrived = threading.Event()

    def take(self, number: int, data: bytes) -> None:
        with self.lock:
            self.on_their_way += 1
            self.most_on_their_way = max(self.most_on_their_way, self.on_their_way)
            self.callers.add(whose.get())
        if number == 1:
            # It is overtaken.
            assert self.second_arrived.wait(60)
        if number == 2:
            self.second_arrived.set()
        with self.lock:
            self.on_their_way -= 1
            if number == self.refuses:
                raise Unsupported("write", "No.")
            self.pieces[number] = data


class InPieces(MultipartWriting[int]):
    max_parts = 4

    def __init__(self, service: ScriptedStore, senders: UploadThreads, piece: int) -> None:
        super().__init__(senders, WriteRequest("a", None, None, False, self._whole), piece)
        self._service = service

    def _whole(
        self, key: str, data: bytes, *, attributes: Attributes | None = None, create_only: bool = False
    ) -> Written:
        self._service.calls.append("put")
        return Written("a", len(data), hashlib.md5(data, usedforsecurity=False).hexdigest())

    def _create_upload(self) -> None:
        self._service.calls.append("begin")

    def _send_part(self, number: int, data: memoryview) -> int:
        self._service.take(number, bytes(data))
        return number

    def _complete_upload(self, last: memoryview) -> None:
        assert not last
        assert self._parts == sorted(self._service.pieces)
        self._service.calls.append("complete")

    def _receipt(self) -> Written:
        self._check_size(sum(map(len, self._service.pieces.values())) - self._service.loses)
        return Written("a", self._size, self._md5_hex())

    def _abort_upload(self) -> None:
        self._service.calls.append("drop")


@pytest.fixture
def senders() -> Iterator[UploadThreads]:
    threads = UploadThreads("test")
    yield threads
    threads.close()


def test_pieces_are_as_small_as_may_be_and_hold_the_object() -> None:
    assert part_size(None, 10_000) * 10_000 >= 160 * 10**9
    for most in (10_000, 50_000):
        for size in (0, SMALL, 9 * MIB, 80_000 * MIB, 80_000 * MIB + 1, 400 * 10**9, 5 * 1024**4, 10**13):
            piece = part_size(size, most)
            assert piece % MIB == 0
            assert piece >= SMALL
            assert piece * most >= size
            assert piece == SMALL or (piece - MIB) * most < size


def test_they_arrive_in_any_order_and_stand_in_theirs(senders: UploadThreads) -> None:
    service, data = ScriptedStore(), bytes(range(256)) * 13
    whose.set("the caller")
    with InPieces(service, senders, 1000) as writing:
        for start in range(0, len(data), 700):
            writing.write(data[start : start + 700])
        written = writing.commit()
    assert b"".join(service.pieces[number] for number in (1, 2, 3, 4)) == data
    assert (written.size, written.md5) == (len(data), hashlib.md5(data, usedforsecurity=False).hexdigest())
    assert service.calls == ["begin", "complete"]
    assert service.most_on_their_way == 2
    assert service.callers == {"the caller"}


def test_what_fits_into_one_is_put(senders: UploadThreads) -> None:
    service = ScriptedStore()
    with InPieces(service, senders, 1000) as writing:
        writing.write(b"x" * 600)
        writing.write(b"x" * 400)
        assert writing.commit().size == 1000
    assert service.calls == ["put"]


@pytest.mark.parametrize("how", ["refused", "too many", "left"])
def test_what_is_not_finished_is_dropped_once(senders: UploadThreads, how: str) -> None:
    service = ScriptedStore()
    service.refuses = 2 if how == "refused" else 0
    with InPieces(service, senders, 1000) as writing:
        writing.write(b"x" * (4500 if how == "too many" else 2500))
        if how != "left":
            with pytest.raises(Unsupported):
                writing.commit()
    assert service.calls == ["begin", "drop"]


def test_what_was_made_is_not_dropped_when_it_is_found_wanting(senders: UploadThreads) -> None:
    service = ScriptedStore()
    service.loses = 1
    with InPieces(service, senders, 1000) as writing:
        writing.write(b"x" * 2500)
        with pytest.raises(Damaged, match="2,499 bytes at the destination, but 2,500"):
            writing.commit()
    assert service.calls == ["begin", "complete"]


def test_a_checksum_of_pieces_is_the_one_s3_tells() -> None:
    digests = [hashlib.md5(each, usedforsecurity=False).digest() for each in (b"a", b"b")]
    assert (
        composite_checksum(digests)
        == f"{hashlib.md5(b''.join(digests), usedforsecurity=False).hexdigest()}-2"
    )
