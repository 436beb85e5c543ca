"""Integers in URLs and forms, limited to what the database can store."""

from __future__ import annotations

from collections.abc import Mapping

from flask import Flask
from werkzeug.routing import IntegerConverter

from dashboard.services.database import MAX_INTEGER

_DIGITS = len(str(MAX_INTEGER))


class StorableInteger(IntegerConverter):
    """``<int:id>``: a number too large for any row is simply not found."""

    regex = f"[0-9]{{1,{_DIGITS}}}"

    def __init__(self, *arguments: object, **options: object) -> None:
        super().__init__(*arguments, **{"max": MAX_INTEGER, **options})  # type: ignore[arg-type]


def install(app: Flask) -> None:
    """Limit every number in a path. Called before the first route is registered."""
    app.url_map.converters["int"] = StorableInteger


def parse_integer(values: Mapping[str, str], name: str) -> int | None:
    """Parse a non-negative integer, capped at ``MAX_INTEGER``; None if it is missing or invalid."""
    text = values.get(name, "")
    if not (text.isascii() and text.isdigit()):
        return None
    return int(text) if len(text) < _DIGITS else MAX_INTEGER
