"""What a fallback and its powers share: home, the book, the others, and what was lately put at home."""

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
from dashboard.storage.wrappers.fallback.standing_in import (
    Attempt,
    Book,
    Hold,
    NotAsked,
    StandIns,
    Unsettled,
    is_away,
    may_arrive_late,
)
from dashboard.storage.wrappers.fallback.tries import Tries
from dashboard.storage.wrapping import Wrapper

T = TypeVar("T")

MOST_KEYS = 4096
MOST_OF_A_KEY = 8


class Recent:
    """The contents that this process lately put at home, or tried to, by key. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: OrderedDict[str, tuple[Attempt, ...]] = OrderedDict()

    def note(self, key: str, md5: str, size: int, trouble: StorageError | None = None) -> None:
        """One more content: it is at home, or ``trouble`` says why that is not known."""
        if isinstance(trouble, NotAsked | Unsettled) or not md5:
            return
        late = trouble is not None and may_arrive_late(trouble)
        attempt = Attempt(md5, size, time.time(), late)
        with self._lock:
            self._found[key] = (*self._found.pop(key, ()), attempt)[-MOST_OF_A_KEY:]
            if len(self._found) > MOST_KEYS:
                self._found.popitem(last=False)

    def of(self, key: str) -> tuple[Attempt, ...]:
        """What was noted of a key."""
        with self._lock:
            return self._found.get(key, ())


class Replacing:
    """Around a write at home: what waits for the key is not sent meanwhile, and forgotten if it succeeds."""

    def __init__(self, book: Book, key: str) -> None:
        self._book = book
        self._key = key
        self._held: Hold | None = None
        self._done = False

    def __enter__(self) -> Callable[[], None]:
        self._held = self._book.hold(self._key)
        return self._succeeded

    def _succeeded(self) -> None:
        self._done = True

    def __exit__(self, *_: object) -> None:
        if self._held is None:
            return
        if self._done:
            self._book.forget(self._held)
        else:
            self._book.release(self._held)


class Falling(Wrapper):
    """The base of the fallback."""

    alone: ClassVar[bool] = False
    """Whether nobody but home is asked or written to; what waits counts all the same."""

    def __init__(self, inner: Driver, book: Book, stand_ins: StandIns) -> None:
        super().__init__(inner)
        self.recent = Recent()
        self.tries = Tries(book)
        self._book = book
        self._stand_ins = stand_ins

    def replacing(self, key: str) -> Replacing:
        """Around what replaces or removes the object at home."""
        return Replacing(self._book, key)

    def look(self, key: str, ask: Callable[[Driver], T], *, elsewhere: bool = True) -> T:
        """Ask home, and where it has nothing or is away, the others in their order."""
        try:
            return ask(self.inner)
        except StorageError as error:
            if self.alone or not elsewhere or not (isinstance(error, NotFound) or is_away(error)):
                raise
            for _, driver in self._stand_ins.in_order(writing=False):
                with suppress(StorageError):
                    return ask(driver)
            raise

    def refuse_waiting(self, key: str, operation: str, *, retryable: bool = True) -> None:
        """Raise when what readers of this key get is not at home, where ``operation`` would look."""
        if self._book.newest(key) is not None:
            raise StorageError(
                Kind.CONFLICT,
                f"“{key}” waits in another backend to be sent home.",
                operation=operation,
                subject=key,
                remedy="Try again once it is at home; the overview shows how much is left.",
                retryable=retryable,
            )
