"""Cursors of pages of a folder: where the next page begins, as text for addresses and the API.

A cursor says only where to go on. It grants nothing: anyone who sends one is checked as for the first page.
"""

from __future__ import annotations

import base64
import json
import math
from dataclasses import dataclass

from dashboard.errors import InvalidInput, StowageError
from dashboard.storage.paths import key_bytes

_MAX_CHARACTERS = 16_000


@dataclass(frozen=True, slots=True)
class Position:
    """Where a page begins: at a position of the backend's own listing, or after an entry of a folder that is
    sorted here (0 for a folder, what it is sorted by, its key). Neither: at the beginning."""

    listing: str = ""
    after: tuple[int, float, str] | None = None


def write_cursor(position: Position) -> str:
    """Return the cursor of a position."""
    document = {"l": position.listing} if position.listing else {"a": position.after}
    text = json.dumps(document, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read_cursor(text: str) -> Position:
    """Return the position of a cursor. Raises ``InvalidInput`` for anything that is none."""
    if not text:
        return Position()
    try:
        if len(text) > _MAX_CHARACTERS or not text.isascii():
            raise ValueError
        document = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        if document.keys() == {"l"} and isinstance(document["l"], str) and document["l"]:
            return Position(listing=document["l"])
        group, value, key = document["a"]
        if not (group in (0, 1) and isinstance(value, float) and math.isfinite(value)):
            raise ValueError
        key_bytes(key)
        return Position(after=(int(group), value, key))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, StowageError) as error:
        raise InvalidInput(
            "cursor", "This is not a cursor of a page.", remedy="Begin at the first page again."
        ) from error
