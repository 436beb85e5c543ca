"""The bounded threads under :class:`AsyncStorage`, and what a cancelled call leaves behind.

A thread cannot be interrupted. A cancelled read is forgotten, and what it opened is closed. A cancelled
change first finds out what it did: ``outcome_of`` says so.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from typing import TypeVar

from dashboard.errors import StowageError

T = TypeVar("T")

THREADS = 16
CANCEL_SECONDS = 10.0
"""For which a cancelled change waits for its answer."""
_ATTRIBUTE = "stowage_outcome"


class Outcome(StrEnum):
    """What a cancelled change did."""

    DONE = "done"
    NOT_DONE = "not done"
    UNKNOWN = "unknown"


def outcome_of(error: BaseException) -> Outcome | None:
    """Return whether a call that was cancelled had made its change: for ``put``, whether the object is
    stored. Takes the ``CancelledError``, or the ``TimeoutError`` of ``asyncio.timeout``. None if no change
    was cancelled."""
    link: BaseException | None = error
    while link is not None:
        outcome = getattr(link, _ATTRIBUTE, None)
        if isinstance(outcome, Outcome):
            return outcome
        link = link.__cause__ or link.__context__
    return None


class Stopped(Exception):
    """The content of a cancelled write ends here: nothing is stored."""


class Stop:
    """Tells a write in a thread that it was cancelled. Thread-safe."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        """The write was cancelled."""
        self._event.set()

    def through(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """The same chunks. Raises ``Stopped`` once it is set."""
        for chunk in chunks:
            self.check()
            yield chunk
        self.check()

    def check(self) -> None:
        """Raise ``Stopped`` once it is set."""
        if self._event.is_set():
            raise Stopped


class Threads:
    """At most so many calls at once; others wait for their turn, and the event loop for none."""

    def __init__(self, threads: int = THREADS) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="async-storage")

    async def read(self, call: Callable[[], T]) -> T:
        """Call something that changes nothing. If cancelled, its result is dropped."""
        return await self._submit(call)

    async def open(self, call: Callable[[], T], close: Callable[[T], object]) -> T:
        """Call something whose result must be closed. If cancelled, it is closed when it is there."""
        future = self._executor.submit(contextvars.copy_context().run, call)
        try:
            return await asyncio.shield(_quiet(asyncio.wrap_future(future)))
        except asyncio.CancelledError:
            if not future.cancel():
                future.add_done_callback(
                    lambda done: close(done.result()) if done.exception() is None else None
                )
            raise

    async def finish(self, call: Callable[[], T]) -> T:
        """Call something that must not be left out, such as closing; if cancelled, it goes on by itself."""
        return await asyncio.shield(self._submit(call))

    async def change(self, call: Callable[[], T], stop: Stop | None = None) -> T:
        """Call something that changes an object. If cancelled, it waits up to ``CANCEL_SECONDS``, or until it
        is cancelled again, to say in the ``CancelledError`` what was done; see ``outcome_of``."""
        future = self._executor.submit(contextvars.copy_context().run, call)
        waiting = _quiet(asyncio.wrap_future(future))
        try:
            return await asyncio.shield(waiting)
        except asyncio.CancelledError as error:
            if future.cancel():
                raise marked(error, Outcome.NOT_DONE) from None
            if stop is not None:
                stop.set()
            raise marked(error, await _outcome(waiting)) from None

    def close(self) -> None:
        """Start no more calls. Those that run end by themselves. Idempotent."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _submit(self, call: Callable[[], T]) -> asyncio.Future[T]:
        return _quiet(asyncio.wrap_future(self._executor.submit(contextvars.copy_context().run, call)))


class InOrder:
    """Calls about one stream, one after the other, although each may run in another thread."""

    def __init__(self, threads: Threads) -> None:
        self.threads = threads
        self._lock = threading.Lock()

    def locked(self, call: Callable[[], T]) -> Callable[[], T]:
        """The call, once those that were started before it have ended."""

        def run() -> T:
            with self._lock:
                return call()

        return run


def marked(error: asyncio.CancelledError, outcome: Outcome) -> asyncio.CancelledError:
    """The same error, saying what was done."""
    setattr(error, _ATTRIBUTE, outcome)
    return error


async def _outcome(waiting: asyncio.Future[T]) -> Outcome:
    try:
        await asyncio.wait_for(asyncio.shield(waiting), CANCEL_SECONDS)
    except Stopped:
        return Outcome.NOT_DONE
    except (asyncio.CancelledError, TimeoutError, StowageError):
        # An error of a server that had received everything does not say that nothing was stored.
        return Outcome.UNKNOWN
    return Outcome.DONE


def _quiet(future: asyncio.Future[T]) -> asyncio.Future[T]:
    """The same future; asyncio does not complain if nobody is left to see its error."""
    future.add_done_callback(lambda done: done.cancelled() or done.exception())
    return future
