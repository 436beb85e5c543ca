"""An entry of the audit log as the page shows it: its sentence with links, its face, its day."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from flask import Flask, url_for

from dashboard.services.audit import AuditRow
from dashboard.services.auditing.sentences.tell import tell
from dashboard.services.auditing.sentences.wording import Part, PartKind, Sentence
from dashboard.web.admin.files.browser_view import to_token
from dashboard.web.context import can
from dashboard.web.local_time import day_title

_ICONS = {"setup": "bolt", "runner": "bolt", "schedule": "clock"}


@dataclass(frozen=True)
class Entry:
    """One entry. ``opened``: with its details."""

    row: AuditRow
    opened: bool = False

    @cached_property
    def sentence(self) -> Sentence:
        """What it says."""
        return tell(self.row)

    @property
    def letter(self) -> str:
        """The first letter of the person; empty for what the console did by itself."""
        if self.row.via == "runner" or self.row.outcome == "refused":
            return ""
        return self.row.actor[:1].upper()

    @property
    def face(self) -> str:
        """A look that tells people apart."""
        if not self.letter:
            return "sys"
        return "v2" if sum(self.row.actor.encode("utf-8", "replace")) % 2 else ""

    @property
    def icon(self) -> str:
        """Shown in place of the letter."""
        return "alert" if self.row.outcome in ("refused", "failed") else _ICONS.get(self.row.via, "bolt")

    @property
    def origin(self) -> str:
        """Where it came from."""
        return self.row.address or self.row.via


@dataclass(frozen=True, slots=True)
class Day:
    """The entries of a day."""

    title: str
    entries: tuple[Entry, ...]


def by_day(entries: Sequence[Entry]) -> tuple[Day, ...]:
    """Group entries by the day of the console's time zone, in their order."""
    days: list[tuple[str, list[Entry]]] = []
    for entry in entries:
        title = day_title(entry.row.at)
        if not days or days[-1][0] != title:
            days.append((title, []))
        days[-1][1].append(entry)
    return tuple(Day(title, tuple(found)) for title, found in days)


def install(app: Flask) -> None:
    """Let templates ask for the page of a part."""
    app.jinja_env.globals.update(audit_link=link_to)


def link_to(part: Part) -> str:
    """The page of what a part names; empty if there is none, or if the user may not see it."""
    if part.kind is PartKind.BACKEND and part.target[0]:
        return url_for("backends.show", name=part.target[0])
    if part.kind is PartKind.MIGRATION and part.target[0].isdecimal():
        return url_for("migrations.show", id=int(part.target[0]))
    if part.kind in (PartKind.FILE, PartKind.FOLDER) and can("read_files"):
        name, key = part.target
        if part.kind is PartKind.FOLDER:
            inside: dict[str, Any] = {"in": to_token(key)}
            return url_for("browse.show", name=name, **inside)
        return url_for("browse.file", name=name, key=to_token(key))
    return ""
