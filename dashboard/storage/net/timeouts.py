"""How long is waited: for a call that may not end by itself, and for an answer that comes too slowly."""

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
"""Bytes a second."""


class TooSlow(TimeoutError):
    """Each piece came in time, and all of them together would never have."""


class LowSpeedLimit:
    """With one connection. Used by one thread at a time."""

    __slots__ = ("_arrived", "_waited")

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """A new answer is waited for from now on."""
        self._waited = 0.0
        self._arrived = 0

    def receive(self, receive: Callable[[int], bytes], most: int) -> bytes:
        """What ``receive`` returns. Raises :class:`TooSlow`, and what that raises."""
        # Only what is spent here counts: whoever works on the answer may take all the time there is.
        began = time.monotonic()
        piece = receive(most)
        self._waited += time.monotonic() - began
        self._arrived += len(piece)
        if self._waited > LOW_SPEED_SECONDS and self._arrived < self._waited * _MIN_BYTES_PER_SECOND:
            raise TooSlow
        return piece


class Cancelled(Exception):
    """The caller does not want to know any more."""


def call_with_timeout(act: Callable[[], T], seconds: float, stop: Callable[[], bool]) -> T:
    """Call ``act`` in a thread and return its result. Raises what ``act`` raises, ``StorageError`` after
    ``seconds``, or :class:`Cancelled` once ``stop`` returns True; the thread is abandoned then."""
    results: list[T] = []
    errors: list[BaseException] = []

    def call() -> None:
        try:
            results.append(act())
        except BaseException as error:  # noqa: BLE001  # raised again in the waiting thread
            errors.append(error)

    thread = threading.Thread(target=call, name="probe", daemon=True)
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
                remedy="Check that the server is well and that nothing on the way holds the connection up.",
            )
        thread.join(0.05)
    if errors:
        raise errors[0]
    return results[0]
