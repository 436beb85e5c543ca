"""Worker threads that move one object at a time. They know no ledger: what they find is handed back."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Protocol

from dashboard.errors import Kind
from dashboard.migration.ledger import Claimed, Failure
from dashboard.migration.reasons import UNEXPECTED
from dashboard.migration.types import ObjectState
from dashboard.storage.driver import SMALL

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Done:
    """An object that needs no more work: copied, verified or skipped (then with ``why``)."""

    state: ObjectState
    size: int
    why: Failure | None = None
    destination_key: str = ""
    source_checksum: str = ""
    destination_checksum: str = ""
    source_version: str = ""
    destination_etag: str = ""


@dataclass(frozen=True, slots=True)
class Failed:
    """An attempt that failed. ``fatal``: no other object will do better. ``wrote``: what was written is
    at the destination and found wanting."""

    kind: Kind
    why: Failure
    retryable: bool = False
    fatal: bool = False
    wrote: Done | None = None


@dataclass(frozen=True, slots=True)
class Dropped:
    """Not done because the run is stopping; nothing of it is visible at the destination."""


Result = Done | Failed | Dropped


@dataclass(slots=True, eq=False)
class Task:
    """A claimed row on its way through the pool. ``fresh``: look at the source again first."""

    row: Claimed
    attempts: int = 0
    fresh: bool = False
    started: bool = False
    done: int = field(default=0)

    @property
    def large(self) -> bool:
        """Whether it moves in pieces."""
        return self.row.size > SMALL

    def progress(self, done: int) -> None:
        """Bytes handed over so far."""
        self.done = done


class Mover(Protocol):
    """Moves one object. Thread-safe; returns failures instead of raising them."""

    def move(self, task: Task, stop: Callable[[], bool]) -> Result:
        """Copy, compare and verify as the row and the migration say."""
        ...


class Pool:
    """``workers`` daemon threads over one mover."""

    def __init__(self, mover: Mover, workers: int) -> None:
        self._mover = mover
        self._tasks: SimpleQueue[Task | None] = SimpleQueue()
        self._results: SimpleQueue[tuple[Task, Result]] = SimpleQueue()
        self._halt = threading.Event()
        self._threads = [
            threading.Thread(target=self._work, name=f"copy-{number}", daemon=True)
            for number in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def put(self, task: Task) -> None:
        """Hand a task to the next free worker."""
        self._tasks.put(task)

    def results(self, timeout: float) -> list[tuple[Task, Result]]:
        """What was finished since the last call; waits up to ``timeout`` seconds for the first."""
        found: list[tuple[Task, Result]] = []
        try:
            found.append(self._results.get(timeout=timeout) if timeout > 0 else self._results.get_nowait())
            while True:
                found.append(self._results.get_nowait())
        except Empty:
            return found

    def halt(self) -> None:
        """Begin nothing more; large objects under way are dropped between two pieces."""
        self._halt.set()

    def close(self, deadline: float) -> int:
        """End the threads; returns how many still hang in a call at ``deadline`` (monotonic)."""
        self._halt.set()
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return sum(thread.is_alive() for thread in self._threads)

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            if self._halt.is_set():
                self._results.put((task, Dropped()))
                continue
            task.done, task.started = 0, True
            self._results.put((task, self._move(task)))

    def _move(self, task: Task) -> Result:
        # The job boundary: a panic of the Rust client is a BaseException, and it must fail one object and
        # not take a worker away. Its text may hold credentials, so only its type is logged.
        try:
            return self._mover.move(task, self._halt.is_set)
        except BaseException as error:  # noqa: BLE001
            log.error("moving an object failed unexpectedly: %s", type(error).__qualname__)
            return Failed(Kind.INTERNAL, UNEXPECTED)
