"""The sentence of any row of the audit log."""

from __future__ import annotations

from dashboard.services.auditing.audit_rows import AuditRow
from dashboard.services.auditing.sentences import (
    telling_backends,
    telling_files,
    telling_migrations,
    telling_notifications,
    telling_people,
)
from dashboard.services.auditing.sentences.telling_people import UNKNOWN
from dashboard.services.auditing.sentences.wording import (
    TELLERS,
    Part,
    Sentence,
    Telling,
    facts,
    named,
    person,
    telling,
)

_TABLES = (telling_backends, telling_files, telling_migrations, telling_notifications, telling_people)
"""Imported for what they add to the table."""
_OTHERS = {"stowage": "Stowage", UNKNOWN: "Somebody"}

AREAS = {
    "backend": "Backends",
    "migration": "Migrations",
    "file": "Files",
    "files": "Old files",
    "folder": "Folders",
    "link": "Links",
    "upload_policy": "Upload policies",
    "sign_in": "Sign-ins",
    "sign_out": "Sign-outs",
    "session": "Sessions",
    "two_factor": "Two-factor sign-in",
    "user": "Users",
    "token": "API tokens",
    "keys": "Keys",
    "backup": "Backups of the console",
    "schedule": "Scheduled copies",
    "job": "Scheduled jobs",
    "notification": "Notifications",
    "prices": "Prices",
    "environment": "Settings file",
    "audit": "Audit log",
    "setup": "Setup",
}
"""What can be filtered by: the beginning of the actions, and its title."""


def tell(row: AuditRow) -> Sentence:
    """Word a row. Never fails: an action that this version does not know is told by its name."""
    teller = TELLERS.get(row.action)
    found = teller(row) if teller else _unknown(row)
    parts = found.parts if found.whole else (_actor(row), Part(" "), *found.parts)
    if row.outcome == "refused" and not row.action.startswith(("sign_in", "file.")):
        parts += (Part(", which was refused"),)
    used = found.used | {"token"}
    shown = facts(row, frozenset(used))
    if token := row.detail.get("token"):
        shown += (("API token", token),)
    return Sentence(tuple(part for part in parts if part.text), found.changes, shown)


def _actor(row: AuditRow) -> Part:
    if row.via == "runner" or row.actor == UNKNOWN:
        return Part(_OTHERS.get(row.actor, "The runner"))
    return person(row.actor)


def _unknown(row: AuditRow) -> Telling:
    what = row.action.replace(".", ": ").replace("_", " ")
    return telling(f"did “{what}”", " to " if row.subject else "", named(row.subject))
