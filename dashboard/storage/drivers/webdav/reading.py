"""An open read of an object on a WebDAV server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

from dashboard.storage.drivers.webdav.client import Client
from dashboard.storage.errors import Changed, Damaged
from dashboard.storage.net.exchange import Answering
from dashboard.storage.net.failures import Scene
from dashboard.storage.types import ObjectInfo

_AT_ONCE = 64 * 1024
"""Bytes that a server reads from its disk in one go. While it sends more a file can be rewritten in place."""


class WebDAVReading:
    """A read of one version of one object."""

    def __init__(
        self,
        info: ObjectInfo,
        client: Client,
        response: Answering,
        scene: Scene,
        changed: Callable[[ObjectInfo], bool],
    ) -> None:
        self.info = info
        self._changed = changed
        self._client = client
        self._response = response
        self._scene = scene

    def chunks(self) -> Iterator[bytes]:
        """See ``Reading.chunks``."""
        key, size, arrived = self.info.key, self.info.size, 0
        for piece in self._client.reading(self._response, self._scene):
            arrived += len(piece)
            if arrived > size:
                self._response.close()
                raise Damaged(key, f"“{key}” has {size:,} bytes, but more arrived.")
            yield piece
        if arrived != size:
            raise Damaged(key, f"“{key}” has {size:,} bytes, but {arrived:,} arrived.")
        if size > _AT_ONCE and self._changed(self.info):
            raise Changed(key)

    def read_all(self) -> bytes:
        """See ``Reading.read_all``."""
        return b"".join(self.chunks())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free the connection. Idempotent; one that was read to its end serves again."""
        self._response.close()
