"""Whether this migration wrote an object at the destination, even if the response to the write was lost.

A source is deleted only if the copy is ours. Where the backend keeps metadata, a move stores a mark with
every object it writes: a text that only this migration can compute, different for each key. Elsewhere there
is only circumstantial evidence: a write was sent after the key was seen to be free, or the object is not
older than the interrupted row.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass

from dashboard.migration.pool import Task
from dashboard.migration.types import Spec
from dashboard.storage.driver import Driver, KeepsMetadata
from dashboard.storage.proving import copies_on_server
from dashboard.storage.types import EMPTY, Entry, ObjectInfo

MARK = "stowage-move"
"""The name in an object's metadata."""
_CLOCK_TICK_SECONDS = 0.05
"""How far a file's time may lag behind the clock it was taken from."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """How one migration recognizes its own objects. ``token``: random, the same in all of its runs."""

    source: Driver
    destination: Driver
    spec: Spec
    token: str

    @property
    def _marks_objects(self) -> bool:
        return self.spec.delete_source and isinstance(self.destination, KeepsMetadata)

    def metadata_for(self, key: str) -> Mapping[str, str]:
        """The metadata to store with an object that is written under this key."""
        return {MARK: self._mark(key)} if self._marks_objects else EMPTY

    def must_check_before_write(self, entry: Entry) -> bool:
        """Whether only a check before the write can prove later that an object at its key is newer."""
        return self.spec.delete_source and not self._copy_is_marked(entry)

    def certainly_wrote(self, found: ObjectInfo, entry: Entry, *, sent: bool) -> bool:
        """Whether this migration certainly wrote the object, so that it may replace it. ``sent``: this run
        has sent a write to that key before, with unknown result."""
        if self._marks_objects and hmac.compare_digest(
            found.attributes.metadata.get(MARK, "").encode(), self._mark(found.key).encode()
        ):
            return True
        return sent and not self._copy_is_marked(entry)

    def wrote(self, found: ObjectInfo, task: Task, entry: Entry, *, sent: bool) -> bool:
        """Like :meth:`certainly_wrote`, for an object with the expected content: an earlier run may also have
        written it."""
        if self.certainly_wrote(found, entry, sent=sent):
            return True
        may_be = task.row.maybe_written and not self._copy_is_marked(entry)
        return may_be and _is_younger(found, task.row.started_at)

    def _copy_is_marked(self, entry: Entry) -> bool:
        """Whether a copy of this object has a mark; copies made by the server have none."""
        return self._marks_objects and not copies_on_server(self.source, self.destination, entry, marked=True)

    def _mark(self, key: str) -> str:
        named = key.encode("utf-8", "surrogatepass")
        return hmac.new(self.token.encode(), named, hashlib.sha256).hexdigest()[:32]


def _is_younger(found: ObjectInfo, started: float | None) -> bool:
    """Whether an object was written after this time by our clock. Some clocks count whole seconds."""
    if found.modified is None or started is None:
        return False
    return found.modified >= started - (1.0 if found.modified.is_integer() else _CLOCK_TICK_SECONDS)
