"""What people search the catalogue for: the filters of the Files page, the API and ``stowage files find``."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from dashboard.errors import InvalidInput
from dashboard.services.catalogue.file_kinds import FileKind

MAX_TEXT = 1024
MAX_SIZE = 2**63 - 1
"""The largest integer of SQLite."""
MAX_METADATA = 10
MAX_NUMBER = 32
"""Characters of a number."""
MIN_TIME, MAX_TIME = -62_135_596_800, 253_402_300_799
"""The years 1 and 9999, in seconds since the epoch."""

_CHECKSUM = re.compile(r"[0-9a-f]{64}|[0-9a-f]{32}")
_NO_METADATA: Mapping[str, str] = MappingProxyType({})


class Sort(StrEnum):
    """The order of what was found. By name means backend after backend, and by key within each."""

    NAME = "name"
    SIZE = "size"
    MODIFIED = "modified"
    """Files whose time is not known come last."""


@dataclass(frozen=True, slots=True)
class FileFilters:
    """All that are set must hold.

    ``name``: a part of the key; ASCII letters in either case. ``folder``: the beginning of the key. ``kind``:
    a value of ``FileKind``. ``content_type``: its beginning, such as ``image/``. Sizes in bytes, inclusive;
    times in seconds since the epoch: modified at or after, and before. ``max_age`` and ``min_age``: the same
    in seconds before the moment of the search, so that a saved one goes on meaning “the last 7 days”.
    ``checksum``: the SHA-256 or MD5 of the content in hexadecimal digits. ``metadata``: names and values
    among the details of a file.
    """

    backend: str = ""
    name: str = ""
    folder: str = ""
    kind: str = ""
    content_type: str = ""
    min_size: int | None = None
    max_size: int | None = None
    modified_after: float | None = None
    modified_before: float | None = None
    max_age: float | None = None
    min_age: float | None = None
    checksum: str = ""
    owner: str = ""
    metadata: Mapping[str, str] = field(default_factory=lambda: _NO_METADATA)

    def as_dict(self) -> dict[str, Any]:
        """Return those that are set, for :func:`parse_filters`."""
        shown = {each.name: getattr(self, each.name) for each in fields(self)}
        shown["metadata"] = dict(self.metadata)
        return {name: value for name, value in shown.items() if value not in ("", None, {})}

    @property
    def needs_catalogue(self) -> bool:
        """Whether no listing of a backend says what is searched for."""
        return bool(self.checksum or self.owner or self.metadata or self.content_type)


def parse_filters(given: Mapping[str, object]) -> FileFilters:
    """Return filters that a person or a program has sent; empty ones are not set. Numbers may be text. Raises
    ``InvalidInput`` naming the field."""
    unknown = given.keys() - _PARSERS.keys()
    if unknown:
        name = min(unknown)[:MAX_TEXT]
        raise InvalidInput(
            name, f"There is no filter “{name}”.", remedy=f"Choose from: {', '.join(_PARSERS)}."
        )
    values = {name: _PARSERS[name](name, value) for name, value in given.items() if value not in ("", None)}
    return FileFilters(**values)


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise InvalidInput(name, f"The filter “{name}” must be text.")
    if len(value) > MAX_TEXT:
        raise InvalidInput(name, f"The filter “{name}” is longer than {MAX_TEXT} characters.")
    if "\0" in value:
        raise InvalidInput(name, f"The filter “{name}” contains a character that no name has.")
    return value


def _unicode(name: str, value: object) -> str:
    text = _text(name, value)
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise InvalidInput(name, f"The filter “{name}” is not valid text.")
    return text


def _kind(name: str, value: object) -> str:
    if value not in list(FileKind):
        raise InvalidInput(
            name, "There is no such kind of file.", remedy=f"Choose from: {', '.join(FileKind)}."
        )
    return str(value)


def _checksum(name: str, value: object) -> str:
    digits = _text(name, value).strip().lower()
    if not _CHECKSUM.fullmatch(digits):
        raise InvalidInput(
            name,
            "This is no checksum.",
            remedy="Enter a SHA-256 of 64 or an MD5 of 32 hexadecimal digits.",
        )
    return digits


def _integer(name: str, value: object) -> int:
    text = str(value)
    if isinstance(value, bool) or not re.fullmatch(r"\d{1,19}", text, re.ASCII):
        raise InvalidInput(name, f"The filter “{name}” must be a whole number of bytes.")
    return min(int(text), MAX_SIZE)


def _time(name: str, value: object) -> float:
    text = str(value)
    try:
        seconds = float(text) if len(text) <= MAX_NUMBER else math.nan
    except ValueError:
        seconds = math.nan
    if isinstance(value, bool) or not MIN_TIME <= seconds <= MAX_TIME:
        raise InvalidInput(name, f"The filter “{name}” must be a time in seconds since 1970.")
    return seconds


def _age(name: str, value: object) -> float:
    seconds = _time(name, value)
    if seconds < 0:
        raise InvalidInput(name, f"The filter “{name}” must be a number of seconds before now.")
    return seconds


def _metadata(name: str, value: object) -> Mapping[str, str]:
    if not isinstance(value, Mapping):
        raise InvalidInput(name, "The filter “metadata” must be names with their values.")
    if len(value) > MAX_METADATA:
        raise InvalidInput(name, f"At most {MAX_METADATA} details can be searched for at a time.")
    return {_unicode(name, key): _unicode(name, each) for key, each in value.items()}


_PARSERS: Mapping[str, Callable[[str, object], Any]] = {
    "backend": _unicode,
    "name": _text,
    "folder": _text,
    "kind": _kind,
    "content_type": _unicode,
    "min_size": _integer,
    "max_size": _integer,
    "modified_after": _time,
    "modified_before": _time,
    "max_age": _age,
    "min_age": _age,
    "checksum": _checksum,
    "owner": _unicode,
    "metadata": _metadata,
}
