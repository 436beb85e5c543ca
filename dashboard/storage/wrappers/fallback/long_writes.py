"""Noting durably what has been on its way home for long, for a program that is killed cannot say it later."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from dashboard.errors import StowageError
from dashboard.storage.wrappers.fallback.waiting_writes import WaitingStore

LONG_SECONDS = 1.0
"""Seconds after which an attempt is noted; nearly all have ended by then and cost nothing."""
CHECKS_BEFORE_IDLE = 20
"""Looks of which one may be the last."""


class _LongWrite:
    def __init__(self, key: str, content: Callable[[], tuple[str, int]]) -> None:
        self.key = key
        self.content = content
        self.began = time.monotonic()
        self.lock = threading.Lock()
        self.number: int | None = None
        self.ended = False


class LongWrites:
    """The attempts of one home that are under way in this process. Thread-safe; its thread runs while there
    are any, and a little longer."""

    def __init__(self, store: WaitingStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._open: dict[_LongWrite, None] = {}
        self._watched = False

    @contextmanager
    def watch(self, key: str, content: Callable[[], tuple[str, int]]) -> Iterator[None]:
        """Around an attempt to put something home; ``content`` tells its MD5 and size, on another thread."""
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
                    # This process knows by itself what became of it.
                    with suppress(StowageError):
                        self._store.clear_attempt(attempt.number)

    def look(self, *, last: bool) -> bool:
        """Note what takes long. Whether to look again: not after a ``last`` look that finds nothing."""
        with self._lock:
            now = time.monotonic()
            long = [each for each in self._open if each.number is None and now - each.began >= LONG_SECONDS]
            self._watched = goes_on = bool(self._open) or not last
        for each in long:
            md5, size = each.content()
            with each.lock:
                if not each.ended:
                    with suppress(StowageError):
                        each.number = self._store.note_attempt(each.key, md5, size)
        return goes_on


def _watch(long_writes: weakref.ref[LongWrites]) -> None:
    looks = 0
    while (found := long_writes()) is not None:
        looks += 1
        if not found.look(last=looks % CHECKS_BEFORE_IDLE == 0):
            return
        del found
        time.sleep(LONG_SECONDS / 2)
