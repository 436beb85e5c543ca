"""What a fallback has to remember, and who stands in: told by whoever builds it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from dashboard.errors import Kind, StowageError
from dashboard.storage.driver import Driver
from dashboard.storage.errors import PlaceMissing

AWAY = frozenset({Kind.UNREACHABLE, Kind.TIMEOUT, Kind.THROTTLED, Kind.FULL, Kind.BAD_CREDENTIALS})
"""Failures that say nothing of an object and everything of its backend."""
FOLDER = ".stowage-waiting/"
"""Where objects wait in a backend that stands in, each under a name of its own."""


def is_away(error: StowageError) -> bool:
    """Whether an error means that the backend cannot be used now. A place that is not there counts: it may
    be a share that is not mounted."""
    return error.kind in AWAY or isinstance(error, PlaceMissing)


@dataclass(frozen=True, slots=True)
class Waiting:
    """An object that was written elsewhere and waits to be sent home. ``since`` in epoch seconds."""

    number: int
    key: str
    stand_in: int
    stored_key: str
    size: int
    md5: str
    since: float


class Book(Protocol):
    """The waiting objects of one home. Durable, shared by all processes, thread-safe.

    Methods raise ``StowageError`` when the book cannot be used; nothing may be acknowledged then.
    """

    def begin(self, key: str, stand_in: int, stored_key: str) -> int:
        """Note that an object is about to be written there, so that it is found after a crash."""
        ...

    def kept(self, number: int, size: int, md5: str) -> None:
        """It is written: from now on it is what reads of its key get."""
        ...

    def newest(self, key: str) -> Waiting | None:
        """What waits for this key, written last."""
        ...

    def under(self, prefix: str) -> Sequence[Waiting]:
        """The newest of every key that begins so, by key in UTF-8 byte order."""
        ...

    def hold(self, key: str) -> tuple[int, ...]:
        """Keep what waits for this key from being sent home, until ``release`` or ``forget``.

        Raises kind ``THROTTLED`` while it is being sent: writing now could end with the older content."""
        ...

    def release(self, numbers: Sequence[int]) -> None:
        """Let them wait again."""
        ...

    def forget(self, numbers: Sequence[int]) -> None:
        """They are overwritten or deleted: they are never sent, and removed where they wait."""
        ...


class StandIns(Protocol):
    """The backends that stand in for another. Thread-safe."""

    def in_order(self, *, writing: bool) -> Iterator[tuple[int, Driver]]:
        """Their ids and drivers, in the order in which they are asked; for ``writing`` only those that may
        be written to, and may hold what their home holds."""
        ...

    def driver(self, stand_in: int) -> Driver:
        """The one of this id. Raises ``StorageError`` when it is no more."""
        ...
