"""Open reads, whose length is checked."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Self

from dashboard.storage.drivers._s3_errors import Failure, Scene, translate
from dashboard.storage.errors import Damaged
from dashboard.storage.http_exchange import Answering, Broken
from dashboard.storage.types import ObjectInfo


class HttpSource:
    """The body of one of our own requests."""

    def __init__(self, response: Answering, scene: Scene) -> None:
        self._response = response
        self._scene = scene

    def whole(self) -> bytes:
        """The body in one piece."""
        return b"".join(self.chunks())

    def chunks(self) -> Iterator[bytes]:
        """The body in pieces of at most 256 KiB."""
        try:
            yield from self._response.pieces()
        except Broken as error:
            raise translate(Failure(trouble=error.trouble), self._scene) from error

    def close(self) -> None:
        """Drop the connection; one with a body left on it cannot serve again."""
        self._response.close()


class S3Reading:
    """A read of one version of one object."""

    def __init__(self, info: ObjectInfo, source: HttpSource) -> None:
        self.info = info
        self._source = source

    def chunks(self) -> Iterator[bytes]:
        """See ``Reading.chunks``."""
        arrived = 0
        for piece in self._source.chunks():
            arrived += len(piece)
            yield piece
        self._check(arrived)

    def read_all(self) -> bytes:
        """See ``Reading.read_all``."""
        data = self._source.whole()
        self._check(len(data))
        return data

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free the connection. Idempotent."""
        self._source.close()

    def _check(self, arrived: int) -> None:
        if arrived != self.info.size:
            raise Damaged(
                self.info.key, f"“{self.info.key}” has {self.info.size:,} bytes, but {arrived:,} arrived."
            )
