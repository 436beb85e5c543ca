"""Bodies that a server takes as fast as the client reads them, so that a slow client occupies no thread.

The server's own loop asks a body for the bytes that the socket has room for. Those of a local file are read
there and then; those from elsewhere are fetched in bounded windows by threads of their own, and while a
window is on its way the server waits for nothing. A server that knows no bodies iterates over them.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

from dashboard.errors import StowageError
from dashboard.services.files.copies import OpenFile, Source
from dashboard.storage.errors import Damaged

log = logging.getLogger(__name__)

BODY_WRAPPER = "stowage.body_wrapper"
"""In the WSGI environment of a server that takes bodies: makes its file wrapper from one."""
CLIENT_IS_GONE = "stowage.client_is_gone"
"""In the WSGI environment of a server that can tell: whether the client has closed its connection."""
FETCH_THREADS = 16
MAX_THREADS_PER_GROUP = 8
"""Of these threads, how many wait for one backend at most."""
MIN_WINDOW, MAX_WINDOW = 64 * 1024, 2 * 1024 * 1024
"""Bytes that are fetched at once: more for a client that reads quickly."""
BUDGET = 32 * 1024 * 1024
"""Bytes of all bodies together above which windows do not grow."""
_QUICK_SECONDS = 0.5
_FILE_CHUNK = 256 * 1024


class Body(Protocol):
    """The bytes of a response, taken by one thread at a time."""

    on_ready: Callable[[], None] | None
    """Called from another thread when ``is_waiting`` ends."""

    @property
    def remaining(self) -> int:
        """How many bytes are not sent yet."""
        ...

    @property
    def is_waiting(self) -> bool:
        """Whether there is nothing to send yet."""
        ...

    @property
    def has_failed(self) -> bool:
        """Whether the rest cannot be had: the connection must be closed, so that the client knows."""
        ...

    def peek(self, size: int) -> bytes:
        """Return the next bytes, at most ``size``; none while waiting and after a failure. Does not block on
        a network."""
        ...

    def advance(self, size: int) -> None:
        """These many of the bytes returned last were sent."""
        ...

    def close(self) -> None:
        """Free everything. Idempotent."""
        ...

    def __iter__(self) -> Iterator[bytes]: ...


class FileBody:
    """A part of a local file. Its last bytes are held back if the file changed while it was sent."""

    is_waiting = False

    def __init__(self, file: OpenFile) -> None:
        self.remaining = file.length
        self.on_ready: Callable[[], None] | None = None
        self.has_failed = False
        self._file = file
        self._position = file.start
        self._closed = False

    def peek(self, size: int) -> bytes:
        """See ``Body``."""
        try:
            data = self._read(min(size, self.remaining))
        except (StowageError, OSError) as error:
            log.warning("sending a file ended early: %s", error)
            self.has_failed = True
            return b""
        return data

    def _read(self, size: int) -> bytes:
        info = self._file.reading.info
        data = os.pread(self._file.reading.fileno(), size, self._position)
        if not data and size:
            raise Damaged(info.key, f"“{info.key}” became shorter while it was sent.")
        if len(data) == self.remaining:
            self._file.reading.check_unchanged()
        return data

    def advance(self, size: int) -> None:
        """See ``Body``."""
        self._position += size
        self.remaining -= size

    def close(self) -> None:
        """See ``Body``."""
        if not self._closed:
            self._closed = True
            self._file.close()

    def __iter__(self) -> Iterator[bytes]:
        """See ``Body``. Raises ``StorageError`` if the file changed."""
        try:
            while self.remaining:
                data = self._read(min(_FILE_CHUNK, self.remaining))
                self.advance(len(data))
                yield data
        finally:
            self.close()


class FetchThreads:
    """Threads that fetch windows, started when needed. No group of tasks occupies all of them.
    Thread-safe."""

    def __init__(self, threads: int = FETCH_THREADS, per_group: int = MAX_THREADS_PER_GROUP) -> None:
        self.buffered = 0
        """Bytes that bodies hold; approximate, kept by them."""
        self._changed = threading.Condition()
        self._tasks: deque[tuple[str, Callable[[], None]]] = deque()
        self._running: dict[str, int] = {}
        self._threads = self._idle = 0
        self._limits = threads, per_group

    def submit(self, group: str, task: Callable[[], None]) -> None:
        """Run a task soon, after those of its group that came before."""
        with self._changed:
            self._tasks.append((group, task))
            if not self._idle and self._threads < self._limits[0]:
                self._threads += 1
                # Daemons: nobody waits for a server that does not respond when the console stops.
                threading.Thread(target=self._work, name="fetch-window", daemon=True).start()
            else:
                self._changed.notify()

    def _work(self) -> None:
        try:
            while True:
                group, task = self._next()
                try:
                    task()
                finally:
                    with self._changed:
                        self._running[group] -= 1
                        if not self._running[group]:
                            del self._running[group]
                        self._changed.notify()
        finally:
            with self._changed:
                self._threads -= 1

    def _next(self) -> tuple[str, Callable[[], None]]:
        with self._changed:
            while True:
                for index, (group, task) in enumerate(self._tasks):
                    if self._running.get(group, 0) < self._limits[1]:
                        del self._tasks[index]
                        self._running[group] = self._running.get(group, 0) + 1
                        return group, task
                self._idle += 1
                self._changed.wait()
                self._idle -= 1


FETCH = FetchThreads()


class PulledBody:
    """``length`` bytes of a source, fetched window by window as the client reads. ``group``: what they are
    fetched from. Holds at most two windows."""

    def __init__(self, source: Source, length: int, *, group: str, threads: FetchThreads = FETCH) -> None:
        self.remaining = length
        self.on_ready: Callable[[], None] | None = None
        self._source = source
        self._group = group
        self._threads = threads
        self._lock = threading.Lock()
        self._chunks: deque[memoryview] = deque()
        self._buffered = 0
        self._unfetched = length
        self._window = MIN_WINDOW
        self._fetched_at = 0.0
        self._fetching = self._failed = self._closed = False

    @property
    def is_waiting(self) -> bool:
        """See ``Body``."""
        with self._lock:
            waiting = not self._chunks and not self._failed and self.remaining > 0
            if waiting:
                self._fetch()
            return waiting

    @property
    def has_failed(self) -> bool:
        """See ``Body``. What arrived before is sent first."""
        return self._failed and not self._chunks

    def peek(self, size: int) -> bytes:
        """See ``Body``."""
        with self._lock:
            # A client that has earned the largest windows gets the next one before this is half sent.
            if self._window == MAX_WINDOW or self._buffered <= self._window // 2:
                self._fetch()
            return bytes(self._chunks[0][:size]) if self._chunks else b""

    def advance(self, size: int) -> None:
        """See ``Body``."""
        with self._lock:
            self.remaining -= size
            self._count(-size)
            if size == len(self._chunks[0]):
                self._chunks.popleft()
            else:
                self._chunks[0] = self._chunks[0][size:]
            if not self._chunks and time.monotonic() - self._fetched_at < _QUICK_SECONDS:
                self._window = min(2 * self._window, MAX_WINDOW)

    def _fetch(self) -> None:
        if self._fetching or self._failed or self._closed or not self._unfetched:
            return
        self._fetching = True
        if self._threads.buffered > BUDGET:
            self._window = MIN_WINDOW
        size = min(self._window, self._unfetched)
        self._threads.submit(self._group, lambda: self._fetch_window(size))

    def _fetch_window(self, size: int) -> None:
        data = b""
        try:
            data = self._source.read(size)
        except StowageError as error:
            log.warning("a response ended early: %s", error.reason)
        finally:
            with self._lock:
                self._fetching = False
                self._fetched_at = time.monotonic()
                # Whatever went wrong: nobody must wait for bytes that will not come.
                self._failed = not 0 < len(data) <= self._unfetched
                if not self._failed and not self._closed:
                    self._unfetched -= len(data)
                    self._chunks.append(memoryview(data))
                    self._count(len(data))
                closed = self._closed
            if closed:
                self._source.close()
            elif self.on_ready is not None:
                self.on_ready()

    def _count(self, change: int) -> None:
        self._buffered += change
        self._threads.buffered += change

    def close(self) -> None:
        """See ``Body``. A fetch that is under way closes the source when it ends."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._chunks.clear()
            self._count(-self._buffered)
            fetching = self._fetching
        if not fetching:
            self._source.close()

    def __iter__(self) -> Iterator[bytes]:
        """See ``Body``. Raises ``StorageError`` if the rest cannot be had."""
        try:
            while self.remaining:
                data = self._source.read(min(MAX_WINDOW, self.remaining))
                if not data:
                    raise Damaged("", f"The content ended {self.remaining:,} bytes early.")
                self.remaining -= len(data)
                yield data
        finally:
            self.close()


class IteratedSource:
    """A source over an iterator of chunks, for content that is made while it is sent."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._rest = memoryview(b"")

    def read(self, size: int) -> bytes:
        """See ``Source``."""
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return b""
            self._rest = memoryview(chunk)
        data, self._rest = bytes(self._rest[:size]), self._rest[size:] or memoryview(b"")
        return data

    def close(self) -> None:
        """See ``Source``. Closes a generator, so that it frees what it holds."""
        close = getattr(self._chunks, "close", None)
        if close is not None:
            close()


def body_iterable(environ: Mapping[str, Any], body: Body) -> Iterable[bytes]:
    """Return what a WSGI application returns for a body: wrapped, if the server takes bodies, else something
    to iterate over."""
    wrap: Callable[[Body], Iterable[bytes]] | None = environ.get(BODY_WRAPPER)
    return wrap(body) if wrap is not None else _Iterated(body)


class _Iterated:
    """A body that a server iterates over, and closes as PEP 3333 says."""

    def __init__(self, body: Body) -> None:
        self._chunks = iter(body)
        self.close = body.close

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self._chunks)
