"""What waits elsewhere, read and described as if it were at home."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from dashboard.storage.driver import Reading
from dashboard.storage.types import ObjectInfo
from dashboard.storage.wrappers.common.streams import WrappedReading
from dashboard.storage.wrappers.fallback.standing_in import Waiting


class WaitingReading(WrappedReading):
    """A read of an object that waits elsewhere."""

    def __init__(self, inner: Reading, found: Waiting) -> None:
        super().__init__(inner, info_of(inner.info, found))

    def chunks(self) -> Iterator[bytes]:
        """See ``Reading``."""
        return self._inner.chunks()


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
