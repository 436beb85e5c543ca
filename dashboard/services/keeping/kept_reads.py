"""What was read of the databases, kept for as long as they are as they were.

SQLite counts for each connection how often another one, of this or any other process, has changed the file
(``PRAGMA data_version``). A connection that only asks for this number, and never changes anything, learns of
every change in ten microseconds.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Literal, NamedTuple, TypeVar
from urllib.parse import quote

from sqlalchemy import Engine

T = TypeVar("T")

Of = Literal["main", "work", "both"]
"""Which databases something is read from."""
MAX_KEPT = 300
"""Results; the one that was not asked for longest is dropped first."""
_BUSY_SECONDS = 0.1

Version = tuple[int, int]
"""Which connection, and what it counted."""


class Versions(NamedTuple):
    """Of both databases; None where it is not known, as on a server: then nothing is kept."""

    main: Version | None
    work: Version | None

    def of(self, which: Of) -> Hashable | None:
        """Return what is different after each change of these databases."""
        if which == "both":
            return None if self.main is None or self.work is None else self
        return self.main if which == "main" else self.work


class KeptReads:
    """Thread-safe."""

    def __init__(self, main: Engine, work: Engine) -> None:
        self._main, self._work = _Watch(main), _Watch(work)
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, tuple[Hashable, Any]] = OrderedDict()

    def versions(self) -> Versions:
        """Return them as of now."""
        return Versions(self._main.version(), self._work.version())

    def find(self, key: Hashable, version: Hashable) -> tuple[Any] | None:
        """Return what was kept under this key, in a tuple, if it is of this version."""
        with self._lock:
            kept = self._kept.get(key)
            if kept is None or kept[0] != version:
                return None
            self._kept.move_to_end(key)
            return (kept[1],)

    def keep(self, key: Hashable, version: Hashable, value: object) -> None:
        """Keep what was read while the databases were of this version."""
        with self._lock:
            self._kept[key] = version, value
            self._kept.move_to_end(key)
            while len(self._kept) > MAX_KEPT:
                self._kept.popitem(last=False)

    def close(self) -> None:
        """Forget everything; a later use opens the databases again. Idempotent."""
        with self._lock:
            self._kept.clear()
        self._main.close()
        self._work.close()


class _Watch:
    """A connection that counts the changes that others make. Thread-safe."""

    def __init__(self, engine: Engine) -> None:
        path = engine.url.database
        in_file = engine.dialect.name == "sqlite" and path and path != ":memory:"
        self._uri = f"file:{quote(str(path))}?mode=rw" if in_file else None
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._opened = 0

    def version(self) -> Version | None:
        if self._uri is None:
            return None
        with self._lock:
            try:
                connection = self._connection or self._open(self._uri)
                count: int = connection.execute("PRAGMA data_version").fetchone()[0]
            except sqlite3.Error:
                # Whoever reads meets the same error, and says it.
                self._close()
                return None
            return self._opened, count

    def close(self) -> None:
        with self._lock:
            self._close()

    def _open(self, uri: str) -> sqlite3.Connection:
        # Another connection counts from the beginning.
        self._opened += 1
        self._connection = sqlite3.connect(
            uri, uri=True, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        return self._connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def kept_read(
    reads: KeptReads,
    key: Hashable,
    read: Callable[[], T],
    *,
    of: Of,
    view: Versions | None,
    keep_if: Callable[[T], bool],
) -> T:
    """See ``Database.kept``. ``view``: what the reads of this thread see, if they join one view."""
    version = (view if view is not None else reads.versions()).of(of)
    if version is None:
        return read()
    if (found := reads.find((of, key), version)) is not None:
        value: T = found[0]
        return value
    value = read()
    # Without one view, what was read may be of a later version than this.
    if keep_if(value) and (view is not None or reads.versions().of(of) == version):
        reads.keep((of, key), version, value)
    return value
