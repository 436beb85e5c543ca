"""What a fallback and its powers share: home, the store, the others, and what was lately put at home."""

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
)
from dashboard.storage.wrapping import Wrapper

T = TypeVar("T")

MOST_KEYS = 4096
MOST_OF_A_KEY = 8


class RecentWrites:
    """The contents that this process lately put at home, or tried to, by key. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: OrderedDict[str, tuple[WriteAttempt, ...]] = OrderedDict()

    def note(self, key: str, md5: str, size: int, trouble: StorageError | None = None) -> None:
        """One more content: it is at home, or ``trouble`` says why that is not known."""
        if isinstance(trouble, CircuitOpen | EarlierWritePending) or not md5:
            return
        late = trouble is not None and may_complete_late(trouble)
        attempt = WriteAttempt(md5, size, time.time(), late)
        with self._lock:
            self._found[key] = (*self._found.pop(key, ()), attempt)[-MOST_OF_A_KEY:]
            if len(self._found) > MOST_KEYS:
                self._found.popitem(last=False)

    def of(self, key: str) -> tuple[WriteAttempt, ...]:
        """What was noted of a key."""
        with self._lock:
            return self._found.get(key, ())


class ReplaceAtHome:
    """Around a write at home: what waits for the key is not sent meanwhile, and forgotten if it succeeds."""

    def __init__(self, store: WaitingStore, key: str) -> None:
        self._store = store
        self._key = key
        self._held: Hold | None = None
        self._done = False

    def __enter__(self) -> Callable[[], None]:
        self._held = self._store.hold(self._key)
        return self._succeeded

    def _succeeded(self) -> None:
        self._done = True

    def __exit__(self, *_: object) -> None:
        if self._held is None:
            return
        if self._done:
            self._store.discard(self._held)
        else:
            self._store.release(self._held)


class FallbackBase(Wrapper):
    """The base of the fallback."""

    alone: ClassVar[bool] = False
    """Whether nobody but home is asked or written to; what waits counts all the same."""

    def __init__(self, inner: Driver, store: WaitingStore, stand_ins: StandIns) -> None:
        super().__init__(inner)
        self.recent = RecentWrites()
        self.long_writes = LongWrites(store)
        self._store = store
        self._stand_ins = stand_ins

    def replacing(self, key: str) -> ReplaceAtHome:
        """Around what replaces or removes the object at home."""
        return ReplaceAtHome(self._store, key)

    def try_in_order(self, key: str, ask: Callable[[Driver], T], *, elsewhere: bool = True) -> T:
        """Ask home, and where it has nothing or is away, the others in their order."""
        try:
            return ask(self.inner)
        except StorageError as error:
            if self.alone or not elsewhere or not (isinstance(error, NotFound) or is_unavailable(error)):
                raise
            for _, driver in self._stand_ins.in_order(writing=False):
                with suppress(StorageError):
                    return ask(driver)
            raise

    def refuse_while_waiting(self, key: str, operation: str, *, retryable: bool = True) -> None:
        """Raise when what readers of this key get is not at home, where ``operation`` would look."""
        if self._store.newest(key) is not None:
            raise StorageError(
                Kind.CONFLICT,
                f"“{key}” waits in another backend to be sent home.",
                operation=operation,
                subject=key,
                remedy="Try again once it is at home; the overview shows how much is left.",
                retryable=retryable,
            )
