"""Timeouts: for a call that may never return, and for a response that arrives too slowly."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from dashboard.errors import Kind
from dashboard.storage.errors import StorageError

T = TypeVar("T")

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
