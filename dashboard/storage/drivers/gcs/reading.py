"""Reads of Google Cloud Storage, compared with its own checksum."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Self

from dashboard.storage.drivers.gcs.digests import Crc32c
from dashboard.storage.drivers.gcs.objects import Held
from dashboard.storage.errors import Damaged
from dashboard.storage.net.answers import joined, no_more_than
from dashboard.storage.net.server import Incoming


class GcsReading:
    """A read of one generation of one object."""

    def __init__(self, held: Held, body: Incoming | None) -> None:
        self.info = held.info
        self._crc32c = held.crc32c
        self._body = body

    def chunks(self) -> Iterator[bytes]:
        """See ``Reading.chunks``. What arrived is compared with Google's checksum at the end."""
        key, crc = self.info.key, Crc32c()
        pieces = self._body.pieces() if self._body is not None else iter(())
        for piece in no_more_than(key, self.info.size, pieces):
            crc.update(piece)
            yield piece
        if crc.text() != self._crc32c:
            raise Damaged(key, f"“{key}” was damaged on its way here: its checksum differs.")

    def read_all(self) -> bytes:
        """See ``Reading.read_all``."""
        return joined(self.chunks())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._body is not None:
            self._body.close()
