"""What a ZIP archive declares in its directory, read within limits and without unpacking anything."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO

from dashboard.media.sizes import GB

_END = struct.Struct("<4s4H2LH")
_ENTRY = struct.Struct("<4s4B4HL2L5H2L")
_END64_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_MAX_COMMENT = 65_535
_MAX_DIRECTORY = 16 * 1024 * 1024
"""Bytes of the directory that are read: about 200,000 members."""
_MAX_NAMES = 1000
_SUSPICIOUS_SIZE = GB
_SUSPICIOUS_RATIO = 200


@dataclass(frozen=True, slots=True)
class Members:
    """``names``: the first 1,000. ``packed`` and ``unpacked``: bytes of all members together, as declared.
    ``overlapping``: members share the same bytes, or the directory is too large to have been read.
    ``encrypted``: some cannot be read without a password."""

    names: tuple[str, ...]
    packed: int
    unpacked: int
    overlapping: bool
    encrypted: bool

    @property
    def is_bomb(self) -> bool:
        """Whether unpacking it would fill a disk: more than 1 GB from less than 1/200 of that, or members
        that overlap."""
        ratio = self.unpacked / max(1, self.packed)
        return self.overlapping or (self.unpacked > _SUSPICIOUS_SIZE and ratio > _SUSPICIOUS_RATIO)


def end_of_archive(content: BinaryIO) -> tuple[int, int] | None:
    """Return the position and the length of the directory if the file ends as a ZIP archive does, else None.

    This is what programs for archives look for, whatever the file begins with.
    """
    size = content.seek(0, 2)
    start = max(0, size - _END.size - _MAX_COMMENT)
    content.seek(start)
    tail = content.read(size - start)
    at = tail.rfind(b"PK\x05\x06")
    while at >= 0:
        if len(tail) - at >= _END.size:
            end = _END.unpack_from(tail, at)
            length, where, comment = end[5], end[6], end[7]
            if 0xFFFFFFFF in (length, where):
                found = _end64(content, start + at)
                if found is not None:
                    return found
            elif start + at - length >= 0 and at + _END.size + comment <= len(tail):
                # Counted from the end, because bytes before the archive move what it says of itself.
                return start + at - length, length
        at = tail.rfind(b"PK\x05\x06", 0, at)
    return None


def _end64(content: BinaryIO, end: int) -> tuple[int, int] | None:
    if end < _END64_LOCATOR.size + _END64.size:
        return None
    content.seek(end - _END64_LOCATOR.size - _END64.size)
    record = content.read(_END64.size)
    values = _END64.unpack(record)
    if values[0] != b"PK\x06\x06":
        return None
    start = end - _END64_LOCATOR.size - _END64.size - values[8]
    return (start, values[8]) if start >= 0 else None


def read_members(content: BinaryIO) -> Members | None:
    """Return what the directory declares, or None if the file has no readable one."""
    found = end_of_archive(content)
    if found is None:
        return None
    where, length = found
    content.seek(where)
    directory = content.read(min(length, _MAX_DIRECTORY))
    names: list[str] = []
    spans: list[tuple[int, int]] = []
    unpacked = at = 0
    encrypted = False
    while at + _ENTRY.size <= len(directory):
        entry = _ENTRY.unpack_from(directory, at)
        if entry[0] != b"PK\x01\x02":
            break
        stored, expanded, (name, extra, comment) = entry[10], entry[11], entry[12:15]
        begins = entry[18]
        encrypted = encrypted or bool(entry[5] & 1)
        at += _ENTRY.size
        raw_name = directory[at : at + name]
        if 0xFFFFFFFF in (stored, expanded, begins):
            fields = _zip64(directory[at + name : at + name + extra])
            expanded, stored, begins = (
                fields.pop(0) if value == 0xFFFFFFFF and fields else value
                for value in (expanded, stored, begins)
            )
        if len(names) < _MAX_NAMES:
            names.append(raw_name.decode("utf-8", "replace"))
        at += name + extra + comment
        unpacked += expanded
        spans.append((begins, begins + stored))
    if not spans and length:
        return None
    return Members(
        tuple(names),
        sum(end - begin for begin, end in spans),
        unpacked,
        _overlap(spans) or length > len(directory),
        encrypted,
    )


def _zip64(extra: bytes) -> list[int]:
    """The numbers of the ZIP64 field: unpacked size, packed size, position; those that did not fit."""
    at = 0
    while at + 4 <= len(extra):
        tag, length = struct.unpack_from("<2H", extra, at)
        if tag == 1:
            body = extra[at + 4 : at + 4 + length]
            return [value for (value,) in struct.iter_unpack("<Q", body[: len(body) // 8 * 8])]
        at += 4 + length
    return []


def _overlap(spans: list[tuple[int, int]]) -> bool:
    """Whether two members use the same bytes. Each has a header of 30 bytes before its own."""
    end = -1
    for begin, stop in sorted(spans):
        if begin < end:
            return True
        end = stop + 30
    return False
