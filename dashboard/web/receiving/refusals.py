"""Requests that the web server refuses while it still receives them, such as a body that is too large.

The application words the error, so that it is the page or the JSON of every other error. The client can read
it: it is not asked to send what is refused, and the connection is not reset while it sends.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from io import BytesIO
from typing import Any

from flask import Flask, abort, request
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.task import ErrorTask, WSGITask

REFUSED = "stowage.refused"
"""In a WSGI environment: the status with which a request is refused, whose body was thrown away."""
LINGER_SECONDS = 30.0
LINGER_BYTES = 64 * 1024 * 1024
"""How long, and for how much of what is thrown away, a refused client may go on sending."""
_WORDED_BY_THE_APPLICATION = frozenset({400, 413})


def install(app: Flask) -> None:
    """Answer what the server has refused. After the guards: a stranger is told to sign in."""

    @app.before_request
    def refuse() -> None:
        if status := request.environ.get(REFUSED):
            abort(status)


class RequestParser(HTTPRequestParser):  # type: ignore[misc]  # waitress ships no types
    """A request, which may have a larger body if its headers allow that."""

    adj: Any
    is_large = False

    def parse_header(self, header_plus: bytes) -> None:
        """Parse everything before the body, and decide how large that may be."""
        super().parse_header(header_plus)
        large = self.chunked or self.content_length >= self.adj.max_request_body_size
        if large and self.adj.takes_large_body(self.command, self.path, self.headers):
            self.adj, self.is_large = self.adj.for_large_bodies, True

    def received(self, data: bytes) -> int:
        """Parse received bytes. A body that is refused, or complete, is not asked for (RFC 9110, 10.1.1)."""
        consumed: int = super().received(data)
        if self.completed:
            self.expect_continue = False
        return consumed

    @property
    def refused(self) -> int:
        """The status with which the application refuses the request; 0 if it cannot, or need not."""
        known = self.error is not None and self.headers_finished and hasattr(self, "path")
        return self.error.code if known and self.error.code in _WORDED_BY_THE_APPLICATION else 0


def task_for(accepted: Callable[..., WSGITask], channel: Any, refused: Any) -> Any:
    """Return the task for a request that was refused: the application's, or of a request that nobody could
    read, the server's own line of text."""
    if not (channel.adj.words_refusals and getattr(refused, "refused", 0)):
        return ErrorTask(channel, refused)
    task = accepted(channel, refused)
    environ = task.get_environment()
    environ |= {REFUSED: refused.refused, "CONTENT_LENGTH": "0", "wsgi.input": BytesIO()}
    task.set_close_on_finish()
    channel.lingers = True
    return task


class LingeringChannel(HTTPChannel):  # type: ignore[misc]  # waitress ships no types
    """A connection that is closed in two steps after a refusal: a client that is still sending when it is
    closed gets a reset, which destroys the response before it can read that (RFC 9112, 9.6)."""

    lingers = False
    lingering_since = 0.0
    discarded = 0

    def handle_close(self) -> None:
        """Close; after a refusal only for writing, until the client has closed too."""
        if self.lingers and self.will_close and self.connected and not self.lingering_since:
            self.lingering_since = time.time()
            try:
                self.socket.shutdown(socket.SHUT_WR)
            except OSError:
                super().handle_close()
            return
        super().handle_close()

    def readable(self) -> bool:
        """Whether something may come."""
        return bool(self.lingering_since) or bool(super().readable())

    def writable(self) -> bool:
        """Whether there is something to send now."""
        return not self.lingering_since and bool(super().writable())

    def handle_read(self) -> None:
        """Receive; after a refusal, throw away."""
        if not self.lingering_since:
            super().handle_read()
            return
        try:
            data = self.recv(self.adj.recv_bytes)
        except OSError:
            data = b""
        self.discarded += len(data)
        if not data or self.discarded > LINGER_BYTES:
            self.handle_close()

    def lingers_too_long(self, now: float) -> bool:
        """Return whether a client that was refused has kept the connection for too long."""
        return bool(self.lingering_since) and now - self.lingering_since > LINGER_SECONDS
