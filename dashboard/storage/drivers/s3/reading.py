"""Open reads, whose length is checked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

from dashboard.storage.drivers.s3.errors import ERRORS, Scene
from dashboard.storage.net.answers import joined, no_more_than
from dashboard.storage.net.exchange import Answering, Broken
from dashboard.storage.types import ObjectInfo


class HttpSource:
    """The body of one of our own requests."""

    def __init__(self, response: Answering, scene: Scene) -> None:
        self._response = response
        self._scene = scene

    def chunks(self) -> Iterator[bytes]:
        """The body in pieces of at most 256 KiB."""
        try:
            yield from self._response.pieces()
        except Broken as error:
            raise ERRORS.trouble(error.trouble, self._scene) from error

    def close(self) -> None:
        """Drop the connection; one with a body left on it cannot serve again."""
        self._response.close()


class S3Reading:
    """A read of one version of one object."""

    def __init__(self, info: ObjectInfo, source: HttpSource, part_size: Callable[[int], int | None]) -> None:
        self.info = info
        self._source = source
        self.part_size = part_size
        """See ``TellsParts``."""

    def chunks(self) -> Iterator[bytes]:
        """See ``Reading.chunks``."""
        return no_more_than(self.info.key, self.info.size, self._source.chunks())

    def read_all(self) -> bytes:
        """See ``Reading.read_all``."""
        return joined(self.chunks())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free the connection. Idempotent."""
        self._source.close()
