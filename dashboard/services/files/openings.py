"""How many files are being opened at once: backends that do not respond must not occupy every thread."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from dashboard.errors import TooMany

MAX_OPENINGS = 12
MAX_PER_BACKEND = 8
"""Files that are opened at once, of 16 threads that also serve the pages."""
STUCK_SECONDS = 1.0
"""If no file was opened for so long, waiting for a place is useless."""
MAX_WAIT_SECONDS = 10.0
_ALL = -1


class Openings:
    """Thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._open: Counter[int] = Counter()
        self._progress: dict[int, float] = {}
        """When an opening of a backend, or of any, last began or ended."""

    @contextmanager
    def slot(self, backend_id: int) -> Iterator[None]:
        """Around opening a file. Waits for a place as long as others become free; raises kind ``throttled``
        if none does."""
        with self._changed:
            self._wait_for_place(backend_id)
            self._open[backend_id] += 1
            self._note_progress(backend_id)
        try:
            yield
        finally:
            with self._changed:
                self._open[backend_id] -= 1
                self._note_progress(backend_id)
                self._changed.notify_all()

    def _wait_for_place(self, backend_id: int) -> None:
        began = time.monotonic()
        while True:
            if self._open[backend_id] >= MAX_PER_BACKEND:
                full = backend_id
            elif self._open.total() >= MAX_OPENINGS:
                full = _ALL
            else:
                return
            until = min(self._progress[full] + STUCK_SECONDS, began + MAX_WAIT_SECONDS)
            if time.monotonic() >= until:
                raise TooMany(
                    "Too many files are being opened, because a backend responds slowly.",
                    operation="read",
                    remedy="Try again in a few seconds.",
                    retry_after=5,
                )
            self._changed.wait(until - time.monotonic())

    def _note_progress(self, backend_id: int) -> None:
        self._progress[backend_id] = self._progress[_ALL] = time.monotonic()
