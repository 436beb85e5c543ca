"""Large writes in pieces: one is filled while the one before, or two, are on their way.

What every service that takes an object in parts, blocks or pieces shares: bounded memory, how many are on
their way at once, their order, dropping what is not finished. A driver says how an upload begins, how a
piece is sent and how the pieces become the object.
"""

from __future__ import annotations

import hashlib
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from dataclasses import dataclass
from types import TracebackType
from typing import ClassVar, Generic, Protocol, Self, TypeVar

from dashboard.storage.driver import SMALL
from dashboard.storage.errors import Damaged, Unsupported
from dashboard.storage.types import Attributes, Written

UNKNOWN_PIECE = 2 * SMALL
"""Bytes of a piece when nobody knows how much will come: 10,000 of them are 160 GB."""
_THREADS = 12
_MIB = 1024 * 1024

T = TypeVar("T")
U = TypeVar("U")


def piece_size(size: int | None, most: int) -> int:
    """Bytes per piece, whole MiB and at least ``SMALL``, so that ``most`` pieces hold ``size`` bytes."""
    if size is None:
        return UNKNOWN_PIECE
    needed = -(-size // most)
    return max(SMALL, -(-needed // _MIB) * _MIB)


def checksum_of(digests: Iterable[bytes]) -> str:
    """The MD5 of the pieces' MD5s and their number, in the form S3 has made usual."""
    listed = list(digests)
    return f"{hashlib.md5(b''.join(listed), usedforsecurity=False).hexdigest()}-{len(listed)}"


class Put(Protocol):
    """See ``Driver.put``."""

    def __call__(
        self, key: str, data: bytes, *, attributes: Attributes | None = None, create_only: bool = False
    ) -> Written: ...


@dataclass(frozen=True, slots=True)
class WriteRequest:
    """What a write is to make; ``size`` in bytes where it is known. ``put`` makes what fits into a piece."""

    key: str
    size: int | None
    attributes: Attributes | None
    create_only: bool
    put: Put


class Senders:
    """Threads that all writes to one place share. Thread-safe; started when first needed."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._threads: ThreadPoolExecutor | None = None

    def submit(self, call: Callable[[], U]) -> Future[U]:
        """Run in another thread."""
        with self._lock:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix=self._name)
            # How patient the caller wants it holds for this thread too.
            return self._threads.submit(copy_context().run, call)

    def close(self) -> None:
        """Let the threads go. Idempotent."""
        with self._lock:
            if self._threads is not None:
                self._threads.shutdown(wait=False, cancel_futures=True)
                self._threads = None


class _Buffers:
    """Buffers used again and again: freed blocks of this size stay with the thread that freed them, and
    thirty threads would hoard several hundred MiB."""

    _MOST = 12

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._free: list[bytearray] = []

    def take(self, size: int) -> bytearray:
        """A buffer of that size, its content arbitrary."""
        with self._lock:
            if size == SMALL and self._free:
                return self._free.pop()
        return bytearray(size)

    def give(self, buffer: bytearray) -> None:
        """Back, when nobody reads it any more."""
        with self._lock:
            if len(buffer) == SMALL and len(self._free) < self._MOST:
                self._free.append(buffer)


_buffers = _Buffers()


class PiecedWriting(ABC, Generic[T]):
    """An open write, see ``Writing``; what fits into one piece is put in one request. Used by one thread.

    ``T`` is what the driver wants to know of each piece that arrived. The MD5 of the whole is computed as the
    bytes flow.
    """

    at_once: ClassVar[int] = 2
    """Pieces on their way at a time; with the one being filled, one more is in memory. With more than one
    they may arrive in any order."""
    most: ClassVar[int | None] = None
    """Pieces that an object can have."""
    keeps_last: ClassVar[bool] = False
    """Whether :meth:`_complete` sends the last piece, which is never empty."""

    def __init__(self, senders: Senders, request: WriteRequest, piece: int) -> None:
        self._senders = senders
        self._request = request
        self._key = request.key
        self._piece = piece
        self._md5: hashlib._Hash | None = hashlib.md5(usedforsecurity=False)
        self._size = 0
        self._buffer = _buffers.take(piece)
        self._filled = 0
        self._begun = False
        self._sent = 0
        self._flying: deque[tuple[Future[T], bytearray]] = deque()
        self._arrived: list[T] = []
        """What is known of the pieces, in their order."""

    @abstractmethod
    def _begin(self) -> None:
        """Before the first piece: start an upload."""

    @abstractmethod
    def _send(self, number: int, data: memoryview) -> T:
        """Bring a piece, counted from 1, to the server. Called in another thread."""

    @abstractmethod
    def _complete(self, last: memoryview) -> None:
        """Make the object: all pieces have arrived, but for the ``last`` where the class ``keeps_last``;
        elsewhere it is empty."""

    @abstractmethod
    def _receipt(self) -> Written:
        """What is known of the object that was made. Raises ``Damaged``, see :meth:`_check_size`."""

    @abstractmethod
    def _drop(self) -> None:
        """Throw the upload away; it may be in any state. Never raises."""

    def _feed(self, chunk: bytes) -> None:
        """More than the MD5 that is to be computed of the content."""

    def write(self, chunk: bytes) -> None:
        """See ``Writing.write``."""
        if self._md5 is not None:
            self._md5.update(chunk)
        self._feed(chunk)
        self._size += len(chunk)
        view = memoryview(chunk)
        while view:
            if self._filled == self._piece:
                self._dispatch()
            taken = view[: self._piece - self._filled]
            self._buffer[self._filled : self._filled + len(taken)] = taken
            self._filled += len(taken)
            view = view[len(taken) :]

    def commit(self) -> Written:
        """See ``Writing.commit``."""
        if not self._begun:
            whole, request = bytes(memoryview(self._buffer)[: self._filled]), self._request
            return request.put(
                self._key, whole, attributes=request.attributes, create_only=request.create_only
            )
        if not self.keeps_last:
            self._dispatch()
        while self._flying:
            self._land()
        self._complete(memoryview(self._buffer)[: self._filled])
        self._begun = False
        return self._receipt()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        flights = [flight for flight, _ in self._flying]
        for flight in flights:
            flight.cancel()
        # A piece that arrives after the upload was dropped could bring it back to life.
        wait(flights, timeout=1.0)
        self._flying.clear()
        _buffers.give(self._buffer)
        self._buffer = bytearray()
        if self._begun:
            self._begun = False
            self._drop()

    def _dispatch(self) -> None:
        if not self._begun:
            self._begin()
            self._begun = True
        while len(self._flying) >= self.at_once or (self._flying and self._flying[0][0].done()):
            self._land()
        self._sent += 1
        if self.most is not None and self._sent > self.most:
            raise Unsupported("write", f"“{self._key}” is longer than announced and has too many parts.")
        number, data = self._sent, memoryview(self._buffer)[: self._filled]
        self._flying.append((self._senders.submit(lambda: self._send(number, data)), self._buffer))
        self._buffer, self._filled = _buffers.take(self._piece), 0

    def _land(self) -> None:
        flight, buffer = self._flying.popleft()
        self._arrived.append(flight.result())
        _buffers.give(buffer)

    def _check_size(self, stored: int) -> None:
        """Raise ``Damaged`` when the server holds another number of bytes than it was sent."""
        if stored != self._size:
            raise Damaged(
                self._key,
                f"“{self._key}” has {stored:,} bytes at the destination, but {self._size:,} were sent.",
                operation="write",
            )

    def _md5_hex(self) -> str:
        return self._md5.hexdigest() if self._md5 is not None else ""


class ProvenByParts(PiecedWriting[T]):
    """One whose receipt is proven by what is known of the pieces, see ``ProvesByParts``."""

    def without_md5(self) -> None:
        """See ``ProvesByParts``."""
        if self._size == 0 and (self._request.size or 0) > self._piece:
            self._md5 = None
