"""Whether an object at the destination was written by this migration, also when its answer was lost.

A source may only be deleted for a copy that is ours. Where the backend keeps metadata, a move puts a mark
into every object it writes: a text that only this migration knows, other for every key. Elsewhere the
circumstances have to do: that a write was sent after the key was seen to be free, or that the object is not
older than the row that was interrupted.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass

from dashboard.migration.pool import Task
from dashboard.migration.types import Spec
from dashboard.storage.copying import copies_on_server
from dashboard.storage.driver import Driver, KeepsMetadata
from dashboard.storage.types import EMPTY, Entry, ObjectInfo

MARK = "stowage-move"
"""The name in an object's metadata."""
_CLOCK_TICK_SECONDS = 0.05
"""Seconds by which a file's time may lag behind the clock it was taken from."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """What one migration knows its own objects by. ``token``: random, the same in all of its runs."""

    source: Driver
    destination: Driver
    spec: Spec
    token: str

    @property
    def _marks_objects(self) -> bool:
        return self.spec.delete_source and isinstance(self.destination, KeepsMetadata)

    def metadata_for(self, key: str) -> Mapping[str, str]:
        """What goes beside an object written under this key."""
        return {MARK: self._mark(key)} if self._marks_objects else EMPTY

    def must_check_before_write(self, entry: Entry) -> bool:
        """Whether only a look before the write can tell later on that what is there came after it."""
        return self.spec.delete_source and not self._copy_is_marked(entry)

    def certainly_wrote(self, found: ObjectInfo, entry: Entry, *, sent: bool) -> bool:
        """Whether this migration wrote what was found, so that it may replace it. ``sent``: a write to that
        key went out before, in this run, and nobody knows what became of it."""
        if self._marks_objects and hmac.compare_digest(
            found.attributes.metadata.get(MARK, "").encode(), self._mark(found.key).encode()
        ):
            return True
        return sent and not self._copy_is_marked(entry)

    def wrote(self, found: ObjectInfo, task: Task, entry: Entry, *, sent: bool) -> bool:
        """The same where it has the content that would have been written: an earlier run may have."""
        if self.certainly_wrote(found, entry, sent=sent):
            return True
        may_be = task.row.maybe_written and not self._copy_is_marked(entry)
        return may_be and _is_younger(found, task.row.started_at)

    def _copy_is_marked(self, entry: Entry) -> bool:
        """Whether an object that was copied from this one has a mark; the server copies without."""
        return self._marks_objects and not copies_on_server(self.source, self.destination, entry)

    def _mark(self, key: str) -> str:
        named = key.encode("utf-8", "surrogatepass")
        return hmac.new(self.token.encode(), named, hashlib.sha256).hexdigest()[:32]


def _is_younger(found: ObjectInfo, started: float | None) -> bool:
    """Whether an object was written after this moment of our clock. Some clocks count whole seconds."""
    if found.modified is None or started is None:
        return False
    return found.modified >= started - (1.0 if found.modified.is_integer() else _CLOCK_TICK_SECONDS)
