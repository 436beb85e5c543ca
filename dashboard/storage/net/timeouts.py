"""Timeouts: for a call that may never return, and for a response that arrives too slowly."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from dashboard.errors import Kind
from dashboard.storage.errors import StorageError

T = TypeVar("T")

BATCH = 500
"""Items that one thread hands to the other at once."""
BATCH_SECONDS = 0.25
POLL_SECONDS = 0.2

LOW_SPEED_SECONDS = 1800.0
"""Total seconds to wait for one response that arrives slower than ``_MIN_BYTES_PER_SECOND``. While they copy
an object or join its parts, HTTP servers send a space now and then."""
_MIN_BYTES_PER_SECOND = 1024


class TooSlow(TimeoutError):
    """Every read returned in time, but the response arrives too slowly to end."""


class LowSpeedLimit:
    """The low-speed limit of one connection. Used by one thread at a time."""

    __slots__ = ("_received_bytes", "_waited_seconds")

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start over, for a new response."""
        self._waited_seconds = 0.0
        self._received_bytes = 0

    def receive(self, receive: Callable[[int], bytes], max_bytes: int) -> bytes:
        """Return what ``receive`` returns. Raises :class:`TooSlow`, and what ``receive`` raises."""
        # Only time spent here counts: the consumer of the response may be slow.
        started = time.monotonic()
        data = receive(max_bytes)
        self._waited_seconds += time.monotonic() - started
        self._received_bytes += len(data)
        if (
            self._waited_seconds > LOW_SPEED_SECONDS
            and self._received_bytes < self._waited_seconds * _MIN_BYTES_PER_SECOND
        ):
            raise TooSlow
        return data


class Cancelled(Exception):
    """The caller stopped waiting."""


def call_with_timeout(call: Callable[[], T], seconds: float, stop: Callable[[], bool]) -> T:
    """Call ``call`` in a thread and return its result. Raises what ``call`` raises, ``StorageError`` after
    ``seconds``, or :class:`Cancelled` once ``stop`` returns True; the thread is abandoned then."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(call())
        except BaseException as error:  # noqa: BLE001  # raised again in the waiting thread
            errors.append(error)

    thread = threading.Thread(target=run, name="probe", daemon=True)
    thread.start()
    deadline = time.monotonic() + seconds
    while thread.is_alive():
        if stop():
            raise Cancelled
        if time.monotonic() > deadline:
            raise StorageError(
                Kind.TIMEOUT,
                f"There was no answer within {seconds:.0f} seconds.",
                operation="probe",
                remedy="Check that the server is running and that no firewall blocks the connection.",
            )
        thread.join(0.05)
    if errors:
        raise errors[0]
    return results[0]


def iterate_until(items: Callable[[], Iterable[T]], stop: Callable[[], bool]) -> Iterator[T]:
    """Yield what ``items`` returns, iterated in a thread, so that ``stop`` is noticed while it blocks.

    Raises what the iteration raises, and :class:`Cancelled` once ``stop`` returns True; it is called several
    times a second. The thread ends after the item that it waits for then. At most a few thousand items are
    ahead of the caller.
    """
    batches: queue.Queue[list[T] | BaseException | None] = queue.Queue(maxsize=4)
    given_up = threading.Event()

    def put(batch: list[T] | BaseException | None) -> None:
        while not given_up.is_set():
            try:
                batches.put(batch, timeout=POLL_SECONDS)
                return
            except queue.Full:
                continue

    def run() -> None:
        batch: list[T] = []
        due = time.monotonic() + BATCH_SECONDS
        try:
            for item in items():
                batch.append(item)
                if len(batch) >= BATCH or time.monotonic() >= due:
                    put(batch)
                    batch, due = [], time.monotonic() + BATCH_SECONDS
                if given_up.is_set():
                    return
            put(batch)
            put(None)
        except BaseException as error:  # noqa: BLE001  # raised again in the waiting thread
            put(batch)
            put(error)

    threading.Thread(target=run, name="iterate", daemon=True).start()
    try:
        while True:
            if stop():
                raise Cancelled
            try:
                found = batches.get(timeout=POLL_SECONDS)
            except queue.Empty:
                continue
            if found is None:
                return
            if isinstance(found, BaseException):
                raise found
            yield from found
    finally:
        given_up.set()
