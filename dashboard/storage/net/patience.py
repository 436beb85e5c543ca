"""How long an answer is waited for that never stops coming and never gets anywhere."""

from __future__ import annotations

import time
from collections.abc import Callable

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
