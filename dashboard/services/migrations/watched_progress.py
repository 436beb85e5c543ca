"""Progress of running migrations, read once for everybody who watches: a hundred open pages that
each ask every two seconds would take a sixth of a processor from the migration they watch."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy import text

from dashboard.migration.types import Progress
from dashboard.services.database import Database
from dashboard.services.engines import is_postgresql

SHARED_SECONDS = 1.0
"""For which figures of a running migration are shared. Its state is always read when it changes."""
MAX_SHARED = 100

_Stamp = tuple[tuple[int, int], ...] | str | None

_WRITTEN_BY = text(
    "SELECT string_agg(written, ' ') FROM ("
    "SELECT CAST(xmin AS text) AS written FROM migrations WHERE id = :id UNION ALL "
    "SELECT CAST(xmin AS text) FROM jobs WHERE subject_id = :id ORDER BY written) AS rows"
)


@dataclass(frozen=True, slots=True)
class _Read:
    progress: Progress
    stamp: _Stamp
    at: float


class WatchedProgress:
    """Thread-safe. ``read``: reads the progress of a migration from the databases."""

    def __init__(self, database: Database, read: Callable[[int], Progress]) -> None:
        self._database = database
        path = database.main.url.database or ""
        self._files = (path, f"{path}-wal")
        self._read = read
        self._lock = threading.Lock()
        self._reads: dict[int, _Read] = {}

    def get(self, migration_id: int) -> Progress:
        """Return the progress. Figures of a running migration are at most ``SHARED_SECONDS`` old; what people
        and the runner decide, such as its state, is never old. Raises what ``read`` does."""
        # One reads, the others wait for it: that takes a millisecond.
        with self._lock:
            now, stamp = time.monotonic(), self._stamp(migration_id)
            known = self._reads.get(migration_id)
            if known is not None and known.stamp == stamp and now - known.at < SHARED_SECONDS:
                return known.progress
            self._reads.pop(migration_id, None)
            progress = self._read(migration_id)
            if progress.state.active:
                if len(self._reads) >= MAX_SHARED:
                    self._reads.clear()
                self._reads[migration_id] = _Read(progress, stamp, now)
            return progress

    def _stamp(self, migration_id: int) -> _Stamp:
        """What every commit to the main database changes, in any process: its files, and SQLite's log. On a
        server, which transactions wrote the rows of the migration and its jobs."""
        if is_postgresql(self._database.main):
            with self._database.read() as session:
                written_by: str | None = session.scalar(_WRITTEN_BY, {"id": migration_id})
                return written_by
        found = []
        for path in self._files:
            with suppress(OSError):
                info = os.stat(path)
                found.append((info.st_mtime_ns, info.st_size))
        return tuple(found)
