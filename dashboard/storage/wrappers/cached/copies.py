"""What a copy looks like: the content, its description as JSON, and the description's length in 8 bytes.

The description holds a CRC-32 of every MiB of the content, so that a part can be proven without the rest.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from types import TracebackType
from typing import Any, BinaryIO, Self

from dashboard.storage.driver import Reading
from dashboard.storage.errors import Changed
from dashboard.storage.types import Attributes, ObjectInfo
from dashboard.storage.wrappers.cached.shelves import Slip
from dashboard.storage.wrappers.common.streams import WrappedReading

_CHUNK = 1024 * 1024
_PIECE = 1024 * 1024
_LONGEST = 64 * 1024 * 1024
"""Bytes of a description: that of an object of some TiB."""


class PieceSums:
    """The checksums of a content that comes in pieces of any size. Used by one thread."""

    def __init__(self) -> None:
        self._done: list[int] = []
        self._crc = 0
        self._room = _PIECE
        self.size = 0

    def add(self, data: bytes) -> None:
        """The next bytes."""
        view = memoryview(data)
        self.size += len(view)
        while len(view) >= self._room:
            self._done.append(zlib.crc32(view[: self._room], self._crc))
            view, self._crc, self._room = view[self._room :], 0, _PIECE
        self._crc = zlib.crc32(view, self._crc)
        self._room -= len(view)

    def sums(self) -> list[int]:
        """After the last byte."""
        return [*self._done, self._crc] if self._room < _PIECE else list(self._done)


class Copy:
    """An open copy. ``is_whole`` or ``part`` prove it; it is for one thread."""

    def __init__(self, info: ObjectInfo, file: BinaryIO, sums: Sequence[int]) -> None:
        self.info = info
        self.file = file
        self.sums = sums

    @classmethod
    def of(cls, file: BinaryIO, key: str) -> Copy | None:
        """None, with the file closed, where it is no copy of this object. Its content is not looked at."""
        try:
            found = _parse(file, key)
        except (OSError, ValueError, KeyError, TypeError):
            found = None
        if found is None:
            file.close()
            return None
        return cls(found[0], file, found[1])

    def is_whole(self) -> bool:
        """Whether all of the content is as it was."""
        try:
            return all(self._piece(number) is not None for number in range(len(self.sums)))
        except OSError:
            return False

    def part(self, start: int, length: int) -> bytes | None:
        """A part of the content, or None where it is not as it was."""
        end = min(start + length, self.info.size)
        if start >= end:
            return b""
        first, last = start // _PIECE, (end - 1) // _PIECE
        try:
            pieces = [self._piece(number) for number in range(first, last + 1)]
        except OSError:
            return None
        found = b"".join(piece for piece in pieces if piece is not None)
        whole = None not in pieces
        return found[start - first * _PIECE : end - first * _PIECE] if whole else None

    def _piece(self, number: int) -> bytes | None:
        self.file.seek(number * _PIECE)
        data = self.file.read(min(_PIECE, self.info.size - number * _PIECE))
        return data if zlib.crc32(data) == self.sums[number] else None


def _parse(file: BinaryIO, key: str) -> tuple[ObjectInfo, list[int]] | None:
    end = file.seek(0, 2)
    file.seek(max(0, end - 8))
    length = int.from_bytes(file.read(8), "big")
    if not 0 < length <= min(end - 8, _LONGEST):
        return None
    size = end - 8 - length
    file.seek(size)
    told = json.loads(file.read(length))
    sums = [int(each) for each in told.pop("crcs")]
    if told["key"] != key or told["size"] != size or len(sums) != -(-size // _PIECE):
        return None
    attributes = Attributes(**told.pop("attributes"))
    return ObjectInfo(**told, attributes=attributes), sums


def description(info: ObjectInfo, sums: Sequence[int]) -> bytes:
    """What stands after the content of a copy, whose checksums these are."""
    told: dict[str, Any] = {
        name: getattr(info, name) for name in ("key", "size", "modified", "etag", "version", "md5")
    }
    attributes = asdict(replace(info.attributes, metadata={})) | {"metadata": dict(info.attributes.metadata)}
    data = json.dumps(told | {"crcs": list(sums), "attributes": attributes}).encode()
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


class FillingReading(WrappedReading):
    """A read from the backend that leaves a copy, and has it kept, if it comes to its end."""

    def __init__(self, inner: Reading, slip: Slip, keep: Callable[[Slip], None]) -> None:
        super().__init__(inner, inner.info)
        self._slip = slip
        self._keep_it = keep

    def chunks(self) -> Iterator[bytes]:
        """See ``Reading``."""
        sums = PieceSums()
        for data in self._inner.chunks():
            sums.add(data)
            self._slip.write(data)
            yield data
        self._keep(sums)

    def read_all(self) -> bytes:
        """See ``Reading``."""
        data, sums = self._inner.read_all(), PieceSums()
        sums.add(data)
        self._slip.write(data)
        self._keep(sums)
        return data

    def _keep(self, sums: PieceSums) -> None:
        if sums.size == self.info.size:
            self._slip.write(description(self.info, sums.sums()))
            self._keep_it(self._slip)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._slip.drop()
        super().__exit__(kind, error, trace)
