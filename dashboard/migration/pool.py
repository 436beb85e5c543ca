"""Worker threads that copy one object at a time. They do not use the ledger; they return their results."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from dashboard.errors import Kind
from dashboard.migration.ledger import Claimed, Done, Reason
from dashboard.migration.reasons import UNEXPECTED
from dashboard.storage.driver import SMALL

log = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Failed:
    """A failed attempt. ``fatal``: no other object can succeed. ``bad_copy``: what was written to the
    destination and failed verification."""

    kind: Kind
    reason: Reason
    retryable: bool = False
    fatal: bool = False
    bad_copy: Done | None = None


@dataclass(frozen=True, slots=True)
class Stopped:
    """Not done, because the run is stopping; nothing of it is visible at the destination."""


Result = Done | Failed | Stopped


@dataclass(slots=True, eq=False)
class Task:
    """A claimed row on its way through the pool. ``recheck_source``: stat the source again first.
    ``bad_copy_key``: the key of a copy by this run that failed verification. ``attempted_keys``: the keys
    to which writes were sent, with whatever result."""

    row: Claimed
    attempts: int = 0
    recheck_source: bool = False
    started: bool = False
    bad_copy_key: str = ""
    attempted_keys: set[str] = field(default_factory=set)
    done: int = field(default=0)

    @property
    def large(self) -> bool:
        """Whether it is copied in parts."""
        return self.row.size > SMALL

    def begin(self) -> None:
        """Called when a worker starts with it: from now on it is shown as in flight, at 0 bytes."""
        self.done = 0
        self.started = True

    def progress(self, done: int) -> None:
        """Record the bytes copied so far."""
        self.done = done


class WorkerPool(Generic[T, R]):
    """``workers`` daemon threads that call ``work(item, stop)`` for each item.

    If ``work`` raises, the result is ``Failed`` with an internal error; for items that were not started when
    the pool was stopped it is ``Stopped``.
    """

    def __init__(self, work: Callable[[T, Callable[[], bool]], R], workers: int) -> None:
        self._work = work
        self._items: SimpleQueue[tuple[T] | None] = SimpleQueue()
        self._results: SimpleQueue[tuple[T, R | Stopped | Failed]] = SimpleQueue()
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._loop, name=f"copy-{number}", daemon=True)
            for number in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def put(self, item: T) -> None:
        """Hand an item to the next free worker."""
        self._items.put((item,))

    def results(self, timeout: float) -> list[tuple[T, R | Stopped | Failed]]:
        """Return the results since the last call; wait up to ``timeout`` seconds for the first."""
        found: list[tuple[T, R | Stopped | Failed]] = []
        try:
            found.append(self._results.get(timeout=timeout) if timeout > 0 else self._results.get_nowait())
            while True:
                found.append(self._results.get_nowait())
        except Empty:
            return found

    def request_stop(self) -> None:
        """Start no more items, and abort large objects between two parts."""
        self._stop.set()

    def close(self, deadline: float) -> int:
        """End the threads; return how many still hang in a call at ``deadline`` (monotonic seconds)."""
        self._stop.set()
        for _ in self._threads:
            self._items.put(None)
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return sum(thread.is_alive() for thread in self._threads)

    def _loop(self) -> None:
        while (taken := self._items.get()) is not None:
            item = taken[0]
            self._results.put((item, Stopped() if self._stop.is_set() else self._run_safely(item)))

    def _run_safely(self, item: T) -> R | Failed:
        # The job boundary: native code (that of cryptography, for example) panics with a BaseException, which
        # must fail one object and not end a worker. Its text may hold credentials: only its type is logged.
        try:
            return self._work(item, self._stop.is_set)
        except BaseException as error:  # noqa: BLE001
            log.error("work on an object failed unexpectedly: %s", type(error).__qualname__)
            return Failed(Kind.INTERNAL, UNEXPECTED)


class PhaseThread:
    """Runs ``phase(stop)``, which may block in the network, in a daemon thread, so that the caller can still
    poll for requests. :meth:`has_ended` raises what the phase raised."""

    def __init__(self, phase: Callable[[threading.Event], None], name: str) -> None:
        self._phase = phase
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def has_ended(self) -> bool:
        """Whether the phase has ended. Raises what it raised."""
        if self._thread.is_alive():
            return False
        if self._error is not None:
            raise self._error
        return True

    def wait(self, seconds: float) -> None:
        """Wait for its end, at most ``seconds``."""
        self._thread.join(seconds)

    def request_stop(self) -> None:
        """Ask it to end."""
        self._stop.set()

    def stop(self, deadline: float) -> int:
        """Ask it to end; 1 if it still hangs in a call at ``deadline`` (monotonic seconds)."""
        self._stop.set()
        self._thread.join(max(0.0, deadline - time.monotonic()))
        return int(self._thread.is_alive())

    def _run(self) -> None:
        # Not swallowed: ``has_ended`` raises it.
        try:
            self._phase(self._stop)
        except BaseException as error:  # noqa: BLE001
            self._error = error
