"""Large writes in parts: one is filled while earlier ones are being sent.

For every service that accepts an object in parts (S3, Google) or blocks (Azure): bounded memory, a limit of
parts in flight, their order, and aborting what is not finished. A driver implements how an upload is created,
how a part is sent and how the parts become the object.
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

DEFAULT_PART_BYTES = 2 * SMALL
"""Bytes of a part if the size is not known: 10,000 of them are 160 GB."""
_THREADS = 12
_MIB = 1024 * 1024

T = TypeVar("T")
U = TypeVar("U")


def part_size(size: int | None, max_parts: int) -> int:
    """Return the bytes per part, a multiple of 1 MiB and at least ``SMALL``, so that ``max_parts`` parts hold
    ``size`` bytes."""
    if size is None:
        return DEFAULT_PART_BYTES
    needed = -(-size // max_parts)
    return max(SMALL, -(-needed // _MIB) * _MIB)


def composite_checksum(digests: Iterable[bytes]) -> str:
    """Return the MD5 of the parts' MD5s and their number, in the form that S3 introduced."""
    listed = list(digests)
    return f"{hashlib.md5(b''.join(listed), usedforsecurity=False).hexdigest()}-{len(listed)}"


class Put(Protocol):
    """See ``Driver.put``."""

    def __call__(
        self, key: str, data: bytes, *, attributes: Attributes | None = None, create_only: bool = False
    ) -> Written: ...


@dataclass(frozen=True, slots=True)
class WriteRequest:
    """What a write creates; ``size`` in bytes if it is known. ``put`` stores what fits into one part."""

    key: str
    size: int | None
    attributes: Attributes | None
    create_only: bool
    put: Put


class UploadThreads:
    """Threads that all writes to one container share. Thread-safe; started when first needed."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._threads: ThreadPoolExecutor | None = None

    def submit(self, call: Callable[[], U]) -> Future[U]:
        """Run a call in another thread."""
        with self._lock:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix=self._name)
            # How patient the caller wants it holds for this thread too.
            return self._threads.submit(copy_context().run, call)

    def close(self) -> None:
        """End the threads. Idempotent."""
        with self._lock:
            if self._threads is not None:
                self._threads.shutdown(wait=False, cancel_futures=True)
                self._threads = None


class _Buffers:
    """Reusable buffers. Freed blocks of this size stay with the thread that freed them, so thirty threads
    would keep several hundred MiB."""

    _MAX_FREE = 12

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._free: list[bytearray] = []

    def acquire(self, size: int) -> bytearray:
        """Return a buffer of this size with arbitrary content."""
        with self._lock:
            if size == SMALL and self._free:
                return self._free.pop()
        return bytearray(size)

    def release(self, buffer: bytearray) -> None:
        """Take a buffer back once nobody reads it any more."""
        with self._lock:
            if len(buffer) == SMALL and len(self._free) < self._MAX_FREE:
                self._free.append(buffer)


_buffers = _Buffers()


class MultipartWriting(ABC, Generic[T]):
    """An open write, see ``Writing``; content that fits into one part is put in one request. Used by one
    thread.

    ``T`` is what the driver needs to know about each part that was sent. The MD5 of the content is computed
    during the write.
    """

    max_in_flight: ClassVar[int] = 2
    """Parts being sent at a time; one more, the one being filled, is in memory. With more than one they may
    arrive in any order."""
    max_parts: ClassVar[int | None] = None
    """Parts that an object can have."""
    completes_with_last: ClassVar[bool] = False
    """Whether :meth:`_complete_upload` sends the last part, which is never empty."""

    def __init__(self, senders: UploadThreads, request: WriteRequest, part: int) -> None:
        self._senders = senders
        self._request = request
        self._key = request.key
        self._part_bytes = part
        self._md5: hashlib._Hash | None = hashlib.md5(usedforsecurity=False)
        self._size = 0
        self._buffer = _buffers.acquire(part)
        self._used = 0
        self._created = False
        self._sent = 0
        self._in_flight: deque[tuple[Future[T], bytearray]] = deque()
        self._parts: list[T] = []
        """What is known of the parts, in their order."""

    @abstractmethod
    def _create_upload(self) -> None:
        """Start an upload; called before the first part."""

    @abstractmethod
    def _send_part(self, number: int, data: memoryview) -> T:
        """Send a part, counted from 1. Called in another thread."""

    @abstractmethod
    def _complete_upload(self, last: memoryview) -> None:
        """Make the object. All parts have arrived; with ``completes_with_last`` all but the ``last``, else
        ``last`` is empty."""

    @abstractmethod
    def _receipt(self) -> Written:
        """Return what is known about the new object. Raises ``Damaged``, see :meth:`_check_size`."""

    @abstractmethod
    def _abort_upload(self) -> None:
        """Discard the upload, which may be in any state. Never raises."""

    def _update_checksum(self, chunk: bytes) -> None:
        """Compute checksums of the content other than its MD5."""

    def write(self, chunk: bytes) -> None:
        """See ``Writing.write``."""
        if self._md5 is not None:
            self._md5.update(chunk)
        self._update_checksum(chunk)
        self._size += len(chunk)
        view = memoryview(chunk)
        while view:
            if self._used == self._part_bytes:
                self._submit()
            taken = view[: self._part_bytes - self._used]
            self._buffer[self._used : self._used + len(taken)] = taken
            self._used += len(taken)
            view = view[len(taken) :]

    def commit(self) -> Written:
        """See ``Writing.commit``."""
        if not self._created:
            whole, request = bytes(memoryview(self._buffer)[: self._used]), self._request
            return request.put(
                self._key, whole, attributes=request.attributes, create_only=request.create_only
            )
        self._send_rest()
        self._complete_upload(memoryview(self._buffer)[: self._used])
        self._created = False
        return self._receipt()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        futures = [future for future, _ in self._in_flight]
        for future in futures:
            future.cancel()
        # A part that arrives after the upload was dropped could bring it back to life.
        wait(futures, timeout=1.0)
        self._in_flight.clear()
        _buffers.release(self._buffer)
        self._buffer = bytearray()
        if self._created:
            self._created = False
            self._abort_upload()

    def _send_rest(self) -> None:
        if self._used and not self.completes_with_last:
            self._submit()
        while self._in_flight:
            self._await_oldest()

    def _submit(self) -> None:
        if not self._created:
            self._create_upload()
            self._created = True
        while len(self._in_flight) >= self.max_in_flight or (
            self._in_flight and self._in_flight[0][0].done()
        ):
            self._await_oldest()
        self._sent += 1
        if self.max_parts is not None and self._sent > self.max_parts:
            raise Unsupported("write", f"“{self._key}” is longer than announced and has too many parts.")
        number, data = self._sent, memoryview(self._buffer)[: self._used]
        self._in_flight.append((self._senders.submit(lambda: self._send_part(number, data)), self._buffer))
        self._buffer, self._used = _buffers.acquire(self._part_bytes), 0

    def _await_oldest(self) -> None:
        future, buffer = self._in_flight.popleft()
        self._parts.append(future.result())
        _buffers.release(buffer)

    def _check_size(self, stored: int) -> None:
        """Raise ``Damaged`` if the server stores a different number of bytes than were sent."""
        if stored != self._size:
            raise Damaged(
                self._key,
                f"“{self._key}” has {stored:,} bytes at the destination, but {self._size:,} were sent.",
                operation="write",
            )

    def _md5_hex(self) -> str:
        return self._md5.hexdigest() if self._md5 is not None else ""


class ProvenByParts(MultipartWriting[T]):
    """A write whose receipt can be proven by its parts, see ``ProvesByParts``."""

    def without_md5(self) -> None:
        """See ``ProvesByParts``."""
        if self._size == 0 and (self._request.size or 0) > self._part_bytes:
            self._md5 = None
