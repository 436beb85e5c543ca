"""Small new objects that are published in groups, where the destination has the power."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Protocol, TypeVar

from dashboard.migration.grouping.publishing import Unpublished
from dashboard.migration.types import Verify
from dashboard.storage.copying import Copied
from dashboard.storage.driver import Driver
from dashboard.storage.errors import Exists, StorageError, Unsupported
from dashboard.storage.object_powers import Prepared, WritesInGroups
from dashboard.storage.types import Written

GROUPED_BYTES = 1024 * 1024
"""Larger objects are published alone: flushing one takes longer than all the rest."""

R = TypeVar("R")


class Attempted(Protocol):
    """An object that is copied: ``alone`` if not in a group; ``attempted_keys``, to which writes were
    sent."""

    alone: bool
    attempted_keys: set[str]


class Groups:
    """What of a migration is published in groups. Thread-safe."""

    def __init__(self, destination: Driver, verify: Verify) -> None:
        # What is read back would have to wait for its group first.
        able = isinstance(destination, WritesInGroups) and verify is not Verify.READBACK
        self._end = destination if able and isinstance(destination, WritesInGroups) else None

    def begin(self, task: Attempted) -> GroupedCopy:
        """Begin an attempt at an object."""
        return GroupedCopy(None if task.alone else self._end, task)

    def publish(self, prepared: Sequence[Prepared]) -> list[Written | StorageError]:
        """See ``WritesInGroups``."""
        assert self._end is not None
        return self._end.publish(prepared)


class GroupedCopy:
    """One attempt at one object. Used by one thread at a time."""

    def __init__(self, end: WritesInGroups | None, task: Attempted) -> None:
        self._end = end
        self._task = task
        self._sent = frozenset(task.attempted_keys)
        self._prepared: Prepared | None = None

    def prepare(self, key: str, data: bytes, md5: str) -> Written | None:
        """Leave it to a group to publish the object. The receipt proves nothing yet. Returns None if it is to
        be stored alone."""
        if self._end is None or len(data) > GROUPED_BYTES:
            return None
        self._prepared = self._end.prepare(key, data, md5=md5)
        return Written(key, len(data), md5) if self._prepared else None

    def result(self, copied: Copied, to: str, check: Callable[[Copied, str], R]) -> R | Unpublished[R]:
        """Return what ``check`` makes of the copy, now or once it is published."""
        if self._prepared is None:
            return check(copied, to)
        return Unpublished(self._prepared, partial(self._on_published, copied, to, check))

    def _on_published(
        self, copied: Copied, to: str, check: Callable[[Copied, str], R], outcome: Written | StorageError
    ) -> R | None:
        if isinstance(outcome, Written):
            return check(replace(copied, written=outcome), to)
        if not isinstance(outcome, Exists | Unsupported):
            raise outcome
        if to not in self._sent:
            # Certainly not written: what is there is not ours.
            self._task.attempted_keys.discard(to)
        self._task.alone = True
        return None
