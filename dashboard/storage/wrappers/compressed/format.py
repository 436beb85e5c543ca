"""The stored format of compressed objects. Numbers are big-endian unless stated otherwise.

::

    5A 2A 4D 18 | 24, 4 bytes little-endian | "stowage" 01 | mode, 1 | size of the content, 15
    the content: as a zstd frame (mode 1), or as it is (mode 0)
    5A 2A 4D 18 | 8, 4 bytes little-endian | "stow-end"

Header and end are skippable frames (RFC 8878, 3.1.2), so that any zstd program unpacks the whole of mode
1. The size of content stored as it is may be unknown when the head is written; it then follows from the
stored size.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

_SKIPPABLE = b"\x5a\x2a\x4d\x18"
_MAGIC = _SKIPPABLE + (24).to_bytes(4, "little") + b"stowage\x01"
HEADER_BYTES = 32
END = _SKIPPABLE + (8).to_bytes(4, "little") + b"stow-end"
_UNKNOWN_SIZE = 2**120 - 1
_MAX_SIZE = 2**62


@dataclass(frozen=True, slots=True)
class Header:
    """Precedes the content. ``size``: of the content, None if it was not known."""

    compressed: bool
    size: int | None

    def encode(self) -> bytes:
        """Encode for storage."""
        size = _UNKNOWN_SIZE if self.size is None else self.size
        return _MAGIC + bytes([self.compressed]) + size.to_bytes(15, "big")

    @classmethod
    def parse(cls, data: bytes) -> Self | None:
        """Return None if this is not a header: then another program stored the object."""
        if len(data) != HEADER_BYTES or not data.startswith(_MAGIC):
            return None
        size = int.from_bytes(data[17:], "big")
        return cls(data[16] != 0, size if size <= _MAX_SIZE else None)

    def content_size(self, stored: int) -> int:
        """Return the size of the content of an object with this stored size."""
        return max(0, stored - HEADER_BYTES - len(END)) if self.size is None else self.size


def strip_end(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the chunks without the end mark. Raises ``ValueError`` at the end if it is missing."""
    buffer = b""
    for chunk in chunks:
        buffer += chunk
        if len(buffer) > len(END):
            yield buffer[: -len(END)]
            buffer = buffer[-len(END) :]
    if buffer != END:
        raise ValueError("no end")


def exactly(chunks: Iterator[bytes], size: int) -> Iterator[bytes]:
    """Yield the chunks. Raises ``ValueError`` at the end if they are not ``size`` bytes."""
    done = 0
    for chunk in chunks:
        done += len(chunk)
        yield chunk
    if done != size:
        raise ValueError("another size")
