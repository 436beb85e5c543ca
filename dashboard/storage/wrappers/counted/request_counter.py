"""What is counted of a backend's requests, in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from enum import StrEnum

from dashboard.errors import Kind
from dashboard.storage.errors import StorageError


class RequestClass(StrEnum):
    """The classes in which providers bill requests. What changes an object or its properties is a write."""

    READ = "read"
    WRITE = "write"
    LIST = "list"
    DELETE = "delete"


ERROR = "error:"
"""Before a kind: errors are counted beside the request that failed."""
_RESPONSES = frozenset(
    {Kind.NOT_FOUND, Kind.CONFLICT, Kind.CHANGED, Kind.INVALID_KEY, Kind.INVALID, Kind.UNSUPPORTED}
)
"""Kinds that are responses, not failures: whether an object exists is asked all the time."""

Counts = Mapping[str, tuple[int, int]]
"""Requests and bytes by class; ``error:timeout`` and the like have no bytes."""


class RequestCounter:
    """Counts of one backend, in memory. Thread-safe. ``changed`` is called for the first count after
    :meth:`take`, on the thread that counts."""

    def __init__(self, changed: Callable[[], None] = lambda: None) -> None:
        self._changed = changed
        self._lock = threading.Lock()
        self._counts: dict[str, list[int]] = {}

    def add(self, what: str, requests: int = 1, size: int = 0) -> None:
        """Count requests of a class, and bytes."""
        with self._lock:
            first = not self._counts
            row = self._counts.get(what)
            if row is None:
                row = self._counts[what] = [0, 0]
            row[0] += requests
            row[1] += size
        if first:
            self._changed()

    def fail(self, error: StorageError) -> None:
        """Count an error, unless it is only a response."""
        if error.kind not in _RESPONSES:
            self.add(f"{ERROR}{error.kind}")

    def take(self) -> Counts:
        """Return the counts since the last call, and start from zero."""
        with self._lock:
            counts, self._counts = self._counts, {}
        return {what: (row[0], row[1]) for what, row in counts.items()}

    def put_back(self, counts: Counts) -> None:
        """Add counts that could not be stored. Calls nothing."""
        with self._lock:
            for what, (requests, size) in counts.items():
                row = self._counts.setdefault(what, [0, 0])
                row[0] += requests
                row[1] += size
