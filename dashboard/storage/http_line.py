"""A connection on which answers arrive: what has come and is not read yet, and how long is waited."""

from __future__ import annotations

import select
import socket
import ssl
import time
from contextlib import suppress

_HEAD_PIECE = 16 * 1024
"""Bytes asked of a connection at a time; a small object comes along with its head."""
PATIENCE = 1800.0
"""Seconds that an answer may be waited for in all, if it keeps coming slower than ``_SLOWEST``. Servers that
copy an object or join its parts send a space now and then meanwhile."""
_SLOWEST = 1024
"""Bytes a second."""


class Broken(Exception):
    """An exchange that came to nothing; ``trouble`` is a name that ``wire_error`` knows."""

    def __init__(self, trouble: str) -> None:
        super().__init__(trouble)
        self.trouble = trouble


class Line:
    """A connection and what has come over it unread. Used by one thread at a time."""

    __slots__ = ("_arrived", "_waited", "age", "buffer", "poll", "sock")

    def __init__(self, sock: socket.socket, age: int) -> None:
        self.sock = sock
        self.age = age
        self.buffer = b""
        self.asked()
        self.poll = select.poll()
        self.poll.register(sock, select.POLLIN)

    def is_quiet(self) -> bool:
        """Whether nothing came since the last answer, not even an end: else the next one could not be told
        from what is left of it."""
        unread = self.sock.pending() if isinstance(self.sock, ssl.SSLSocket) else 0
        return not self.buffer and not unread and not self.poll.poll(0)

    def asked(self) -> None:
        """A new answer is waited for from now on."""
        self._waited = 0.0
        self._arrived = 0

    def receive(self, most: int) -> bytes:
        """What is there, at least one byte; empty at the end."""
        if self.buffer:
            taken, self.buffer = self.buffer[:most], self.buffer[most:]
            return taken
        return self._received(most)

    def _received(self, most: int) -> bytes:
        # Only what is spent here counts: whoever works on the answer may take all the time there is.
        began = time.monotonic()
        piece = self.sock.recv(most)
        self._waited += time.monotonic() - began
        self._arrived += len(piece)
        if self._waited > PATIENCE and self._arrived < self._waited * _SLOWEST:
            raise Broken("slow")
        return piece

    def until(self, mark: bytes, longest: int, ended: str) -> bytes:
        """Everything before a mark, which is passed over; ``ended`` is the trouble where none comes."""
        found = self.buffer.find(mark)
        while found < 0:
            if len(self.buffer) > longest:
                raise Broken("unreadable")
            more = self._received(_HEAD_PIECE)
            if not more:
                raise Broken(ended)
            start = max(0, len(self.buffer) - len(mark))
            self.buffer += more
            found = self.buffer.find(mark, start)
        taken, self.buffer = self.buffer[:found], self.buffer[found + len(mark) :]
        return taken

    def close(self) -> None:
        """Idempotent."""
        with suppress(OSError):
            self.sock.close()

    def __del__(self) -> None:
        self.close()
