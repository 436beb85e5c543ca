"""Conditional and range requests, to the letter of RFC 9110, sections 8.8, 13 and 14. Pure.

Header values come from clients: each is bounded, nothing in them raises, and what is malformed is ignored
where the RFC says so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import Protocol

MAX_HEADER_LENGTH = 8192
"""Characters of a header that are read; a longer one counts as malformed."""
_MAX_OFFSET = 2**62
_ENTITY_TAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
_RANGE = re.compile(r"bytes[ \t]*=(.*)", re.IGNORECASE | re.ASCII)
_SPAN = re.compile(r"([0-9]*)-([0-9]*)", re.ASCII)
_MONTH = "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_CLOCK = "[0-9]{2}:[0-9]{2}:[0-9]{2}"
_DATE = re.compile(
    rf"[A-Z][a-z]{{2}}, [0-9]{{2}} {_MONTH} [0-9]{{4}} {_CLOCK} GMT"
    rf"|[A-Z][a-z]{{5,8}}, [0-9]{{2}}-{_MONTH}-[0-9]{{2}} {_CLOCK} GMT"
    rf"|[A-Z][a-z]{{2}} {_MONTH} [0-9 ][0-9] {_CLOCK} [0-9]{{4}}"
)


class HeaderValues(Protocol):
    """The headers of a request."""

    def get(self, name: str, /) -> str | None:
        """Return a header's value whatever the case of its name, or None."""
        ...


@dataclass(frozen=True, slots=True)
class EntityTag:
    """An entity tag (RFC 9110, 8.8.3). ``value`` without quotes."""

    value: str
    weak: bool = False

    def __str__(self) -> str:
        return f'{"W/" if self.weak else ""}"{self.value}"'


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a request says about which bytes it wants, as its headers came; None where one is missing."""

    method: str = "GET"
    if_match: str | None = None
    if_none_match: str | None = None
    if_modified_since: str | None = None
    if_unmodified_since: str | None = None
    range: str | None = None
    if_range: str | None = None

    @classmethod
    def from_headers(cls, method: str, headers: HeaderValues) -> Conditions:
        """From the headers of a request."""
        return cls(
            method,
            headers.get("If-Match"),
            headers.get("If-None-Match"),
            headers.get("If-Modified-Since"),
            headers.get("If-Unmodified-Since"),
            headers.get("Range"),
            headers.get("If-Range"),
        )


class Outcome(Enum):
    """What a request gets, before any of the content is read."""

    COMPLETE = 200
    PART = 206
    NOT_MODIFIED = 304
    PRECONDITION_FAILED = 412
    BEYOND_THE_END = 416


@dataclass(frozen=True, slots=True)
class Decision:
    """The outcome, and which bytes are sent: ``length`` from ``start``."""

    outcome: Outcome
    start: int = 0
    length: int = 0


def decide(conditions: Conditions, tag: EntityTag | None, modified: float | None, size: int) -> Decision:
    """Evaluate in the order of RFC 9110, 13.2.2, for an existing representation of ``size`` bytes.
    ``modified`` in epoch seconds."""
    if not _may_proceed(conditions, tag, modified):
        return Decision(Outcome.PRECONDITION_FAILED)
    if _has_it_already(conditions, tag, modified):
        return Decision(Outcome.NOT_MODIFIED)
    whole = Decision(Outcome.COMPLETE, 0, size)
    if conditions.method != "GET" or conditions.range is None:
        # Range is defined for GET only (14.2).
        return whole
    if conditions.if_range is not None and not _same_for_range(conditions.if_range, tag):
        return whole
    return _range(conditions.range, size) or whole


def _may_proceed(conditions: Conditions, tag: EntityTag | None, modified: float | None) -> bool:
    """Steps 1 and 2: If-Match or, without it, If-Unmodified-Since."""
    if conditions.if_match is not None:
        return _any_matches(conditions.if_match, tag, strong=True)
    if conditions.if_unmodified_since is None or modified is None:
        return True
    since = parse_date(conditions.if_unmodified_since)
    return since is None or int(modified) <= since


def _has_it_already(conditions: Conditions, tag: EntityTag | None, modified: float | None) -> bool:
    """Steps 3 and 4: If-None-Match or, without it, If-Modified-Since."""
    if conditions.if_none_match is not None:
        return _any_matches(conditions.if_none_match, tag, strong=False)
    if conditions.if_modified_since is None or modified is None:
        return False
    since = parse_date(conditions.if_modified_since)
    return since is not None and int(modified) <= since


def parse_date(text: str) -> float | None:
    """Return an HTTP date in any of its three forms (RFC 9110, 5.6.7) in epoch seconds, or None."""
    if not _DATE.fullmatch(text := text[:64].strip(" \t")):
        return None
    try:
        return parsedate_to_datetime(text).replace(tzinfo=UTC).timestamp()
    except (ValueError, OverflowError):
        return None


def _any_matches(header: str, tag: EntityTag | None, *, strong: bool) -> bool:
    """Whether a list of entity tags holds this one, by strong or weak comparison (8.8.3.2). ``*`` matches any
    existing representation."""
    if header.strip(" \t") == "*":
        return True
    if tag is None or len(header) > MAX_HEADER_LENGTH or (strong and tag.weak):
        return False
    position, found = 0, False
    while position < len(header):
        if header[position] in " \t,":
            position += 1
            continue
        match = _ENTITY_TAG.match(header, position)
        if match is None or header[match.end() : match.end() + 1] not in ("", ",", " ", "\t"):
            return False
        found = found or (match[2] == tag.value and not (strong and match[1]))
        position = match.end()
    return found


def _same_for_range(header: str, tag: EntityTag | None) -> bool:
    """Evaluate ``If-Range`` (13.1.5). A date never matches: that a file did not change twice within its
    second is not known, so it is no strong validator."""
    match = _ENTITY_TAG.fullmatch(header.strip(" \t")) if len(header) <= MAX_HEADER_LENGTH else None
    return match is not None and tag is not None and not (match[1] or tag.weak) and match[2] == tag.value


def _range(header: str, size: int) -> Decision | None:
    """Return the part for a ``Range`` header, or None if it is to be ignored: another unit, malformed, or
    more than one range (14.2 allows that for every range)."""
    match = _RANGE.fullmatch(header.strip(" \t")) if len(header) <= MAX_HEADER_LENGTH else None
    spans = [part for each in match[1].split(",") if (part := each.strip(" \t"))] if match else []
    span = _SPAN.fullmatch(spans[0]) if len(spans) == 1 else None
    if span is None:
        return None
    first, last = span.groups()
    if not first:
        return _suffix(last, size)
    start, end = _offset(first), _offset(last) if last else _MAX_OFFSET
    if _longer(first, last):
        return None
    if start >= size:
        return Decision(Outcome.BEYOND_THE_END)
    return Decision(Outcome.PART, start, min(end, size - 1) - start + 1)


def _suffix(digits: str, size: int) -> Decision | None:
    if not digits:
        return None
    length = _offset(digits)
    if not length:
        return Decision(Outcome.BEYOND_THE_END)
    if not size:
        # Satisfiable (14.1.2), but no Content-Range could say which bytes these are.
        return None
    return Decision(Outcome.PART, max(0, size - length), min(length, size))


def _offset(digits: str) -> int:
    """The number, capped: it may have thousands of digits."""
    digits = digits.lstrip("0")
    return min(int(digits), _MAX_OFFSET) if 0 < len(digits) < 20 else _MAX_OFFSET if digits else 0


def _longer(first: str, last: str) -> bool:
    """Whether the first number is the larger one, however many digits they have."""
    one, other = first.lstrip("0"), last.lstrip("0")
    return bool(last) and (len(one), one) > (len(other), other)
