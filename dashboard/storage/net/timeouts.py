"""How long is waited: for a call that may not end by itself, and for an answer that comes too slowly."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from dashboard.errors import Kind
from dashboard.storage.errors import StorageError

T = TypeVar("T")

PATIENCE = 1800.0
"""Seconds that may be waited for one answer in all, if it keeps coming slower than ``_SLOWEST``. HTTP servers
that copy an object or join its parts send a space now and then meanwhile."""
_SLOWEST = 1024
"""Bytes a second."""


class TooSlow(TimeoutError):
    """Each piece came in time, and all of them together would never have."""


class Patience:
    """With one connection. Used by one thread at a time."""

    __slots__ = ("_arrived", "_waited")

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
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
        if self._waited > PATIENCE and self._arrived < self._waited * _SLOWEST:
            raise TooSlow
        return piece


class Stopped(Exception):
    """The caller does not want to know any more."""


def within(act: Callable[[], T], seconds: float, stop: Callable[[], bool]) -> T:
    """What ``act`` returns, called in a thread and waited for so many ``seconds`` and until ``stop`` says so.
    Raises what ``act`` raises, ``StorageError`` after that time, or ``Stopped``; the thread is left then."""
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
            raise Stopped
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
