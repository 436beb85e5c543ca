"""One thread that publishes what the workers have prepared, many objects at a time, so that no worker waits
for a disk to be flushed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from dashboard.storage.errors import StorageError
from dashboard.storage.object_powers import Prepared
from dashboard.storage.types import Written

T = TypeVar("T")
R = TypeVar("R")

GROUP = 128
"""Objects that are published at once; each may hold an open file until then."""
GROUP_SECONDS = 0.1
"""How long an object waits for others."""


@dataclass(frozen=True, slots=True, eq=False)
class Unpublished(Generic[R]):
    """An object that is prepared. ``finish`` takes its receipt, or why it could not be published, and returns
    the result, or None to begin again. Raises what the work itself may raise."""

    prepared: Prepared
    finish: Callable[[Written | StorageError], R | None]


class Publisher(Generic[T]):
    """``publish`` is called with up to ``GROUP`` items at a time, on a thread of its own. It never raises."""

    def __init__(self, publish: Callable[[Sequence[T]], None]) -> None:
        self._publish = publish
        self._changed = threading.Condition()
        self._waiting: list[T] = []
        self._since = 0.0
        self._unpublished = 0
        self._hurry = self._closing = False
        self._thread: threading.Thread | None = None

    @property
    def unpublished(self) -> int:
        """How many items were added and not settled."""
        return self._unpublished

    def settled(self, items: int) -> None:
        """The results of this many published items were taken."""
        if items:
            with self._changed:
                self._unpublished -= items

    def add(self, item: T, *, hurry: bool) -> None:
        """Hand over an item. ``hurry``: do not wait for more. After :meth:`close` it is published at once."""
        with self._changed:
            self._unpublished += 1
            if not self._closing:
                self._add(item, hurry)
                return
        self._publish([item])

    def _add(self, item: T, hurry: bool) -> None:
        if not self._waiting:
            self._since = time.monotonic()
        self._waiting.append(item)
        self._hurry = self._hurry or hurry
        if self._thread is None:
            self._thread = threading.Thread(target=self._loop, name="publish", daemon=True)
            self._thread.start()
        elif self._hurry or len(self._waiting) in (1, GROUP):
            self._changed.notify()

    def hurry(self) -> None:
        """Publish what there is."""
        with self._changed:
            self._hurry = True
            self._changed.notify()

    def close(self, deadline: float) -> int:
        """Publish what there is, and end the thread. Return how many still hang in a call at ``deadline``
        (monotonic seconds)."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread is None:
            return 0
        self._thread.join(max(0.0, deadline - time.monotonic()))
        return int(self._thread.is_alive())

    def _loop(self) -> None:
        while taken := self._take():
            self._publish(taken)

    def _take(self) -> list[T]:
        """Wait for a group; return nothing at the end."""
        with self._changed:
            while not (self._waiting or self._closing):
                self._hurry = False
                self._changed.wait()
            while not (self._hurry or self._closing or len(self._waiting) >= GROUP):
                left = self._since + GROUP_SECONDS - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            taken, self._waiting = self._waiting[:GROUP], self._waiting[GROUP:]
            # Those that are left have waited long enough to be next.
            self._hurry = self._hurry and bool(self._waiting)
            return taken
