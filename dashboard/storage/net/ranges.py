"""Ranges of objects: which may be requested, and what a response really contains (RFC 9110, section 14).

A server may send the range (206), ignore the header and send the complete object (200), or respond that the
object ends before the range begins (416). A 206 is trusted only if its ``Content-Range`` matches the request.
Some servers send a range with status 200 and a ``Content-Range`` (``rclone serve s3``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from dashboard.errors import InvalidInput, Kind
from dashboard.storage.errors import Changed, Damaged, StorageError
from dashboard.storage.net.parsing import join_chunks
from dashboard.storage.types import ObjectInfo

_MAX_OFFSET = 2**62
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19}|\*)\Z")


class RangeNotSatisfiable(StorageError):
    """The object ends before the range begins (status 416). Drivers return no bytes for it; if it escapes,
    the object was longer a moment ago."""

    def __init__(self, key: str) -> None:
        super().__init__(
            Kind.CHANGED, f"“{key}” changed while it was being read.", operation="read", subject=key
        )


def check_range(start: int, length: int) -> None:
    """Raise ``InvalidInput`` if a range has a negative start or length, or one beyond any object."""
    for field, value in (("start", start), ("length", length)):
        if not 0 <= value <= _MAX_OFFSET:
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
    ``span`` is the start and the length. Returns no bytes only if ``stat`` confirms that there are none."""
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
    status: int, headers: Mapping[str, str], chunks: Iterator[bytes], *, key: str, start: int, length: int
) -> bytes:
    """Return the requested bytes from a response 200 or 206 whose header names are lowercase.

    Reads a 206 to its end, so that the connection can be reused. Reads a 200 only up to the end of the range;
    the caller closes the connection. Raises ``Damaged`` for another range than the requested one, and for a
    body of another length than announced.
    """
    content_range = headers.get("content-range", "")
    if status == 206 or (content_range and not _is_complete(content_range)):
        promised = _promised_length(content_range, key, start, length)
        return check_length(key, join_chunks(_bounded(promised, chunks)), promised)
    total = headers.get("content-length", "")
    if not total.isdecimal():
        # Without a length, a complete response and a truncated one look alike.
        raise Damaged(key, f"The server did not say how long “{key}” is.")
    return check_length(key, slice_chunks(chunks, start, length), max(0, min(int(total) - start, length)))


def _bounded(promised: int, chunks: Iterator[bytes]) -> Iterator[bytes]:
    for chunk in chunks:
        yield chunk
        promised -= len(chunk)
        if promised < 0:
            return


def slice_chunks(chunks: Iterator[bytes], start: int, length: int) -> bytes:
    """Return ``length`` bytes from ``start``, fewer only if the chunks end. Consumes no chunk it does not
    need."""
    if not length:
        return b""
    found = bytearray()
    for chunk in chunks:
        found += memoryview(chunk)[start : start + length - len(found)]
        start = max(0, start - len(chunk))
        if len(found) == length:
            break
    return bytes(found)


def check_length(key: str, data: bytes, expected: int) -> bytes:
    """Return the data. Raises ``Damaged`` if it is not ``expected`` bytes long."""
    if len(data) != expected:
        raise Damaged(key, f"Of “{key}” {expected:,} bytes were promised, but {len(data):,} arrived.")
    return data


def _is_complete(content_range: str) -> bool:
    """Whether this range is the complete object."""
    found = _CONTENT_RANGE.match(content_range)
    return found is not None and int(found[1]) == 0 and found[3] == str(int(found[2]) + 1)


def _promised_length(content_range: str, key: str, start: int, length: int) -> int:
    """The number of bytes that a 206 promises: the requested range, or up to the end of the object. Raises
    ``Damaged`` for any other range."""
    found = _CONTENT_RANGE.match(content_range)
    if found is not None:
        first, last, total = int(found[1]), int(found[2]), found[3]
        reaches_end = total == "*" or last == int(total) - 1
        if first == start <= last and (last == start + length - 1 or (last < start + length and reaches_end)):
            return last - start + 1
    raise Damaged(key, f"The server sent another part of “{key}” than was requested.")
