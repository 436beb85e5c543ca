"""Bounded reading of lines from an FTP server."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from socket import socket

from dashboard.storage.net.timeouts import LowSpeedLimit

_RECEIVE_BYTES = 8192
_TRANSFER_BYTES = 64 * 1024
_MAX_LINE_BYTES = 64 * 1024


class ReplyReader:
    """Reads lines from the control connection. Unlike ``socket.makefile`` it reports what it has read ahead,
    so that an unexpected reply is never taken for the next one."""

    def __init__(self, sock: socket, encoding: str) -> None:
        self._sock = sock
        self._encoding = encoding
        self._buffer = b""
        self._low_speed = LowSpeedLimit()

    @property
    def has_pending_data(self) -> bool:
        """Whether received bytes have not been read yet."""
        pending = self._sock.pending() if isinstance(self._sock, ssl.SSLSocket) else 0
        return bool(self._buffer) or pending > 0

    def start_reply(self) -> None:
        """Restart the time limit for the next reply."""
        self._low_speed.reset()

    def readline(self, longest: int) -> str:
        """Return the next line with its line break, cut at ``longest`` bytes; empty if the connection
        ended."""
        while b"\n" not in self._buffer and len(self._buffer) < longest:
            more = self._low_speed.receive(self._sock.recv, _RECEIVE_BYTES)
            if not more:
                break
            self._buffer += more
        end = self._buffer.find(b"\n") + 1 or len(self._buffer)
        end = min(end, longest)
        line, self._buffer = self._buffer[:end], self._buffer[end:]
        return line.decode(self._encoding)


def lines_of(data: socket) -> Iterator[bytes]:
    """Yield the lines of a data connection with their line breaks. A line without one was cut off, or is
    longer than any name. Raises ``OSError``."""
    low_speed = LowSpeedLimit()
    rest = b""
    while more := low_speed.receive(data.recv, _TRANSFER_BYTES):
        *lines, rest = (rest + more).split(b"\n")
        for line in lines:
            yield line + b"\n" if len(line) < _MAX_LINE_BYTES else line
        if len(rest) > _MAX_LINE_BYTES:
            break
    if rest:
        yield rest
