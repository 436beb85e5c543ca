"""A zip made while it is sent, whose length is known before: files are stored as they are, not compressed.

The standard library writes it; each file's checksum follows the file (APPNOTE 4.3.9). Sizes and offsets take
64 bits only from 2 GiB on, because some programs that could read the rest stop at them.
"""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from dashboard.storage.errors import Damaged

LIMIT = (1 << 31) - 1
"""Of what 32 bits are used for; the standard library has the same."""
MAX_COUNT = (1 << 16) - 1

PIECE = 256 * 1024
"""Bytes that are yielded at once, or more: small files and their headers together."""

_LOCAL_HEADER, _LOCAL_EXTRA = 30, 20
_DESCRIPTOR, _LARGE_DESCRIPTOR = 16, 24
_CENTRAL_HEADER, _EXTRA_HEADER, _EXTRA_FIELD = 46, 4, 8
_END, _LARGE_END = 22, 56 + 20
_FIRST, _LAST = (1980, 1, 1, 0, 0, 0), (2107, 12, 31, 23, 59, 58)


@dataclass(frozen=True, slots=True)
class ZipEntry:
    """A file in the zip: its name there, its size in bytes, and when it was changed."""

    name: str
    size: int
    modified: float | None = None


def zip_length(entries: Iterable[ZipEntry]) -> int:
    """Return the exact length in bytes of the zip with these files, in this order."""
    offset = directory = count = 0
    for entry in entries:
        name, is_large = len(entry.name.encode()), entry.size > LIMIT
        fields = 2 * is_large + (offset > LIMIT)
        directory += _CENTRAL_HEADER + name + (_EXTRA_HEADER + _EXTRA_FIELD * fields if fields else 0)
        offset += _LOCAL_HEADER + name + entry.size
        offset += _LOCAL_EXTRA + _LARGE_DESCRIPTOR if is_large else _DESCRIPTOR
        count += 1
    needs_large_end = count > MAX_COUNT or offset > LIMIT or directory > LIMIT
    return offset + directory + _END + _LARGE_END * needs_large_end


class _Sink(io.RawIOBase):
    """Keeps what is written until it is taken. Cannot be sought, as the connection behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.size = 0
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: bytes, /) -> int:  # type: ignore[override]
        self._pieces.append(bytes(data))
        self.size += len(data)
        return len(data)

    def take(self) -> bytes:
        pieces, self._pieces, self.size = self._pieces, [], 0
        return b"".join(pieces)


def zip_chunks(files: Iterable[tuple[ZipEntry, Iterable[bytes]]]) -> Iterator[bytes]:
    """Yield the zip. Each file's content is taken when its turn comes.

    Raises ``Damaged`` at once if a content has another length than its entry says, and whatever the contents
    raise: what was yielded until then ends without a directory, so no program takes it for a complete zip.
    """
    sink = _Sink()
    archive = zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED, strict_timestamps=False)
    for entry, content in files:
        info = zipfile.ZipInfo(entry.name, _date(entry.modified))
        info.create_system, info.external_attr = 3, 0o100644 << 16
        left = entry.size
        writing = archive.open(info, "w", force_zip64=entry.size > LIMIT)
        for chunk in content:
            left -= len(chunk)
            if left < 0:
                break
            writing.write(chunk)
            if sink.size >= PIECE:
                yield sink.take()
        if left:
            raise Damaged(entry.name, f"“{entry.name}” changed its size while it was read.")
        writing.close()
        if sink.size >= PIECE:
            yield sink.take()
    archive.close()
    yield sink.take()


def _date(modified: float | None) -> tuple[int, int, int, int, int, int]:
    """A time in UTC, as far as a zip can hold it."""
    try:
        date = time.gmtime(modified)[:6] if modified is not None else _FIRST
    except (ValueError, OverflowError, OSError):
        return _FIRST
    return min(max(date, _FIRST), _LAST)
