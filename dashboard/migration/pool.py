"""Worker threads that copy objects one by one. They do not use the ledger; they return their results.

The scheduler puts objects into one queue, some more than there are workers. A worker that has finished one
takes the next from there and wakes nobody; the scheduler takes results by the batch. So no object waits
behind a slow one, and no result behind an object that hangs. What a worker only prepared is published by one
thread, many objects at a time.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from dashboard.errors import Kind
from dashboard.migration.grouping.publishing import Publisher, Unpublished
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
    to which writes were sent, with whatever result. ``alone``: not published with others."""

    row: Claimed
    attempts: int = 0
    recheck_source: bool = False
    started: bool = False
    alone: bool = False
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


Publish = Callable[[Sequence[tuple[T, Unpublished[R]]]], Sequence[R | None]]
"""Publishes what was prepared for these items; returns their results, None for items to begin again with."""


class WorkerPool(Generic[T, R]):
    """``workers`` daemon threads that call ``work(item, stop)`` for each item. If that returns what is only
    prepared, ``publish`` is called for it and others.

    If ``work`` raises, the result is ``Failed`` with an internal error; for items that were not started when
    the pool was stopped it is ``Stopped``. Used by one thread.

    ``wake_after``: the number of results that ends the wait in :meth:`results`, which also ends when nothing
    is queued any more.
    """

    def __init__(
        self,
        work: Callable[[T, Callable[[], bool]], R | Unpublished[R]],
        workers: int,
        publish: Publish[T, R] = lambda group: [],
    ) -> None:
        self._work = work
        self._publish = publish
        self._publisher: Publisher[tuple[T, Unpublished[R] | Failed]] = Publisher(self._publish_safely)
        self._items: SimpleQueue[tuple[T] | None] = SimpleQueue()
        self._finished: deque[tuple[T, R | Stopped | Failed, bool]] = deque()
        self._wake = threading.Event()
        self.wake_after = 1
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._workers = 0
        self.resize(workers)

    def resize(self, workers: int) -> None:
        """Have this many workers from now on. Those that are too many end after the objects that are queued,
        unless these are withdrawn before."""
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        for _ in range(workers - self._workers):
            thread = threading.Thread(target=self._loop, name=f"copy-{len(self._threads)}", daemon=True)
            self._threads.append(thread)
            thread.start()
        for _ in range(self._workers - workers):
            self._items.put(None)
        self._workers = workers

    @property
    def threads(self) -> int:
        """How many there are, those included that still have to end."""
        return sum(thread.is_alive() for thread in self._threads)

    def put(self, item: T) -> None:
        """Hand an item to the next free worker."""
        self._items.put((item,))

    def results(self, timeout: float) -> list[tuple[T, R | Stopped | Failed]]:
        """Return the results since the last call; wait up to ``timeout`` seconds for ``wake_after``."""
        if timeout > 0 and len(self._finished) < self.wake_after:
            self._wake.wait(timeout)
        # Before they are taken: a result that comes meanwhile wakes the next call.
        self._wake.clear()
        found: list[tuple[T, R | Stopped | Failed]] = []
        published = 0
        while self._finished:
            item, result, was_prepared = self._finished.popleft()
            found.append((item, result))
            published += was_prepared
        self._publisher.settled(published)
        return found

    @property
    def unpublished(self) -> int:
        """How many items no worker is busy with any more, but have no result yet."""
        return self._publisher.unpublished

    def withdraw(self) -> list[T]:
        """Take back the items that no worker has begun, in their order."""
        found: list[T] = []
        ends = 0
        try:
            while True:
                taken = self._items.get_nowait()
                if taken is None:
                    ends += 1
                else:
                    found.append(taken[0])
        except Empty:
            pass
        for _ in range(ends):
            self._items.put(None)
        return found

    def request_stop(self) -> None:
        """Start no more items, and abort large objects between two parts."""
        self._stop.set()
        self._publisher.hurry()

    def close(self, deadline: float) -> int:
        """End the threads; return how many still hang in a call at ``deadline`` (monotonic seconds)."""
        self._stop.set()
        for _ in self._threads:
            self._items.put(None)
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return sum(thread.is_alive() for thread in self._threads) + self._publisher.close(deadline)

    def _loop(self) -> None:
        while (taken := self._items.get()) is not None:
            item = taken[0]
            result = Stopped() if self._stop.is_set() else self._run_safely(item)
            if isinstance(result, Unpublished):
                self._publisher.add((item, result), hurry=self._items.empty() or self._stop.is_set())
            elif isinstance(result, Failed) and self._publisher.unpublished:
                # Not before the successes that came first: many failures in a row mean something.
                self._publisher.add((item, result), hurry=True)
            else:
                self._finished.append((item, result, False))
                self._wake_if_due()

    def _wake_if_due(self) -> None:
        if len(self._finished) >= self.wake_after or self._items.empty():
            self._wake.set()

    def _publish_safely(self, group: Sequence[tuple[T, Unpublished[R] | Failed]]) -> None:
        prepared = [(item, each) for item, each in group if isinstance(each, Unpublished)]
        results: Sequence[R | Failed | None]
        # The job boundary, as below.
        try:
            results = self._publish(prepared) if prepared else ()
            if len(results) != len(prepared):
                raise ValueError(f"{len(results)} results for {len(prepared)} objects")
        except BaseException as error:  # noqa: BLE001
            log.error("publishing objects failed unexpectedly: %s", type(error).__qualname__)
            results = [Failed(Kind.INTERNAL, UNEXPECTED)] * len(prepared)
        found = iter(results)
        for item, each in group:
            result: R | Failed | None = each if isinstance(each, Failed) else next(found)
            if isinstance(each, Unpublished):
                each.prepared.discard()
            if result is None:
                self._publisher.settled(1)
                self.put(item)
            else:
                self._finished.append((item, result, True))
        self._wake_if_due()

    def _run_safely(self, item: T) -> R | Unpublished[R] | Failed:
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
