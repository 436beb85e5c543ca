"""HTTP connections that go only where the address policy allows, looked at after the name was resolved.

Imports an HTTP client: for drivers only.
"""

from __future__ import annotations

import socket

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from dashboard.storage.connecting import connect, resolve


class Connection(HTTPConnection):
    """Without TLS."""

    def _new_conn(self) -> socket.socket:
        return _connected(self.host, self.port)


class SecureConnection(HTTPSConnection):
    """With TLS. Where a person said not to check certificates, urllib3 need not warn of it each time."""

    @property
    def is_verified(self) -> bool:
        """Decided by the context."""
        return True

    @is_verified.setter
    def is_verified(self, value: bool) -> None:
        """What the handshake found is of no interest."""

    def _new_conn(self) -> socket.socket:
        return _connected(self.host, self.port)


def _connected(host: str, port: int | None) -> socket.socket:
    assert port is not None
    bare = host.removeprefix("[").removesuffix("]")
    raw = connect(bare, port, resolve(bare, port))
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return raw


class Pool(urllib3.HTTPConnectionPool):
    """Connections without TLS."""

    ConnectionCls = Connection


class SecurePool(urllib3.HTTPSConnectionPool):
    """Connections with TLS."""

    ConnectionCls = SecureConnection
