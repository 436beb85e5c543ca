"""A connection on which answers arrive: what has come and is not read yet, and how long is waited."""

from __future__ import annotations

import select
import socket
import ssl
from contextlib import suppress

from dashboard.storage.net.timeouts import LowSpeedLimit, TooSlow
from dashboard.storage.net.transport_errors import TransportError

_HEAD_PIECE = 16 * 1024
"""Bytes asked of a connection at a time; a small object comes along with its head."""


class Connection:
    """A connection and what has come over it unread. Used by one thread at a time."""

    __slots__ = ("age", "buffer", "low_speed", "poll", "sock")

    def __init__(self, sock: socket.socket, age: int) -> None:
        self.sock = sock
        self.age = age
        self.buffer = b""
        self.low_speed = LowSpeedLimit()
        self.poll = select.poll()
        self.poll.register(sock, select.POLLIN)

    def is_quiet(self) -> bool:
        """Whether nothing came since the last answer, not even an end: else the next one could not be told
        from what is left of it."""
        unread = self.sock.pending() if isinstance(self.sock, ssl.SSLSocket) else 0
        return not self.buffer and not unread and not self.poll.poll(0)

    def receive(self, most: int) -> bytes:
        """What is there, at least one byte; empty at the end."""
        if self.buffer:
            taken, self.buffer = self.buffer[:most], self.buffer[most:]
            return taken
        return self._received(most)

    def _received(self, most: int) -> bytes:
        try:
            return self.low_speed.receive(self.sock.recv, most)
        except TooSlow as error:
            raise TransportError("slow") from error

    def until(self, mark: bytes, longest: int, ended: str) -> bytes:
        """Everything before a mark, which is passed over; ``ended`` is the code where none comes."""
        found = self.buffer.find(mark)
        while found < 0:
            if len(self.buffer) > longest:
                raise TransportError("unreadable")
            more = self._received(_HEAD_PIECE)
            if not more:
                raise TransportError(ended)
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
