"""The web server: waitress, with connections bounded so that no stranger can use them up.

waitress alone stops accepting when its limit is reached, and then a few hundred idle connections keep
everybody out. Here there is always room for one more: the connection that has been idle longest makes it.
"""

from __future__ import annotations

import resource
import socket
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.server import TcpWSGIServer
from waitress.task import ThreadedTaskDispatcher

from dashboard.services.people import throttle

THREADS = 16
CONNECTIONS = 512
CONNECTIONS_PER_ADDRESS = 128
FILES_BESIDES = 200
"""Descriptors left for databases, backends and files while every connection also sends a static file."""
LARGEST_REQUEST = 2 * 1024 * 1024
"""Bytes; a little more than any form may have, so that too large a form still gets our own answer."""
BUFFER = 1024 * 1024
"""Bytes of an answer that wait for its reader before the thread that writes it waits too."""
IDLE_SECONDS = 75.0
"""Longer than the minute for which proxies usually keep a connection, so that they close it first."""
RECEIVE_SECONDS = 60.0
"""What a request may take to arrive."""
STALLED_SECONDS = 30.0
LEAST_TAKEN = 64 * 1024
"""Bytes of its answer that a reader must take in that time: one that sips would keep a thread for ever."""
LOOK_EVERY = 5
DRAIN = 2.0
"""Seconds that finished answers get to reach slow readers when the console stops."""


def run(
    application: Callable[..., Any],
    sockets: Sequence[socket.socket],
    *,
    behind_proxy: bool,
    ready: Callable[[], None],
) -> None:
    """Serve on bound sockets until ``SystemExit`` is raised on this thread, then finish what is in flight."""
    connections: dict[int, Any] = {}
    dispatcher = ThreadedTaskDispatcher()
    dispatcher.set_thread_count(THREADS)
    most = connections_allowed() // len(sockets)
    settings = Adjustments(
        sockets=list(sockets),
        # Never reached: room is made before.
        connection_limit=2 * CONNECTIONS,
        cleanup_interval=LOOK_EVERY,
        outbuf_high_watermark=BUFFER,
        max_request_body_size=LARGEST_REQUEST,
        ident="Stowage",
        clear_untrusted_proxy_headers=not behind_proxy,
    )
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
        listener.most = most
        # A proxy speaks for everybody from one address.
        listener.most_per_address = most if behind_proxy else min(most, CONNECTIONS_PER_ADDRESS)
    ready()
    try:
        # select() ends the process at descriptor 1024.
        wasyncore.loop(timeout=1, map=connections, use_poll=True)
    except SystemExit:
        dispatcher.shutdown()
        _drain(connections)
        wasyncore.close_all(connections)


def connections_allowed() -> int:
    """How many connections this process's file limit has room for."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return CONNECTIONS
    return max(8, min(CONNECTIONS, (soft - FILES_BESIDES) // 2))


class _Channel(HTTPChannel):  # type: ignore[misc]  # waitress ships no types
    """One connection, and since when it has been waiting for its peer."""

    receiving_since = 0.0
    sent = 0
    waiting_since: tuple[int, float] | None = None

    @cached_property
    def neighbourhood(self) -> str:
        """The address of the other side, or for IPv6 the network that one customer has."""
        return throttle.block(str(self.addr[0]))

    def received(self, data: bytes) -> Any:
        """Some of a request has arrived."""
        if self.request is None:
            self.receiving_since = time.time()
        return super().received(data)

    def send(self, data: bytes, do_close: bool = True) -> Any:
        """Some of an answer leaves, or none if the other side takes nothing."""
        taken = super().send(data, do_close)
        self.sent += taken or 0
        return taken

    @property
    def idle(self) -> bool:
        """Whether nobody waits for an answer on it. A request that is only half there counts as idle."""
        return not self.requests and not self.total_outbufs_len

    def overdue(self, now: float) -> bool:
        """Whether the other side has kept it waiting for too long."""
        if self.total_outbufs_len:
            if self.waiting_since is None or self.sent - self.waiting_since[0] >= LEAST_TAKEN:
                self.waiting_since = (self.sent, now)
            return now - self.waiting_since[1] > STALLED_SECONDS
        self.waiting_since = None
        if self.requests:
            return False
        if self.request is not None:
            return now - self.receiving_since > RECEIVE_SECONDS
        return bool(now - self.last_activity > IDLE_SECONDS)


class _Listener(TcpWSGIServer):  # type: ignore[misc]  # waitress ships no types
    """A listening socket that always has room for one more connection."""

    channel_class = _Channel
    most = CONNECTIONS
    most_per_address = CONNECTIONS_PER_ADDRESS

    def handle_accept(self) -> None:
        """Take a connection, and give up the one that has been idle longest if there are too many."""
        super().handle_accept()
        counts = Counter(channel.neighbourhood for channel in self.active_channels.values())
        for neighbourhood, count in counts.most_common():
            if count <= self.most_per_address and counts.total() <= self.most:
                return
            if self._give_up_one(neighbourhood):
                return

    def _give_up_one(self, neighbourhood: str) -> bool:
        every = self.active_channels.values()
        idle = [channel for channel in every if channel.idle and channel.neighbourhood == neighbourhood]
        if idle:
            # Closed at once: a peer that reads nothing never lets the loop get to it.
            min(idle, key=lambda channel: channel.last_activity).handle_close()
        return bool(idle)

    def maintenance(self, now: float) -> None:
        """Close what its peer has forgotten, an answer that nobody reads included."""
        for channel in list(self.active_channels.values()):
            if channel.overdue(now):
                channel.handle_close()


def _drain(connections: dict[int, Any]) -> None:
    """Send the rest of answers that were finished while the server was already leaving its loop.

    waitress waits for its threads, but what they wrote beyond the socket's buffer would be lost.
    """
    deadline = time.monotonic() + DRAIN
    while time.monotonic() < deadline and any(
        getattr(connection, "total_outbufs_len", 0) for connection in connections.values()
    ):
        wasyncore.loop(timeout=0.1, map=connections, count=1, use_poll=True)
