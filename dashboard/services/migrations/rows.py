"""Rows of the migrations table: find them, and refuse what is not possible in their state."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from dashboard.errors import InvalidInput, Kind, StowageError
from dashboard.jobs.types import JobKind
from dashboard.migration.types import Control, State
from dashboard.models.backends import Backend
from dashboard.models.migrations import Migration
from dashboard.services.database import Database, clamp_integer
from dashboard.services.jobs import enqueue

_NOW = {
    State.PLANNING: "it is still being planned",
    State.READY: "it waits for approval",
    State.RUNNING: "it is running",
    State.PAUSED: "it is paused",
    State.VERIFYING: "it is verifying",
    State.FINISHED: "it has finished",
    State.CANCELLED: "it was cancelled",
    State.FAILED: "it has failed",
}


def get_row(session: Session, migration_id: int) -> Migration:
    """Return the row. Raises ``NOT_FOUND``."""
    row = session.get(Migration, migration_id) if 0 < migration_id < 2**63 else None
    if row is None:
        raise StowageError(
            Kind.NOT_FOUND,
            f"There is no migration {migration_id}.",
            operation="find migration",
            subject=str(migration_id),
            remedy="The list of migrations shows the numbers there are.",
        )
    return row


def find_backend(session: Session, name: str, field: str) -> Backend:
    """Return the backend with this name. Raises ``InvalidInput`` for ``field``."""
    row = session.scalar(select(Backend).where(Backend.name == name))
    if row is None:
        raise InvalidInput(field, f"There is no backend “{name}”.", remedy="Add it first, or check the name.")
    return row


def not_possible_error(row: Migration, what: str, remedy: str = "") -> StowageError:
    """Return an error such as "Migration 7 cannot be paused: it has finished."."""
    return StowageError(
        Kind.CONFLICT,
        f"Migration {row.id} {what}: {_NOW[State(row.state)]}.",
        operation="change migration",
        subject=str(row.id),
        remedy=remedy,
    )


def refuse_concurrent(session: Session, row: Migration) -> None:
    """Raise ``CONFLICT`` if another migration may be writing the same objects.

    Two runs would treat each other's unfinished uploads as leftovers and abort them.
    """
    if row.spec["dry_run"]:
        return
    others = select(Migration).where(
        Migration.destination_id == row.destination_id,
        Migration.source_id == row.source_id,
        Migration.id != row.id,
        Migration.approved_at.is_not(None),
        Migration.state.not_in([state.value for state in State if state.final]),
    )
    mine = row.spec["prefix"]
    for other in session.scalars(others):
        theirs = other.spec["prefix"]
        if not other.spec["dry_run"] and (mine.startswith(theirs) or theirs.startswith(mine)):
            raise StowageError(
                Kind.CONFLICT,
                f"Migration {other.id} already copies from “{row.source}” to “{row.destination}”.",
                operation="start migration",
                subject=str(other.id),
                remedy=f"Wait until it has finished, or cancel it first. If it was interrupted, resume it: "
                f"stowage migrations resume {other.id}",
            )


def send_to_runner(session: Session, row: Migration) -> None:
    """Enqueue the migration for the runner, in the caller's transaction."""
    if row.approved_at is not None:
        refuse_concurrent(session, row)
    row.control = Control.RUN.value
    row.state = (State.PLANNING if row.approved_at is None else State.RUNNING).value
    row.outcome = row.finished_at = None
    row.message = row.remedy = ""
    enqueue(session, JobKind.MIGRATION, row.id)


@dataclass(frozen=True, slots=True)
class MigrationName:
    """What a list to choose from needs of a migration."""

    id: int
    source: str
    destination: str


def find_by_name(database: Database, text: str, limit: int) -> tuple[MigrationName, ...]:
    """Return the newest migrations with this number, or with this text in a backend's name."""
    row = Migration
    fits = or_(row.source.contains(text, autoescape=True), row.destination.contains(text, autoescape=True))
    if text.isascii() and text.isdigit():
        fits = or_(fits, row.id == clamp_integer(int(text[:20])))
    query = select(row.id, row.source, row.destination).where(fits).order_by(row.id.desc()).limit(limit)
    with database.read() as session:
        return tuple(MigrationName(*each) for each in session.execute(query))
