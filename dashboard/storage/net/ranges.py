"""Parts of objects: what may be asked for, and what an HTTP answer to it really holds (RFC 9110, 14).

A server may send the part (206), may ignore the question and send everything (200), or may say that the
object ends before the part begins (416). Only the first is trusted, and only when it says what it holds.
Some call a part 200 and give its ``Content-Range`` all the same (``rclone serve s3``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from dashboard.errors import InvalidInput, Kind
from dashboard.storage.errors import Changed, Damaged, StorageError
from dashboard.storage.net.parsing import join_chunks
from dashboard.storage.types import ObjectInfo

_LARGEST = 2**62
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19}|\*)\Z")


class RangeNotSatisfiable(StorageError):
    """A server says that the object ends before the part begins. Drivers turn it into no bytes; where it
    escapes, the object was longer a moment ago."""

    def __init__(self, key: str) -> None:
        super().__init__(
            Kind.CHANGED, f"“{key}” changed while it was being read.", operation="read", subject=key
        )


def check_range(start: int, length: int) -> None:
    """Raise ``InvalidInput`` for a part that begins or extends before the object, or beyond any."""
    for field, value in (("start", start), ("length", length)):
        if not 0 <= value <= _LARGEST:
            raise InvalidInput(field, f"A part of an object cannot have the {field} {value}.")


def range_header(start: int, length: int) -> dict[str, str]:
    """The request header for ``length`` bytes from ``start``; ``length`` is not zero."""
    return {"range": f"bytes={start}-{start + length - 1}"}


def read_part(
    stat: Callable[[str], ObjectInfo],
    part: Callable[[str, int, int, str | None], bytes],
    key: str,
    span: tuple[int, int],
    if_version: str | None,
) -> bytes:
    """See ``ReadsRanges.read_range``, for a driver whose ``part`` raises :class:`RangeNotSatisfiable`.
    ``span`` is the start and the length. Returns no bytes only once ``stat`` has confirmed that."""
    start, length = span
    check_range(start, length)
    beyond = False
    if length:
        try:
            return part(key, start, length, if_version)
        except RangeNotSatisfiable:
            beyond = True
    info = stat(key)
    if if_version is not None and info.version != if_version:
        raise Changed(key)
    if beyond and start < info.size:
        raise RangeNotSatisfiable(key)
    return b""


def range_from_response(
    status: int, headers: Mapping[str, str], pieces: Iterator[bytes], *, key: str, start: int, length: int
) -> bytes:
    """The asked-for bytes out of an answer 200 or 206 whose header names are in small letters.

    A part is read to its end, so the connection may serve again. Of an answer with everything, what stands
    before ``start`` is passed over and reading ends after ``length`` bytes; the caller drops the connection.
    Raises ``Damaged`` for another part than was asked for, and for a body that is not as long as it says.
    """
    told = headers.get("content-range", "")
    if status == 206 or (told and not _everything(told)):
        promised = _told(told, key, start, length)
        return check_length(key, join_chunks(_no_more_than(promised, pieces)), promised)
    total = headers.get("content-length", "")
    if not total.isdecimal():
        # Without a length nobody can tell a whole answer from one that was cut short.
        raise Damaged(key, f"The server did not say how long “{key}” is.")
    return check_length(key, slice_chunks(pieces, start, length), max(0, min(int(total) - start, length)))


def _no_more_than(promised: int, pieces: Iterator[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        yield piece
        promised -= len(piece)
        if promised < 0:
            return


def slice_chunks(pieces: Iterator[bytes], start: int, length: int) -> bytes:
    """``length`` bytes from ``start``, fewer only where the pieces end; none is taken that is not needed."""
    if not length:
        return b""
    found = bytearray()
    for piece in pieces:
        found += memoryview(piece)[start : start + length - len(found)]
        start = max(0, start - len(piece))
        if len(found) == length:
            break
    return bytes(found)


def check_length(key: str, data: bytes, expected: int) -> bytes:
    """The data, unless it is not ``expected`` bytes long: then ``Damaged``."""
    if len(data) != expected:
        raise Damaged(key, f"Of “{key}” {expected:,} bytes were promised, but {len(data):,} arrived.")
    return data


def _everything(content_range: str) -> bool:
    """Whether this is the range of an object from its first byte to its last."""
    found = _CONTENT_RANGE.match(content_range)
    return found is not None and int(found[1]) == 0 and found[3] == str(int(found[2]) + 1)


def _told(content_range: str, key: str, start: int, length: int) -> int:
    """How many bytes a 206 promises: all of the part, or up to the end of the object."""
    found = _CONTENT_RANGE.match(content_range)
    if found is not None:
        first, last, total = int(found[1]), int(found[2]), found[3]
        reaches_end = total == "*" or last == int(total) - 1
        if first == start <= last and (last == start + length - 1 or (last < start + length and reaches_end)):
            return last - start + 1
    raise Damaged(key, f"The server sent another part of “{key}” than it was asked for.")
