"""What a fallback and its powers share: home, the stand-ins, the store, and recent writes to home."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import ClassVar, TypeVar

from dashboard.errors import Kind
from dashboard.storage.driver import Driver
from dashboard.storage.errors import NotFound, StorageError
from dashboard.storage.wrappers.fallback.long_writes import LongWrites
from dashboard.storage.wrappers.fallback.waiting_writes import (
    CircuitOpen,
    EarlierWritePending,
    Hold,
    StandIns,
    WaitingStore,
    WriteAttempt,
    is_unavailable,
    may_complete_late,
    newest_of_each_kind,
)
from dashboard.storage.wrapping import Wrapper

T = TypeVar("T")

MAX_KEYS = 4096
MAX_WRITES_PER_KEY = 8


class RecentWrites:
    """What this process recently wrote to home, or tried to, by key. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._attempts: OrderedDict[str, tuple[WriteAttempt, ...]] = OrderedDict()

    def note(self, key: str, md5: str, size: int, cause: StorageError | None = None) -> None:
        """Record a write: it is at home, or ``cause`` is why that is unknown."""
        if isinstance(cause, CircuitOpen | EarlierWritePending) or not md5:
            return
        late = cause is not None and may_complete_late(cause)
        attempt = WriteAttempt(md5, size, time.time(), late)
        with self._lock:
            attempts = (*self._attempts.pop(key, ()), attempt)
            self._attempts[key] = newest_of_each_kind(attempts, MAX_WRITES_PER_KEY)
            if len(self._attempts) > MAX_KEYS:
                self._attempts.popitem(last=False)

    def of(self, key: str) -> tuple[WriteAttempt, ...]:
        """Return the recorded writes of a key."""
        with self._lock:
            return self._attempts.get(key, ())


class ReplaceAtHome:
    """Around a write at home: waiting writes of the key are not written back meanwhile, and are discarded if
    it succeeds."""

    def __init__(self, store: WaitingStore, key: str) -> None:
        self._store = store
        self._key = key
        self._hold: Hold | None = None
        self._done = False

    def __enter__(self) -> Callable[[], None]:
        self._hold = self._store.hold(self._key)
        return self._succeeded

    def _succeeded(self) -> None:
        self._done = True

    def __exit__(self, *_: object) -> None:
        if self._hold is None:
            return
        if self._done:
            self._store.discard(self._hold)
        else:
            self._store.release(self._hold)


class FallbackBase(Wrapper):
    """The base of the fallback and its powers."""

    alone: ClassVar[bool] = False
    """Whether stand-ins are neither read nor written. Waiting writes are visible anyway."""

    def __init__(self, inner: Driver, store: WaitingStore, stand_ins: StandIns) -> None:
        super().__init__(inner)
        self.recent = RecentWrites()
        self.long_writes = LongWrites(store)
        self._store = store
        self._stand_ins = stand_ins

    def replacing(self, key: str) -> ReplaceAtHome:
        """Around a call that replaces or deletes the object at home."""
        return ReplaceAtHome(self._store, key)

    def try_in_order(self, key: str, call: Callable[[Driver], T], *, elsewhere: bool = True) -> T:
        """Call home; if it has no such object or is unavailable, the stand-ins in their order."""
        try:
            return call(self.inner)
        except StorageError as error:
            if self.alone or not elsewhere or not (isinstance(error, NotFound) or is_unavailable(error)):
                raise
            for _, driver in self._stand_ins.in_order(writing=False):
                with suppress(StorageError):
                    return call(driver)
            raise

    def refuse_while_waiting(self, key: str, operation: str, *, retryable: bool = True) -> None:
        """Raise kind ``conflict`` if the current content of this key is a waiting write."""
        if self._store.newest(key) is not None:
            raise StorageError(
                Kind.CONFLICT,
                f"“{key}” is in another backend and has not been written back yet.",
                operation=operation,
                subject=key,
                remedy="Try again once it has been written back; the overview shows how much is left.",
                retryable=retryable,
            )
