"""Paging: every list of the API has ``limit`` and ``cursor``, and returns ``next_cursor``, null at its end.

A cursor is opaque to programs. It says where the next page begins and reveals nothing else, so it is not
signed; one that is changed leads to another position of the same list, or is refused.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from dashboard.errors import InvalidInput
from dashboard.services.database import MAX_INTEGER
from dashboard.web.api.schemas import Field

MAX_CURSOR = 8192
MAX_PAGE = 200


@dataclass(frozen=True, slots=True)
class Page:
    """The query parameters of every list."""

    limit: Annotated[int, Field("How many at most.", minimum=1, maximum=MAX_PAGE)] = 50
    cursor: Annotated[str, Field("``next_cursor`` of the page before.", maximum_length=MAX_CURSOR)] = ""


def encode(kind: str, *position: str | int) -> str:
    """A cursor of the list ``kind`` for this position."""
    packed = json.dumps([kind, *position], separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(packed).rstrip(b"=").decode()


def decode(cursor: str, kind: str, *types: type) -> tuple[Any, ...] | None:
    """The position that :func:`encode` was given, or None for the first page.

    Raises ``InvalidInput`` unless it is a cursor of this list with a position of these types; numbers are
    neither negative nor larger than the database can store.
    """
    if not cursor:
        return None
    try:
        packed = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        found = json.loads(packed)
    except (binascii.Error, ValueError, RecursionError):
        raise _cursor_error() from None
    if not isinstance(found, list) or len(found) != len(types) + 1 or found[0] != kind:
        raise _cursor_error()
    position = tuple(found[1:])
    if not all(_fits(value, expected) for value, expected in zip(position, types, strict=True)):
        raise _cursor_error()
    return position


def page_of(rows: Sequence[Any], limit: int) -> tuple[Sequence[Any], bool]:
    """The rows of a page, and whether there are more: ask the service for ``limit + 1``."""
    return rows[:limit], len(rows) > limit


def _fits(value: object, expected: type) -> bool:
    if expected is int:
        return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_INTEGER
    try:
        return isinstance(value, str) and value.encode() is not None
    except UnicodeEncodeError:
        return False


def _cursor_error() -> InvalidInput:
    return InvalidInput("cursor", "This is not a cursor of this list.", remedy="Start again without one.")
