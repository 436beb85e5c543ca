"""Writes that a server takes in pieces: one is filled while the one before, or two, are on their way."""

from __future__ import annotations

import hashlib
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import Generic, Self, TypeVar

from dashboard.storage.errors import Damaged
from dashboard.storage.types import Written

_THREADS = 12
_MIB = 1024 * 1024

T = TypeVar("T")
U = TypeVar("U")


def piece_size(size: int, *, least: int, most: int) -> int:
    """Bytes per piece, whole MiB and at least ``least``, so that ``most`` pieces hold ``size`` bytes."""
    needed = -(-size // most)
    return max(least, -(-needed // _MIB) * _MIB)


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
            return self._threads.submit(call)

    def close(self) -> None:
        """Let the threads go. Idempotent."""
        with self._lock:
            if self._threads is not None:
                self._threads.shutdown(wait=False, cancel_futures=True)
                self._threads = None


class PiecedWriting(ABC, Generic[T]):
    """An open write, see ``Writing``; what fits into one piece is put in one request. Used by one thread.

    A driver says how pieces are sent; ``T`` is what it wants to know of each. The last piece is in
    ``_buffer`` when :meth:`_complete` is called, and is never empty then.
    """

    at_once = 1
    """Pieces on their way at a time. With more than one they may arrive in any order."""

    def __init__(self, senders: Senders, key: str, piece: int, put: Callable[[bytes], Written]) -> None:
        self._senders = senders
        self._key = key
        self._piece = piece
        self._put = put
        self._md5: hashlib._Hash | None = hashlib.md5(usedforsecurity=False)
        self._size = 0
        self._buffer = bytearray()
        self._begun = False
        self._sent = 0
        self._flying: deque[Future[T]] = deque()
        self._landed: list[T] = []

    @abstractmethod
    def _begin(self) -> None:
        """Before the first piece: start an upload."""

    @abstractmethod
    def _send(self, number: int, data: memoryview) -> T:
        """Bring a piece, counted from 1, to the server. Called in another thread."""

    @abstractmethod
    def _complete(self) -> Written:
        """All pieces but the last have arrived: make the object and return its receipt."""

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
            if len(self._buffer) == self._piece:
                self._dispatch()
            taken = view[: self._piece - len(self._buffer)]
            self._buffer += taken
            view = view[len(taken) :]

    def commit(self) -> Written:
        """See ``Writing.commit``."""
        if not self._begun:
            return self._put(bytes(self._buffer))
        self._land_all()
        written = self._complete()
        self._begun = False
        return written

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for flight in self._flying:
            flight.cancel()
        wait(self._flying, timeout=1.0)
        self._flying.clear()
        if self._begun:
            self._begun = False
            self._drop()

    def _dispatch(self) -> None:
        if not self._begun:
            self._begin()
            self._begun = True
        while len(self._flying) >= self.at_once or (self._flying and self._flying[0].done()):
            self._landed.append(self._flying.popleft().result())
        self._sent += 1
        number, data = self._sent, memoryview(self._buffer)
        self._buffer = bytearray()
        self._flying.append(self._senders.submit(lambda: self._send(number, data)))

    def _land_all(self) -> None:
        while self._flying:
            self._landed.append(self._flying.popleft().result())

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
