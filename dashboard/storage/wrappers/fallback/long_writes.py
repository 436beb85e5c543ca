"""Durable records of writes to home that take long, because a killed process cannot report them."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from dashboard.errors import StowageError
from dashboard.storage.wrappers.fallback.waiting_writes import WaitingStore

LONG_SECONDS = 1.0
"""After how long a write is recorded. Nearly all have ended by then and cost nothing."""
CHECKS_BEFORE_IDLE = 20
"""The thread ends only after this number of checks, so that it is not started for every write."""


class _LongWrite:
    def __init__(self, key: str, content: Callable[[], tuple[str, int]]) -> None:
        self.key = key
        self.content = content
        self.began = time.monotonic()
        self.lock = threading.Lock()
        self.number: int | None = None
        self.ended = False


class LongWrites:
    """The writes to one home that are in progress in this process. Thread-safe. Its thread runs while there
    are any, and a little longer."""

    def __init__(self, store: WaitingStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._open: dict[_LongWrite, None] = {}
        self._watched = False

    @contextmanager
    def watch(self, key: str, content: Callable[[], tuple[str, int]]) -> Iterator[None]:
        """Around a write to home. ``content`` returns its MD5 and size, and is called on another thread."""
        attempt = _LongWrite(key, content)
        with self._lock:
            self._open[attempt] = None
            starts, self._watched = not self._watched, True
        if starts:
            threading.Thread(
                target=_watch, args=(weakref.ref(self),), name="long-writes", daemon=True
            ).start()
        try:
            yield
        finally:
            with self._lock:
                del self._open[attempt]
            with attempt.lock:
                attempt.ended = True
                if attempt.number is not None:
                    # This process knows the outcome itself.
                    with suppress(StowageError):
                        self._store.clear_attempt(attempt.number)

    def check(self, *, last: bool) -> bool:
        """Record the writes that take long. Return False if this was the ``last`` check and there are
        none."""
        with self._lock:
            now = time.monotonic()
            long = [
                write for write in self._open if write.number is None and now - write.began >= LONG_SECONDS
            ]
            self._watched = has_more = bool(self._open) or not last
        for write in long:
            md5, size = write.content()
            with write.lock:
                if not write.ended:
                    with suppress(StowageError):
                        write.number = self._store.note_attempt(write.key, md5, size)
        return has_more


def _watch(long_writes: weakref.ref[LongWrites]) -> None:
    checks = 0
    while (watched := long_writes()) is not None:
        checks += 1
        if not watched.check(last=checks % CHECKS_BEFORE_IDLE == 0):
            return
        del watched
        time.sleep(LONG_SECONDS / 2)
