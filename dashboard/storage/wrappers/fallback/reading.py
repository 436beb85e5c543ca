"""What waits elsewhere, read and described as if it were at home."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from types import TracebackType
from typing import Self

from dashboard.storage.driver import Reading
from dashboard.storage.types import ObjectInfo
from dashboard.storage.wrappers.fallback.standing_in import Waiting


class WaitingReading:
    """A read of an object that waits elsewhere."""

    def __init__(self, inner: Reading, found: Waiting) -> None:
        self._inner = inner
        self.info: ObjectInfo = info_of(inner.info, found)

    def chunks(self) -> Iterator[bytes]:
        """See ``Reading``."""
        yield from self._inner.chunks()

    def read_all(self) -> bytes:
        """See ``Reading``."""
        return self._inner.read_all()

    def __enter__(self) -> Self:
        self._inner.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._inner.__exit__(kind, error, trace)


def info_of(info: ObjectInfo, found: Waiting) -> ObjectInfo:
    """What waits, described under its own key."""
    token = token_of(found)
    attributes = found.attributes if found.attributes is not None else info.attributes
    return replace(
        info,
        key=found.key,
        modified=found.since,
        etag=token,
        version=token,
        md5=found.md5,
        attributes=attributes,
    )


def token_of(found: Waiting) -> str:
    """Its version and ETag."""
    return f"waiting-{found.number}"
