"""What stands in the way of making a backend read-only."""

from __future__ import annotations

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from dashboard.errors import InvalidInput, Kind, StowageError
from dashboard.migration.types import State
from dashboard.models.backends import Backend
from dashboard.models.migrations import Migration
from dashboard.storage.checks.wrappers import READ_ONLY, is_read_only

MAX_NAMED = 5


def refuse_read_only_now(session: Session, row: Backend) -> None:
    """Raise ``InvalidInput`` for the active backend, and ``CONFLICT`` for one that unfinished migrations
    write to; they are named. One that is read-only already passes."""
    if row.active:
        raise InvalidInput(
            READ_ONLY,
            "This is the active backend, where new files go; it cannot be read-only.",
            remedy="Make another backend the active one first.",
        )
    if is_read_only(row.options):
        return
    writing = _writing(session, row)
    if not writing:
        return
    named = ", ".join(map(str, writing[:MAX_NAMED])) + (" and others" if len(writing) > MAX_NAMED else "")
    one = len(writing) == 1
    raise StowageError(
        Kind.CONFLICT,
        f"“{row.name}” cannot be read-only now: "
        + (f"migration {named} writes to it and is" if one else f"migrations {named} write to it and are")
        + " not finished.",
        operation="make read-only",
        subject=row.name,
        remedy=f"Wait for {'it' if one else 'them'} to finish, or cancel {'it' if one else 'them'}.",
    )


def _writing(session: Session, row: Backend) -> list[int]:
    """The numbers of the migrations that store objects there, or will delete what they have moved."""
    moves = and_(Migration.source_id == row.id, Migration.spec["delete_source"].as_boolean())
    query = (
        select(Migration.id)
        .where(or_(Migration.destination_id == row.id, moves))
        .where(Migration.state.not_in([state.value for state in State if state.final]))
    )
    return list(session.scalars(query.order_by(Migration.id).limit(MAX_NAMED + 1)))
