"""What a sentence of the audit log is made of, and the table of the functions that make them.

One function for each action. It gets the row and returns what comes after the person who did it; pages turn
the parts into links, the command line and exports join their texts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from dashboard.media.sizes import format_size
from dashboard.services.auditing.audit_rows import AuditRow

ARROW = " → "
BEFORE = "before."
"""Prefix of the field that holds the value before a change."""
_NOTHING = frozenset({"", "no", "none", "null", "false", "[]", "{}", "()", '""'})
_HIDDEN = "***"
_NAMES = {
    "url": "URL",
    "ttl": "TTL",
    "tls": "TLS",
    "cdn": "CDN",
    "id": "ID",
    "ca": "CA",
    "ip": "IP",
    "sha256": "SHA-256",
    "api": "API",
    "kms": "KMS",
    "sas": "SAS",
}


class PartKind(StrEnum):
    """What a part of a sentence names."""

    PLAIN = ""
    PERSON = "person"
    BACKEND = "backend"
    MIGRATION = "migration"
    FILE = "file"
    FOLDER = "folder"
    NAME = "name"


class Part(NamedTuple):
    """A piece of a sentence. ``target``: backend's name; migration's number; backend and key of a file."""

    text: str
    kind: PartKind = PartKind.PLAIN
    target: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ChangedValue:
    """A value before and after. Either may be empty; of a secret, ``new`` only says that it was replaced."""

    label: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Sentence:
    """What a row says. ``facts`` are shown when the row is opened."""

    parts: tuple[Part, ...]
    changes: tuple[ChangedValue, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()

    @property
    def text(self) -> str:
        """The sentence as plain text."""
        return "".join(part.text for part in self.parts)


@dataclass(frozen=True, slots=True)
class Telling:
    """What a function of the table returns: the words after the actor's name, or with ``whole`` the whole
    sentence. ``used``: fields of the detail that need not be told again."""

    parts: tuple[Part, ...]
    used: frozenset[str] = frozenset()
    changes: tuple[ChangedValue, ...] = ()
    whole: bool = False


Teller = Callable[[AuditRow], Telling]
TELLERS: dict[str, Teller] = {}
"""By action."""


def tells(action: str) -> Callable[[Teller], Teller]:
    """Make a function the one that words an action."""

    def mark(teller: Teller) -> Teller:
        if action in TELLERS:
            raise ValueError(f"two functions word {action}")
        TELLERS[action] = teller
        return teller

    return mark


def telling(
    *parts: str | Part,
    used: tuple[str, ...] = (),
    changes: tuple[ChangedValue, ...] = (),
    whole: bool = False,
) -> Telling:
    """Words and things, in their order."""
    found = tuple(Part(part) if isinstance(part, str) else part for part in parts)
    return Telling(found, frozenset(used), changes, whole)


def backend(name: str) -> Part:
    """A backend."""
    return Part(name, PartKind.BACKEND, (name,))


def named(text: str) -> Part:
    """A thing without a page of its own."""
    return Part(text, PartKind.NAME)


def person(name: str) -> Part:
    """Somebody."""
    return Part(name, PartKind.PERSON)


def file_of(row: AuditRow) -> Part:
    """The file of a row whose subject is “backend: key”."""
    name, _, key = row.subject.partition(": ")
    return Part(f"{name}/{key}", PartKind.FILE, (name, key)) if key else named(row.subject)


def folder_of(row: AuditRow) -> Part:
    """The folder of a row whose subject is “backend: prefix/”."""
    name, _, prefix = row.subject.partition(": ")
    return Part(f"{name}/{prefix}", PartKind.FOLDER, (name, prefix)) if prefix else named(row.subject)


def file_at(name: str, key: str) -> Part:
    """A file by its backend and key."""
    return Part(f"{name}/{key}" if name else key, PartKind.FILE if name else PartKind.NAME, (name, key))


def number_of(row: AuditRow, field: str) -> int:
    """A number in the detail; 0 if there is none."""
    text = row.detail.get(field, "")
    return int(text) if text.isdecimal() and len(text) < 19 else 0


def counted(number: int, one: str, many: str = "") -> str:
    """``1 file``, ``1,204 files``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def size_of(row: AuditRow, field: str) -> str:
    """A number of bytes in the detail, as text."""
    return format_size(number_of(row, field))


def label(name: str) -> str:
    """A field's name as people write it."""
    words = name.removeprefix("option.").replace("_", " ").replace("-", " ").split()
    text = " ".join(_NAMES.get(word.lower(), word) for word in words)
    return text[:1].upper() + text[1:]


def changed(detail: Mapping[str, str], *names: str, prefix: str = "") -> tuple[ChangedValue, ...]:
    """The changed values among these fields, or those with this prefix; only those that did change."""
    chosen = names or tuple(
        name for name in detail if name.startswith(prefix) and not name.startswith(BEFORE)
    )
    found = []
    for name in chosen:
        if name not in detail:
            continue
        old, new = detail.get(BEFORE + name), detail[name]
        if old is None and ARROW in new:
            # As rows of earlier versions say it.
            old, _, new = new.partition(ARROW)
        old, new = (shown(old or ""), shown(new))
        if new == _HIDDEN:
            old, new = "", "replaced"
        if old != new:
            found.append(ChangedValue(label(name), old, new or "removed"))
    return tuple(found)


def shown(value: str) -> str:
    """A stored value as people read it."""
    return {"True": "on", "False": "off", "true": "on", "false": "off", "None": "", "null": ""}.get(
        value, value
    )


def facts(row: AuditRow, used: frozenset[str]) -> tuple[tuple[str, str], ...]:
    """What else the detail says, without what says nothing."""
    return tuple(
        (label(name), shown(value))
        for name, value in row.detail.items()
        if name not in used and not name.startswith(BEFORE) and value.strip().lower() not in _NOTHING
    )
