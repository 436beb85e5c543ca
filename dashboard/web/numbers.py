"""Whole numbers out of addresses and forms, never larger than the database can hold."""

from __future__ import annotations

from collections.abc import Mapping

from flask import Flask
from werkzeug.routing import IntegerConverter

from dashboard.services.database import LARGEST_NUMBER

_DIGITS = len(str(LARGEST_NUMBER))


class StorableInteger(IntegerConverter):
    """``<int:id>``: a number that no row can have is an address that does not exist."""

    regex = f"[0-9]{{1,{_DIGITS}}}"

    def __init__(self, *arguments: object, **options: object) -> None:
        super().__init__(*arguments, **{"max": LARGEST_NUMBER, **options})  # type: ignore[arg-type]


def install(app: Flask) -> None:
    """Bound every number in a path. Called before the first route is registered."""
    app.url_map.converters["int"] = StorableInteger


def whole(values: Mapping[str, str], name: str) -> int | None:
    """A field as a number from 0 to the largest there is; None when it is missing or no such number."""
    text = values.get(name, "")
    if not (text.isascii() and text.isdigit()):
        return None
    return int(text) if len(text) < _DIGITS else LARGEST_NUMBER
