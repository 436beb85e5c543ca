"""The audit log: one row for every change of configuration and every migration."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from dashboard.models.console import AuditEntry
from dashboard.services.database import Database, clamp_integer
from dashboard.services.permissions import Actor
from dashboard.storage.options import Option
from dashboard.storage.types import Secret

HIDDEN = "***"
MAX_TEXT = 300
MAX_ROWS = 500


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One action. ``at`` in seconds since the epoch; ``outcome`` is "done" or "refused"."""

    id: int
    at: float
    actor: str
    via: str
    address: str
    action: str
    subject: str
    detail: Mapping[str, str]
    outcome: str


class AuditLog:
    """Writes rows inside other services' transactions and reads them back, newest first. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(
        self,
        session: Session,
        actor: Actor,
        action: str,
        subject: str,
        *,
        outcome: str = "done",
        **detail: object,
    ) -> None:
        """Add one row to the caller's transaction. A ``Secret`` in ``detail`` is written as ``***``; an
        API token that the actor used is added."""
        if actor.token:
            detail["token"] = actor.token
        session.add(
            AuditEntry(
                at=time.time(),
                actor=shorten(actor.name, 64),
                via=actor.via,
                address=shorten(actor.address, 64),
                action=action,
                subject=shorten(subject, MAX_TEXT),
                detail={name: shorten(_text(value), MAX_TEXT) for name, value in detail.items()},
                outcome=outcome,
            )
        )

    def rows(
        self, *, before_id: int | None = None, limit: int = 50, action: str = "", actor: str = ""
    ) -> tuple[AuditRow, ...]:
        """The newest rows, or those older than ``before_id``; ``action`` also matches as a prefix
        ("backend" finds "backend.add")."""
        query = select(AuditEntry).order_by(AuditEntry.id.desc()).limit(max(1, min(limit, MAX_ROWS)))
        if before_id is not None:
            query = query.where(AuditEntry.id < clamp_integer(before_id))
        action, actor = shorten(action), shorten(actor)
        if action:
            within = AuditEntry.action.startswith(f"{action}.", autoescape=True)
            query = query.where((AuditEntry.action == action) | within)
        if actor:
            query = query.where(AuditEntry.actor == actor)
        with self._database.read() as session:
            return tuple(_row(entry) for entry in session.scalars(query))


def redact_options(options: Iterable[Option], values: Mapping[str, object]) -> dict[str, str]:
    """Return ``values`` for the audit log, with ``***`` for options that are secret or unknown."""
    plain = {option.name for option in options if not option.secret}
    return {name: _text(value) if name in plain else HIDDEN for name, value in values.items()}


def _text(value: object) -> str:
    return HIDDEN if isinstance(value, Secret) else str(value)


def shorten(text: str, most: int = MAX_TEXT) -> str:
    """Return at most ``most`` characters, without the lone surrogates that databases and pages reject."""
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _row(entry: AuditEntry) -> AuditRow:
    return AuditRow(
        id=entry.id,
        at=entry.at,
        actor=entry.actor,
        via=entry.via,
        address=entry.address,
        action=entry.action,
        subject=entry.subject,
        detail=dict(entry.detail),
        outcome=entry.outcome,
    )
