"""One HTTP connection with its receive buffer and its low-speed limit."""

from __future__ import annotations

import select
import socket
import ssl
import struct
import sys
from contextlib import suppress

from dashboard.storage.net.timeouts import LowSpeedLimit, TooSlow
from dashboard.storage.net.transport_errors import TransportError

_RECEIVE_BYTES = 16 * 1024
"""Bytes to receive at a time: a small object arrives together with its head."""
_KERNEL_TIMES_OUT = sys.platform == "linux" and sys.maxsize > 2**32
"""Whether a receive can have its timeout from the kernel. Python's own takes a call of ``poll`` before each
transfer, and in each of these calls another thread may take the interpreter."""


class Connection:
    """A connection and the bytes received but not read yet. Used by one thread at a time."""

    __slots__ = ("_idle", "_kernel_times_out", "buffer", "generation", "low_speed", "poll", "sock")

    def __init__(self, sock: socket.socket, generation: int) -> None:
        self.sock = sock
        self.generation = generation
        self.buffer = b""
        self.low_speed = LowSpeedLimit()
        self.poll = select.poll()
        self.poll.register(sock, select.POLLIN)
        # OpenSSL repeats a receive that the kernel has ended.
        self._kernel_times_out = _KERNEL_TIMES_OUT and not isinstance(sock, ssl.SSLSocket)
        self._idle: float | None = None

    def expect_within(self, seconds: float) -> None:
        """From now on the server may be silent for this long while something is received."""
        if seconds == self._idle:
            return
        if self._kernel_times_out:
            self.sock.settimeout(None)
            whole = int(seconds)
            until = struct.pack("@ll", whole, max(1, int((seconds - whole) * 1e6)))
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, until)
        else:
            self.sock.settimeout(seconds)
        self._idle = seconds

    def send(self, data: bytes | memoryview, seconds: float) -> None:
        """Send all of it. The server has this long to accept it. Raises ``OSError``."""
        sent = 0
        if self._kernel_times_out:
            with suppress(BlockingIOError):
                sent = self.sock.send(data, socket.MSG_DONTWAIT)
            if sent == len(data):
                return
        if self.sock.gettimeout() != seconds:
            self.sock.settimeout(seconds)
            self._idle = None
        self.sock.sendall(memoryview(data)[sent:])

    def is_clean(self) -> bool:
        """Whether nothing arrived after the last response, not even its end: otherwise leftover bytes could
        be taken for the next response."""
        unread = self.sock.pending() if isinstance(self.sock, ssl.SSLSocket) else 0
        return not self.buffer and not unread and not self.poll.poll(0)

    def receive(self, most: int) -> bytes:
        """Return up to ``most`` bytes, at least one; empty at the end."""
        if self.buffer:
            data, self.buffer = self.buffer[:most], self.buffer[most:]
            return data
        return self._receive(most)

    def _receive(self, most: int) -> bytes:
        try:
            return self.low_speed.receive(self.sock.recv, most)
        except TooSlow as error:
            raise TransportError("slow") from error
        except BlockingIOError as error:
            raise TimeoutError(str(error)) from error

    def read_until(self, delimiter: bytes, max_bytes: int, end_code: str) -> bytes:
        """Return everything before ``delimiter`` and skip it. Raises :class:`TransportError`, with
        ``end_code`` if the connection ends first."""
        position = self.buffer.find(delimiter)
        while position < 0:
            if len(self.buffer) > max_bytes:
                raise TransportError("unreadable")
            more = self._receive(_RECEIVE_BYTES)
            if not more:
                raise TransportError(end_code)
            start = max(0, len(self.buffer) - len(delimiter))
            self.buffer += more
            position = self.buffer.find(delimiter, start)
        data, self.buffer = self.buffer[:position], self.buffer[position + len(delimiter) :]
        return data

    def close(self) -> None:
        """Idempotent."""
        with suppress(OSError):
            self.sock.close()

    def __del__(self) -> None:
        self.close()
