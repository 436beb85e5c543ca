"""What a copy looks like: the content, its description as JSON, and the description's length in 8 bytes."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from dataclasses import asdict, replace
from types import TracebackType
from typing import Any, BinaryIO, Self

from dashboard.storage.errors import Changed
from dashboard.storage.types import Attributes, ObjectInfo

_CHUNK = 1024 * 1024


class Copy:
    """An open copy that is whole. ``seek`` and read as a file; it is for one thread."""

    def __init__(self, info: ObjectInfo, file: BinaryIO) -> None:
        self.info = info
        self.file = file

    @classmethod
    def of(cls, file: BinaryIO, key: str) -> Copy | None:
        """None, with the file closed, where it is no whole copy of this object."""
        try:
            info = _parse(file, key)
        except (OSError, ValueError, KeyError, TypeError):
            info = None
        if info is None:
            file.close()
            return None
        return cls(info, file)


def _parse(file: BinaryIO, key: str) -> ObjectInfo | None:
    """Content, description as JSON, and the description's length in 8 bytes."""
    end = file.seek(0, 2)
    file.seek(max(0, end - 8))
    length = int.from_bytes(file.read(8), "big")
    if not 0 < length <= min(end - 8, _CHUNK):
        return None
    file.seek(end - 8 - length)
    told = json.loads(file.read(length))
    size, crc, left = end - 8 - length, 0, end - 8 - length
    file.seek(0)
    while left and (data := file.read(min(left, _CHUNK))):
        crc, left = zlib.crc32(data, crc), left - len(data)
    if told["key"] != key or told["size"] != size or told.pop("crc") != crc or left:
        return None
    attributes = Attributes(**told.pop("attributes"))
    return ObjectInfo(**told, attributes=attributes)


def description(info: ObjectInfo, crc: int) -> bytes:
    """What stands after the content of a copy, whose CRC-32 this is."""
    told: dict[str, Any] = {
        name: getattr(info, name) for name in ("key", "size", "modified", "etag", "version", "md5")
    }
    attributes = asdict(replace(info.attributes, metadata={})) | {"metadata": dict(info.attributes.metadata)}
    data = json.dumps(told | {"crc": crc, "attributes": attributes}).encode()
    return data + len(data).to_bytes(8, "big")


class CopyReading:
    """A read of a copy."""

    def __init__(self, copy: Copy, info: ObjectInfo) -> None:
        self._file = copy.file
        self.info = info

    def chunks(self) -> Iterator[bytes]:
        """See ``Reading``."""
        self._file.seek(0)
        left = self.info.size
        while left and (data := self._file.read(min(left, _CHUNK))):
            left -= len(data)
            yield data
        if left:
            raise Changed(self.info.key)

    def read_all(self) -> bytes:
        """See ``Reading``."""
        return b"".join(self.chunks())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
