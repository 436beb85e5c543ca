"""The web server: waitress, with a limit on connections that idle clients cannot exhaust.

waitress alone stops accepting at its limit, so a few hundred idle connections would keep everyone out. Here
a new connection is always accepted: the one that has been idle longest is closed for it.
"""

from __future__ import annotations

import copy
import resource
import socket
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property, partial
from typing import Any

from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.buffers import ReadOnlyFileBasedBuffer
from waitress.server import TcpWSGIServer
from waitress.task import ThreadedTaskDispatcher, WSGITask

from dashboard.jobs.stop_signal import StopSignal
from dashboard.services.people import throttle
from dashboard.web.files.bodies import BODY_WRAPPER, CLIENT_IS_GONE, Body
from dashboard.web.receiving import refusals

THREADS = 16
MAX_CONNECTIONS = 512
MAX_CONNECTIONS_PER_ADDRESS = 128
RESERVED_DESCRIPTORS = 200
"""File descriptors left for databases, backends and files; each connection may also hold a static file."""
MAX_REQUEST_BYTES = 2 * 1024 * 1024
"""A little more than the largest form, so that a form that is too large still gets our own error page."""
MAX_LARGE_BYTES = 16 * 1024 * 1024 + 64 * 1024
"""Of an upload, or a part of one, from somebody who is signed in."""
BUFFER_BYTES = 1024 * 1024
"""Bytes of a response that are buffered for a slow client before the writing thread blocks."""
SEND_BYTES = 256 * 1024
"""Bytes of a body that are offered to a socket at once."""
TURN_BYTES = 1024 * 1024
"""Bytes of a body that are sent before other connections get their turn."""
UNSENT_BYTES = 512 * 1024
"""Bytes of a response that the system takes beyond what is on its way to the client. Without a limit it takes
4 MiB for a client that reads nothing, and all of them were read from a backend."""
RECEIVE_BYTES = 64 * 1024
"""Bytes of a request that are received at a time: with 8 KiB an upload takes two thirds more CPU time."""
IDLE_SECONDS = 75.0
"""Longer than the minute for which proxies usually keep connections alive, so that they close first."""
RECEIVE_SECONDS = 60.0
"""Within which a request must arrive completely."""
STALLED_SECONDS = 30.0
MIN_BYTES_BEFORE_STALL = 64 * 1024
"""Bytes that a client must read within ``STALLED_SECONDS``: a slower one would occupy a thread forever."""
_UNSENT_OPTION: int | None = getattr(socket, "TCP_NOTSENT_LOWAT", None)
"""Of Linux and macOS. Unlike a smaller send buffer, it does not limit what may be on its way."""
CLEANUP_SECONDS = 5
DRAIN_SECONDS = 2.0
"""Seconds that finished responses have to reach slow clients when the console stops."""


def run(
    application: Callable[..., Any],
    sockets: Sequence[socket.socket],
    *,
    stop: StopSignal,
    behind_proxy: bool,
    ready: Callable[[], None],
    takes_large_body: Callable[[str, str, Mapping[str, str]], bool] = lambda *_: False,
    words_refusals: bool = False,
) -> None:
    """Serve on bound sockets until ``stop`` is readable, then finish open requests.

    ``takes_large_body``: called with method, path and headers of a request that announces a body larger than
    a form, before any of it is received. ``words_refusals``: ``application`` has :mod:`refusals` installed.
    """
    connections: dict[int, Any] = {}
    dispatcher = ThreadedTaskDispatcher()
    dispatcher.set_thread_count(THREADS)
    max_connections = connection_limit() // len(sockets)
    settings = Adjustments(
        sockets=list(sockets),
        # Never reached: idle connections are closed before.
        connection_limit=2 * MAX_CONNECTIONS,
        cleanup_interval=CLEANUP_SECONDS,
        recv_bytes=RECEIVE_BYTES,
        outbuf_high_watermark=BUFFER_BYTES,
        max_request_body_size=MAX_REQUEST_BYTES,
        ident="Stowage",
        clear_untrusted_proxy_headers=not behind_proxy,
    )
    settings.takes_large_body = takes_large_body
    settings.words_refusals = words_refusals
    settings.for_large_bodies = copy.copy(settings)
    settings.for_large_bodies.max_request_body_size = MAX_LARGE_BYTES
    for each in sockets:
        sockinfo = (each.family, each.type, each.proto, each.getsockname())
        listener = _Listener(
            application,
            connections,
            _sock=each,
            dispatcher=dispatcher,
            adj=settings,
            sockinfo=sockinfo,
            bind_socket=False,
        )
        listener.max_connections = max_connections
        # Behind a proxy all clients share one address.
        listener.max_per_address = (
            max_connections if behind_proxy else min(max_connections, MAX_CONNECTIONS_PER_ADDRESS)
        )
    stopping = _StopWatch(stop, connections)
    ready()
    while not stopping.arrived:
        # select() fails at descriptor 1024.
        wasyncore.loop(timeout=1, map=connections, use_poll=True, count=1)
    dispatcher.shutdown()
    _drain(connections)
    wasyncore.close_all(connections)


def connection_limit() -> int:
    """Return how many connections this process's limit on file descriptors allows."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    return max(8, min(MAX_CONNECTIONS, (soft - RESERVED_DESCRIPTORS) // 2))


class _StopWatch(wasyncore.file_dispatcher):  # type: ignore[misc]  # waitress ships no types
    """Ends a wait of the loop when the signal to stop arrives, even one from just before the wait."""

    arrived = False

    def writable(self) -> bool:
        """There is nothing to write."""
        return False

    def handle_read(self) -> None:
        """Remember it, and leave the loop: the descriptor stays readable."""
        self.arrived = True
        self.close()


class _BodyBuffer(ReadOnlyFileBasedBuffer):  # type: ignore[misc]  # waitress ships no types
    """A body as the server's file wrapper: the loop sends it, and no thread waits for the client."""

    def __init__(self, body: Body) -> None:
        self.body = body
        self.turn = TURN_BYTES

    def prepare(self, size: int | None = None) -> int:
        """Return the length. The task then hands the buffer to the channel and ends."""
        self.remain = self.body.remaining
        return self.remain

    def get(self, numbytes: int = -1, skip: bool = False) -> bytes:
        """Return the next bytes; none if there are none yet, or other connections are due."""
        return self.body.peek(min(numbytes, SEND_BYTES)) if self.turn > 0 else b""

    def skip(self, numbytes: int, allow_prune: bool = False) -> None:
        """Count what was sent."""
        self.body.advance(numbytes)
        self.remain -= numbytes
        self.turn -= numbytes

    def close(self) -> None:
        """Free what the body holds."""
        self.body.close()
        self.remain = 0


class _Task(WSGITask):  # type: ignore[misc]  # waitress ships no types
    """A request whose response may be a body."""

    def get_environment(self) -> dict[str, Any]:
        """Return the WSGI environment, with a wrapper for bodies."""
        environ: dict[str, Any] = super().get_environment()
        environ[BODY_WRAPPER] = self._wrap
        environ[CLIENT_IS_GONE] = self._client_is_gone
        return environ

    def _client_is_gone(self) -> bool:
        """Whether the client has closed its connection, which the loop does not read meanwhile."""
        try:
            return not self.channel.socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def _wrap(self, body: Body) -> _BodyBuffer:
        body.on_ready = self._wake_loop
        return _BodyBuffer(body)

    def _wake_loop(self) -> None:
        # A window may arrive when the server has stopped.
        with suppress(OSError):
            self.channel.server.pull_trigger()


class _Channel(refusals.LingeringChannel):
    """One connection, and since when it has been waiting for the client."""

    task_class = _Task
    error_task_class = partial(refusals.task_for, _Task)
    parser_class = refusals.RequestParser
    receiving_since = 0.0
    received_before = (0, 0.0)
    sent = 0
    waiting_since: tuple[int, float] | None = None

    @cached_property
    def network(self) -> str:
        """The client's address, or for IPv6 its /64 network, which is one customer's."""
        return throttle.network_of(str(self.addr[0]))

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.deferred: list[Any] = []
        super().__init__(*arguments, **options)

    def received(self, data: bytes) -> Any:
        """Handle received bytes of a request. Further ones that were sent with it wait until its response was
        read: waitress would let a thread wait for that."""
        if self.request is None:
            self.receiving_since = time.time()
            self.received_before = (0, 0.0)
        result = super().received(data)
        with self.requests_lock:
            self.deferred += self.requests[1:]
            del self.requests[1:]
        return result

    def readable(self) -> bool:
        """Whether another request may come."""
        return not self.deferred and super().readable()

    def service(self) -> None:
        """Handle one request, on a thread."""
        super().service()
        self._start_deferred()

    def _start_deferred(self) -> None:
        with self.requests_lock:
            closing = self.will_close or self.close_when_flushed or not self.connected
            if self.deferred and not (closing or self.requests or self.total_outbufs_len):
                self.requests.append(self.deferred.pop(0))
                self.server.add_task(self)

    def _sending(self) -> _BodyBuffer | None:
        """The body whose bytes are next, or None."""
        for buffer in list(self.outbufs):
            if isinstance(buffer, _BodyBuffer):
                return buffer
            if len(buffer):
                return None
        return None

    def writable(self) -> bool:
        """Whether there is something to send now. A body that waits for its backend reports when it has."""
        buffer = self._sending()
        if buffer is not None and buffer.body.is_waiting and not self.will_close:
            return False
        return bool(super().writable())

    def handle_write(self) -> None:
        """Send what the socket has room for, but no more than one turn's bytes."""
        buffer = self._sending()
        if buffer is not None:
            if buffer.body.has_failed:
                self.handle_close()
                return
            buffer.turn = TURN_BYTES
        super().handle_write()
        self._start_deferred()

    def send(self, data: bytes, do_close: bool = True) -> Any:
        """Send bytes of a response; none are sent while the client does not read."""
        taken = super().send(data, do_close)
        self.sent += taken or 0
        return taken

    @property
    def is_idle(self) -> bool:
        """Whether no response is pending. A connection with an incomplete request counts as idle."""
        return not (self.requests or self.total_outbufs_len or self.will_close)

    def close_soon(self) -> None:
        """Close in the loop's next turn, whether or not the client reads. Closed in this turn, its descriptor
        could become that of a connection accepted in it, which would get this one's events, the end
        included."""
        self.will_close = True
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

    def is_overdue(self, now: float) -> bool:
        """Return whether the client has kept the connection waiting for too long."""
        if self.total_outbufs_len:
            buffer = self._sending()
            if buffer is not None and buffer.body.is_waiting:
                # For a backend, not for the client.
                self.waiting_since = None
                return False
            if self.waiting_since is None or self.sent - self.waiting_since[0] >= MIN_BYTES_BEFORE_STALL:
                self.waiting_since = (self.sent, now)
            return now - self.waiting_since[1] > STALLED_SECONDS
        self.waiting_since = None
        if self.requests:
            return False
        if self.request is not None:
            if self.request.is_large:
                return self._stalls(now)
            return now - self.receiving_since > RECEIVE_SECONDS
        return bool(now - self.last_activity > IDLE_SECONDS)

    def _stalls(self, now: float) -> bool:
        """Whether a large body has stopped arriving; it may take as long as it needs."""
        count = self.request.body_bytes_received
        if count - self.received_before[0] >= MIN_BYTES_BEFORE_STALL or not self.received_before[1]:
            self.received_before = (count, now)
        return now - self.received_before[1] > STALLED_SECONDS


class _Listener(TcpWSGIServer):  # type: ignore[misc]  # waitress ships no types
    """A listening socket that always accepts one more connection."""

    channel_class = _Channel
    max_connections = MAX_CONNECTIONS
    max_per_address = MAX_CONNECTIONS_PER_ADDRESS

    def set_socket_options(self, conn: socket.socket) -> None:
        """Set the options of a new connection."""
        super().set_socket_options(conn)
        if _UNSENT_OPTION is not None:
            # Only an improvement: what a system lacks or refuses costs memory.
            with suppress(OSError):
                conn.setsockopt(socket.IPPROTO_TCP, _UNSENT_OPTION, UNSENT_BYTES)

    def handle_accept(self) -> None:
        """Accept a connection, and close the one that has been idle longest if there are too many."""
        super().handle_accept()
        counts = Counter(channel.network for channel in self.active_channels.values())
        for network, count in counts.most_common():
            if count <= self.max_per_address and counts.total() <= self.max_connections:
                return
            if self._evict_idle(network):
                return

    def _evict_idle(self, network: str) -> bool:
        every = self.active_channels.values()
        idle = [channel for channel in every if channel.is_idle and channel.network == network]
        if idle:
            min(idle, key=lambda channel: channel.last_activity).close_soon()
        return bool(idle)

    def maintenance(self, now: float) -> None:
        """Close overdue connections, those with a response that nobody reads included."""
        for channel in list(self.active_channels.values()):
            if channel.lingers_too_long(now) or channel.is_overdue(now):
                channel.close_soon()


def _drain(connections: dict[int, Any]) -> None:
    """Send the rest of the responses that were finished while the server was shutting down.

    waitress waits for its threads, but what they wrote beyond the socket's buffer would be lost.
    """
    deadline = time.monotonic() + DRAIN_SECONDS
    while time.monotonic() < deadline and any(
        getattr(connection, "total_outbufs_len", 0) for connection in connections.values()
    ):
        wasyncore.loop(timeout=0.1, map=connections, count=1, use_poll=True)
