"""Parsing of what FTP servers report of files.

MLST facts: https://www.rfc-editor.org/rfc/rfc3659#section-7. LIST has no standard, and its times have no
known time zone, so they are ignored.
"""

from __future__ import annotations

import re
from calendar import timegm
from time import gmtime, strftime

from dashboard.storage.drivers.served.operations import FileStat

_UNIX = re.compile(
    rb"(?P<kind>[-dlbcpsD])[-rwxsStTlL]{9}[.+@]?\s+\d+\s+(?:\S+\s+){1,2}?(?P<size>\d{1,18})\s+"
    rb"(?:[A-Za-z]{3}\s+\d{1,2}|\d{1,2}\s+[A-Za-z]{3}|\d{4}-\d\d-\d\d)\s+(?:\d{1,2}:\d\d(?::\d\d)?|\d{4}) "
    rb"(?P<name>.+)",
    re.DOTALL,
)
_DOS = re.compile(
    rb"\d\d-\d\d-\d{2,4}\s+\d\d:\d\d(?:[AaPp][Mm])?\s+(?:(?P<folder><DIR>)(?: {10}|\s+)|(?P<size>\d{1,18})\s)"
    rb"(?P<name>.+)",
    re.DOTALL,
)
_SIZE = re.compile(r"[0-9]{1,18}")
_TIME = re.compile(r"(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\.\d+)?\Z")


def parse_time(text: str) -> float | None:
    """Parse ``YYYYMMDDHHMMSS[.sss]`` (UTC) into seconds since the epoch; None if it is not a time."""
    match = _TIME.match(text.strip())
    if match is None:
        return None
    *parts, fraction = match.groups()
    year, month, day, hour, minute, second = map(int, parts)
    if not (year and 1 <= month <= 12 and 1 <= day <= 31):
        return None
    return timegm((year, month, day, hour, minute, second)) + float(fraction or 0)


def format_time(modified: float) -> str:
    """Format seconds since the epoch as ``YYYYMMDDHHMMSS`` (UTC)."""
    return strftime("%Y%m%d%H%M%S", gmtime(modified))


def parse_facts(line: bytes) -> tuple[bytes, FileStat] | None:
    """Parse one line of MLSD or MLST into a name and its metadata; None without a type, or without the size
    of a file."""
    listed, space, name = line.partition(b" ")
    if not space:
        return None
    pairs = (fact.partition("=") for fact in listed.decode("latin-1").split(";") if fact)
    known = {key.lower(): value for key, _, value in pairs}
    kind = known.get("type", "").lower()
    size = parse_size(known.get("size", ""))
    if not kind or (kind == "file" and size is None):
        return None
    return name, FileStat(
        "file" if kind == "file" else "folder" if kind in ("dir", "cdir", "pdir") else "other",
        size or 0,
        parse_time(known.get("modify", "")),
        known.get("unique", ""),
    )


def parse_size(text: str) -> int | None:
    """Parse a size in bytes; None if it is not a number."""
    return int(text) if _SIZE.fullmatch(text) else None


def parse_list_line(line: bytes) -> tuple[bytes, FileStat] | None:
    """Parse one line of LIST, in the format of Unix or Windows, into a name and its metadata; None if it is
    neither."""
    if match := _UNIX.fullmatch(line):
        kind = match["kind"]
        what = (
            FileStat("file", int(match["size"]))
            if kind == b"-"
            else FileStat("folder" if kind == b"d" else "other")
        )
        return match["name"], what
    if match := _DOS.fullmatch(line):
        return match["name"], FileStat("folder") if match["folder"] else FileStat("file", int(match["size"]))
    return None
