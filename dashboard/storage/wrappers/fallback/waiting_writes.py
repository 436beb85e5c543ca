"""What a fallback has to remember, and who stands in: told by whoever builds it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from dashboard.errors import Kind, StowageError
from dashboard.storage.driver import Driver, Reading
from dashboard.storage.errors import ContainerMissing, StorageError
from dashboard.storage.types import Attributes, ObjectInfo
from dashboard.storage.wrappers.common.streams import WrappedReading

AWAY = frozenset({Kind.UNREACHABLE, Kind.TIMEOUT, Kind.THROTTLED, Kind.FULL, Kind.BAD_CREDENTIALS})
"""Failures that say nothing of an object and everything of its backend."""
FOLDER = ".stowage-waiting/"
"""Where objects wait in a backend that stands in, each under a name of its own."""


class CircuitOpen(StorageError):
    """A backend that lately did not answer was not asked again, so nothing was sent to it."""


class EarlierWritePending(StorageError):
    """An earlier write of the same key is still on its way home, and could arrive after a new one."""

    def __init__(self, key: str) -> None:
        super().__init__(
            Kind.CONFLICT,
            f"An earlier content of “{key}” is still on its way home.",
            operation="write",
            subject=key,
            remedy="Try again in a minute.",
            retryable=True,
        )


def is_unavailable(error: StowageError) -> bool:
    """Whether an error means that the backend cannot be used now. A place that is not there counts: it may
    be a share that is not mounted."""
    return error.kind in AWAY or isinstance(error, ContainerMissing)


def may_complete_late(error: StorageError) -> bool:
    """Whether a server may still carry out the write that failed so, after we gave it up.

    One that hung does once it goes on. Not one that answered with a refusal, or whose connection was
    refused or torn down: what it did not do by then it does not do any more.
    """
    if isinstance(error, CircuitOpen | ContainerMissing | EarlierWritePending):
        return False
    if error.kind is not Kind.UNREACHABLE:
        return error.kind is Kind.TIMEOUT
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and not isinstance(cause, TimeoutError):
            return False
        cause = cause.__cause__
    return True


@dataclass(frozen=True, slots=True)
class WriteAttempt:
    """A content that this program sent home under a key, or tried to.

    ``at``: when that ended, in epoch seconds. ``late``: whether it may have been carried out after that.
    """

    md5: str
    size: int
    at: float
    late: bool = False


@dataclass(frozen=True, slots=True)
class WrittenContent:
    """What is about to wait. ``create_only``: it may go home only where nothing is."""

    size: int
    md5: str
    attributes: Attributes
    attempts: tuple[WriteAttempt, ...] = ()
    create_only: bool = False


@dataclass(frozen=True, slots=True)
class WaitingWrite:
    """An object that was written elsewhere and waits to be sent home. ``since`` in epoch seconds.

    ``attributes``: None where they were not noted. ``attempts``: what this program may have put under its
    key at home before.
    """

    number: int
    key: str
    stand_in: int
    stored_key: str
    size: int
    md5: str
    since: float
    attributes: Attributes | None = None
    attempts: tuple[WriteAttempt, ...] = ()
    create_only: bool = False


@dataclass(frozen=True, slots=True)
class Hold:
    """What one writer keeps from being sent home: the number of its hold, and the rows it found."""

    number: int
    rows: tuple[int, ...]


@runtime_checkable
class KeepsWhileAway(Protocol):
    """A driver that takes writes while its place is away; those only where nothing is, under a
    ``UniqueKey``."""

    def keeps_while_away(self) -> bool:
        """Whether it does."""
        ...


class WaitingStore(Protocol):
    """The waiting objects of one home. Durable, shared by all processes, thread-safe.

    Methods raise ``StowageError`` when the book cannot be used; nothing may be acknowledged then.
    """

    def note_attempt(self, key: str, md5: str, size: int) -> int:
        """Note that a content has been on its way home for long, in case this process does not live to say
        what became of it."""
        ...

    def clear_attempt(self, number: int) -> None:
        """Forget that note: this process lives."""
        ...

    def add(self, key: str, stand_in: int, stored_key: str, content: WrittenContent) -> int:
        """Note that an object is about to be written there, so that it is found after a crash. What is
        known of earlier attempts under its key is kept with it."""
        ...

    def mark_written(self, number: int) -> None:
        """It is written: from now on it is what reads of its key get."""
        ...

    def newest(self, key: str) -> WaitingWrite | None:
        """What waits for this key, written last."""
        ...

    def list_under(self, prefix: str) -> Sequence[WaitingWrite]:
        """The newest of every key that begins so, by key in UTF-8 byte order."""
        ...

    def hold(self, key: str) -> Hold | None:
        """Keep what waits for this key from being sent home, until this hold ends with ``release`` or
        ``forget``; None where nothing waits. Every writer has a hold of its own.

        Raises ``EarlierWritePending`` while it is being written back, or while an earlier write may
        still complete at home, even one of a killed process. Writing now could leave the older content.
        """
        ...

    def release(self, hold: Hold) -> None:
        """What waits waits on, once nobody else holds it."""
        ...

    def discard(self, hold: Hold) -> None:
        """The rows are overwritten or deleted: they are never sent, and removed where they wait."""
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


class WaitingReading(WrappedReading):
    """A read of an object that waits elsewhere."""

    def __init__(self, inner: Reading, found: WaitingWrite) -> None:
        super().__init__(inner, info_of(inner.info, found))

    def chunks(self) -> Iterator[bytes]:
        """See ``Reading``."""
        return self._inner.chunks()


def info_of(info: ObjectInfo, found: WaitingWrite) -> ObjectInfo:
    """What waits, described under its own key."""
    token = token_of(found)
    attributes = found.attributes if found.attributes is not None else info.attributes
    return replace(
        info,
        key=found.key,
        modified=found.since,
        etag=token,
        version=token,
        md5=found.md5,
        attributes=attributes,
    )


def token_of(found: WaitingWrite) -> str:
    """Its version and ETag."""
    return f"waiting-{found.number}"
