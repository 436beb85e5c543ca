"""The format of cache entries: the content, a footer in JSON, and the footer's length in 8 bytes.

The footer contains a CRC-32 of every MiB of the content, so that a part can be verified without the rest.
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
from dashboard.storage.wrappers.cached.stores import EntryWriter
from dashboard.storage.wrappers.common.streams import WrappedReading

_CHUNK_BYTES = 1024 * 1024
_BLOCK_BYTES = 1024 * 1024
_MAX_FOOTER_BYTES = 64 * 1024 * 1024
"""Enough for an object of some TiB."""


class BlockChecksums:
    """Checksums of a content that arrives in chunks of any size. Used by one thread."""

    def __init__(self) -> None:
        self._done: list[int] = []
        self._crc = 0
        self._room = _BLOCK_BYTES
        self.size = 0

    def add(self, data: bytes) -> None:
        """Add the next bytes."""
        view = memoryview(data)
        self.size += len(view)
        while len(view) >= self._room:
            self._done.append(zlib.crc32(view[: self._room], self._crc))
            view, self._crc, self._room = view[self._room :], 0, _BLOCK_BYTES
        self._crc = zlib.crc32(view, self._crc)
        self._room -= len(view)

    def sums(self) -> list[int]:
        """Return the checksums, after the last byte."""
        return [*self._done, self._crc] if self._room < _BLOCK_BYTES else list(self._done)


class CacheEntry:
    """An open entry, verified by ``is_intact`` or ``read_part``. Used by one thread."""

    def __init__(self, info: ObjectInfo, file: BinaryIO, sums: Sequence[int]) -> None:
        self.info = info
        self.file = file
        self.sums = sums

    @classmethod
    def open(cls, file: BinaryIO, key: str) -> CacheEntry | None:
        """Open an entry without verifying its content. Return None, with the file closed, if it is not an
        entry of this object."""
        try:
            footer = _parse_footer(file, key)
        except (OSError, ValueError, KeyError, TypeError):
            footer = None
        if footer is None:
            file.close()
            return None
        return cls(footer[0], file, footer[1])

    def is_intact(self) -> bool:
        """Whether the complete content is undamaged."""
        try:
            return all(self._read_block(number) is not None for number in range(len(self.sums)))
        except OSError:
            return False

    def read_part(self, start: int, length: int) -> bytes | None:
        """Return a part of the content, or None if it is damaged."""
        end = min(start + length, self.info.size)
        if start >= end:
            return b""
        first, last = start // _BLOCK_BYTES, (end - 1) // _BLOCK_BYTES
        try:
            blocks = [self._read_block(number) for number in range(first, last + 1)]
        except OSError:
            return None
        data = b"".join(block for block in blocks if block is not None)
        intact = None not in blocks
        return data[start - first * _BLOCK_BYTES : end - first * _BLOCK_BYTES] if intact else None

    def _read_block(self, number: int) -> bytes | None:
        self.file.seek(number * _BLOCK_BYTES)
        data = self.file.read(min(_BLOCK_BYTES, self.info.size - number * _BLOCK_BYTES))
        return data if zlib.crc32(data) == self.sums[number] else None


def _parse_footer(file: BinaryIO, key: str) -> tuple[ObjectInfo, list[int]] | None:
    end = file.seek(0, 2)
    file.seek(max(0, end - 8))
    length = int.from_bytes(file.read(8), "big")
    if not 0 < length <= min(end - 8, _MAX_FOOTER_BYTES):
        return None
    size = end - 8 - length
    file.seek(size)
    footer = json.loads(file.read(length))
    sums = [int(crc) for crc in footer.pop("crcs")]
    if footer["key"] != key or footer["size"] != size or len(sums) != -(-size // _BLOCK_BYTES):
        return None
    attributes = Attributes(**footer.pop("attributes"))
    return ObjectInfo(**footer, attributes=attributes), sums


def encode_footer(info: ObjectInfo, sums: Sequence[int]) -> bytes:
    """Encode the footer of an entry with these checksums."""
    footer: dict[str, Any] = {
        name: getattr(info, name) for name in ("key", "size", "modified", "etag", "version", "md5")
    }
    attributes = asdict(replace(info.attributes, metadata={})) | {"metadata": dict(info.attributes.metadata)}
    data = json.dumps(footer | {"crcs": list(sums), "attributes": attributes}).encode()
    return data + len(data).to_bytes(8, "big")


class CachedReading:
    """An open read of an entry."""

    def __init__(self, entry: CacheEntry) -> None:
        self._file = entry.file
        self.info = entry.info

    def chunks(self) -> Iterator[bytes]:
        """See ``Reading``."""
        self._file.seek(0)
        remaining = self.info.size
        while remaining and (data := self._file.read(min(remaining, _CHUNK_BYTES))):
            remaining -= len(data)
            yield data
        if remaining:
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


class CachingReading(WrappedReading):
    """A read from the backend that also writes an entry, and stores it if it is read completely."""

    def __init__(
        self, inner: Reading, writer: EntryWriter, on_complete: Callable[[EntryWriter], None]
    ) -> None:
        super().__init__(inner, inner.info)
        self._writer = writer
        self._on_complete = on_complete

    def chunks(self) -> Iterator[bytes]:
        """See ``Reading``."""
        sums = BlockChecksums()
        for data in self._inner.chunks():
            sums.add(data)
            self._writer.write(data)
            yield data
        self._store_entry(sums)

    def read_all(self) -> bytes:
        """See ``Reading``."""
        data, sums = self._inner.read_all(), BlockChecksums()
        sums.add(data)
        self._writer.write(data)
        self._store_entry(sums)
        return data

    def _store_entry(self, sums: BlockChecksums) -> None:
        if sums.size == self.info.size:
            self._writer.write(encode_footer(self.info, sums.sums()))
            self._on_complete(self._writer)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.discard()
        super().__exit__(kind, error, trace)
