"""Waiting writes: what they are, and the protocols of their store and of the stand-ins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from dashboard.errors import Kind, StowageError
from dashboard.storage.driver import Driver, Reading
from dashboard.storage.errors import ContainerMissing, StorageError
from dashboard.storage.types import Attributes, ObjectInfo
from dashboard.storage.wrappers.common.streams import WrappedReading

UNAVAILABLE = frozenset({Kind.UNREACHABLE, Kind.TIMEOUT, Kind.THROTTLED, Kind.FULL, Kind.BAD_CREDENTIALS})
"""Kinds of errors that concern the backend, not the object."""
FOLDER = ".stowage-waiting/"
"""Where a stand-in stores waiting writes, each under a unique key."""


class CircuitOpen(StorageError):
    """The backend recently failed to respond, so the request was not sent."""


class EarlierWritePending(StorageError):
    """An earlier write of the key may still complete at home, and could overwrite a new one."""

    def __init__(self, key: str) -> None:
        super().__init__(
            Kind.CONFLICT,
            f"An earlier write of “{key}” has not completed yet.",
            operation="write",
            subject=key,
            remedy="Try again in a minute.",
            retryable=True,
        )


def is_unavailable(error: StowageError) -> bool:
    """Whether an error means that the backend cannot be used now. A missing container counts, because it may
    be a share that is not mounted."""
    return error.kind in UNAVAILABLE or isinstance(error, ContainerMissing)


def may_complete_late(error: StorageError) -> bool:
    """Whether a server may still carry out a write that failed with this error.

    A server that hung does so once it resumes. One that responded with an error, or whose connection was
    refused or reset, does not.
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
    """A write of a key to home, completed or attempted by this program.

    ``at``: when it ended, in epoch seconds. ``late``: whether it may have completed after that.
    """

    md5: str
    size: int
    at: float
    late: bool = False


def newest_of_each_kind(attempts: Sequence[WriteAttempt], maximum: int) -> tuple[WriteAttempt, ...]:
    """Return the last ``maximum`` attempts that may complete late, and as many others.

    Counted apart, because a server that hung may carry out an attempt after any number of newer writes.
    """
    late = [attempt for attempt in attempts if attempt.late]
    others = [attempt for attempt in attempts if not attempt.late]
    return (*late[-maximum:], *others[-maximum:])


@dataclass(frozen=True, slots=True)
class WrittenContent:
    """The content of a new waiting write. ``create_only``: it must not replace an object at home."""

    size: int
    md5: str
    attributes: Attributes
    attempts: tuple[WriteAttempt, ...] = ()
    create_only: bool = False


@dataclass(frozen=True, slots=True)
class WaitingWrite:
    """An object on a stand-in that has to be written back. ``since`` in epoch seconds.

    ``attributes``: None if they were not recorded. ``attempts``: what this program may have written under its
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
    """One writer's hold on the waiting writes of a key, which keeps them from being written back."""

    number: int
    rows: tuple[int, ...]


@runtime_checkable
class KeepsWhileAway(Protocol):
    """A driver that accepts writes while its backend is unavailable. Create-only writes need a
    ``UniqueKey``."""

    def keeps_while_away(self) -> bool:
        """Whether it does."""
        ...


class WaitingStore(Protocol):
    """The waiting writes of one home. Durable, shared by all processes, thread-safe.

    Methods raise ``StowageError`` if the store cannot be used; the write must not be acknowledged then.
    """

    def note_attempt(self, key: str, md5: str, size: int) -> int:
        """Record a write to home that takes long, in case this process is killed before it ends."""
        ...

    def clear_attempt(self, number: int) -> None:
        """Remove that record: this process knows the outcome."""
        ...

    def add(self, key: str, stand_in: int, stored_key: str, content: WrittenContent) -> int:
        """Record that an object is about to be written there, so that it is found after a crash. Known
        earlier attempts of its key are stored with it."""
        ...

    def mark_written(self, number: int) -> None:
        """The object is written: from now on reads of its key return it."""
        ...

    def newest(self, key: str) -> WaitingWrite | None:
        """Return the newest waiting write of this key, or None."""
        ...

    def list_under(self, prefix: str) -> Sequence[WaitingWrite]:
        """Return the newest waiting write of every key with this prefix, by key in UTF-8 byte order."""
        ...

    def hold(self, key: str) -> Hold | None:
        """Keep the waiting writes of this key from being written back until ``release`` or ``discard``.
        Return None if there are none. Several writers may hold a key.

        Raises ``EarlierWritePending`` while it is being written back, or while an earlier write may
        still complete at home, even one of a killed process. Writing now could leave the older content.
        """
        ...

    def release(self, hold: Hold) -> None:
        """End a hold. The waiting writes remain."""
        ...

    def discard(self, hold: Hold) -> None:
        """End a hold whose waiting writes were overwritten or deleted: they are never written back, and are
        removed from their stand-ins."""
        ...


class StandIns(Protocol):
    """The stand-ins of one home. Thread-safe."""

    def in_order(self, *, writing: bool) -> Iterator[tuple[int, Driver]]:
        """Yield their ids and drivers in the fallback order; for ``writing`` only those that are writable and
        protect objects as well as home does."""
        ...

    def driver(self, stand_in: int) -> Driver:
        """Return the driver of a stand-in. Raises ``StorageError`` if it was removed."""
        ...


class WaitingReading(WrappedReading):
    """A read of a waiting write."""

    def __init__(self, inner: Reading, write: WaitingWrite) -> None:
        super().__init__(inner, info_of(inner.info, write))

    def chunks(self) -> Iterator[bytes]:
        """See ``Reading``."""
        return self._inner.chunks()


def info_of(info: ObjectInfo, write: WaitingWrite) -> ObjectInfo:
    """Return the info of a waiting write under its own key."""
    token = token_of(write)
    attributes = write.attributes if write.attributes is not None else info.attributes
    return replace(
        info,
        key=write.key,
        modified=write.since,
        etag=token,
        version=token,
        md5=write.md5,
        attributes=attributes,
    )


def token_of(write: WaitingWrite) -> str:
    """Return its version and ETag."""
    return f"waiting-{write.number}"
