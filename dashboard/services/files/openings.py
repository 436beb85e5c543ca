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
WAIT_SECONDS = 0.5
"""A backend that responds has a free place within this time."""


class Openings:
    """Thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._open: Counter[int] = Counter()

    @contextmanager
    def slot(self, backend_id: int) -> Iterator[None]:
        """Around opening a file. Raises kind ``throttled`` if no place becomes free."""
        deadline = time.monotonic() + WAIT_SECONDS
        with self._changed:
            while self._open[backend_id] >= MAX_PER_BACKEND or self._open.total() >= MAX_OPENINGS:
                if not self._changed.wait(max(0.0, deadline - time.monotonic())):
                    raise TooMany(
                        "Too many files are being opened, because a backend responds slowly.",
                        operation="read",
                        remedy="Try again in a few seconds.",
                        retry_after=5,
                    )
            self._open[backend_id] += 1
        try:
            yield
        finally:
            with self._changed:
                self._open[backend_id] -= 1
                self._changed.notify_all()
