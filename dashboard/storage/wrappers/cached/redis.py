"""A cache in a Redis server, which several machines can share. The only file that imports its client.

The server's ``maxmemory`` policy limits its size, and entries expire after a day. While the server is
unavailable, reads and writes use the backend alone, and a thread checks whether the server responds again.
"""

from __future__ import annotations

import io
import logging
import socket
import threading
from contextlib import suppress
from typing import BinaryIO

import redis

from dashboard.errors import Kind
from dashboard.storage.errors import StorageError
from dashboard.storage.net.connecting import connect, resolve
from dashboard.storage.types import Secret
from dashboard.storage.wrappers.cached.stores import EntryWriter, MemoryEntryWriter

log = logging.getLogger(__name__)

MAX_ENTRY_BYTES = 8 * 1024 * 1024
_EXPIRY_SECONDS = 86_400
_TIMEOUT_SECONDS = 2.0
_RETRY_SECONDS = 10.0


class _AddressForbidden(redis.RedisError):
    """The name resolved to a forbidden address. The client does not retry it."""


class _Connection(redis.Connection):
    """Resolves and connects like every driver, so that addresses are checked in between."""

    def _connect(self) -> socket.socket:
        try:
            connection = connect(
                self.host, self.port, resolve(self.host, self.port), seconds=_TIMEOUT_SECONDS
            )
        except StorageError as error:
            refused = _AddressForbidden if error.kind is Kind.DENIED else redis.ConnectionError
            raise refused(error.reason) from error
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(self.socket_timeout)
        return connection


class _TlsConnection(redis.SSLConnection, _Connection):
    """The same with TLS."""


class RedisStore:
    """See ``CacheStore``. ``prefix`` keeps backends apart."""

    max_entry_bytes = MAX_ENTRY_BYTES

    def __init__(self, url: Secret, prefix: str) -> None:
        address = url.reveal()
        self._client = redis.Redis.from_url(
            address,
            connection_class=_TlsConnection if address.startswith("rediss:") else _Connection,
            socket_connect_timeout=_TIMEOUT_SECONDS,
            socket_timeout=_TIMEOUT_SECONDS,
        )
        self._prefix = prefix
        self._lock = threading.Lock()
        self._unavailable = False
        self._closed = threading.Event()

    def __repr__(self) -> str:
        return f"RedisStore({self._prefix})"

    def find(self, name: str) -> BinaryIO | None:
        """See ``CacheStore``."""
        if self._unavailable:
            return None
        try:
            data = self._client.get(self._prefix + name)
        except redis.RedisError as error:
            self._mark_unavailable(error)
            return None
        return io.BytesIO(data) if isinstance(data, bytes) else None

    def create(self, name: str, size: int) -> EntryWriter | None:
        """See ``CacheStore``."""
        return None if self._unavailable else MemoryEntryWriter(self, name)

    def put(self, name: str, data: bytes) -> None:
        """See ``BlobStore``."""
        if self._unavailable:
            return
        try:
            self._client.set(self._prefix + name, data, ex=_EXPIRY_SECONDS)
        except redis.RedisError as error:
            self._mark_unavailable(error)

    def delete(self, name: str) -> None:
        """See ``CacheStore``. Does nothing while the server is unavailable: entries are compared with
        the backend before they are used."""
        if self._unavailable:
            return
        try:
            self._client.delete(self._prefix + name)
        except redis.RedisError as error:
            self._mark_unavailable(error)

    def close(self) -> None:
        """See ``CacheStore``."""
        self._closed.set()
        self._client.close()

    def _mark_unavailable(self, error: redis.RedisError) -> None:
        with self._lock:
            was_available, self._unavailable = not self._unavailable, True
        if not was_available:
            return
        if isinstance(error, _AddressForbidden):
            log.warning("The cache in Redis is not used: %s", error)
        else:
            # Without its text, which may contain the address and more.
            log.warning("The cache in Redis does not respond: %s", type(error).__name__)
        # A daemon, so that no program waits for it when it ends.
        threading.Thread(target=self._poll, name="redis-back", daemon=True).start()

    def _poll(self) -> None:
        while not self._closed.wait(_RETRY_SECONDS):
            with suppress(redis.RedisError):
                self._client.ping()
                self._unavailable = False
                return
