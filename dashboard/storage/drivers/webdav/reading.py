"""Reads from a WebDAV server."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from dashboard.storage.drivers.common.reading import CheckedReading
from dashboard.storage.errors import Changed
from dashboard.storage.types import ObjectInfo

_AT_ONCE = 64 * 1024
"""Bytes that a server reads from its disk in one go. While it sends more a file can be rewritten in place."""


class WebDAVReading(CheckedReading):
    """A read of one version of one object, which is looked at again at its end."""

    def __init__(
        self,
        info: ObjectInfo,
        pieces: Iterator[bytes],
        close: Callable[[], object],
        changed: Callable[[ObjectInfo], bool],
    ) -> None:
        super().__init__(info, pieces, close)
        self._changed = changed

    def chunks(self) -> Iterator[bytes]:
        """See ``Reading.chunks``."""
        yield from super().chunks()
        if self.info.size > _AT_ONCE and self._changed(self.info):
            raise Changed(self.info.key)
