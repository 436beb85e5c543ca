"""Copies of one backend to another by schedule: what is copied, and when.

Nothing is deleted at the destination, and what a run replaces there is kept.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from dashboard.errors import InvalidInput, Kind, StowageError
from dashboard.jobs.timing import Timing
from dashboard.migration.types import State
from dashboard.models.schedules import CopySchedule
from dashboard.services.audit import AuditLog
from dashboard.services.database import Database, clamp_integer
from dashboard.services.migrations.rows import find_backend
from dashboard.services.migrations.spec import (
    check_spec,
    from_json,
    refuse_overlap,
    refuse_read_only,
    to_json,
)
from dashboard.services.permissions import Actor, Permission, Role
from dashboard.services.schedules.copy_runs import CopyRuns
from dashboard.services.schedules.copy_values import CopyInfo, CopyPlan, RunInfo

log = logging.getLogger(__name__)

SCHEDULER = Actor("schedule", Role.OPERATOR, "runner")
RETRY_SECONDS = 900.0
"""After which a run that could not begin is tried again, if none is due earlier."""
FINAL = tuple(state.value for state in State if state.final)


class ScheduledCopies:
    """Thread-safe."""

    def __init__(
        self,
        database: Database,
        audit: AuditLog,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._audit = audit
        self._runs = CopyRuns(database)
        self._clock = clock

    # ---- schedules

    def list(self) -> tuple[CopyInfo, ...]:
        """Every schedule, in the order in which they were added."""
        return self._database.kept("copies", self._list)

    def _list(self) -> tuple[CopyInfo, ...]:
        with self._database.read() as session:
            rows = list(session.scalars(select(CopySchedule).order_by(CopySchedule.id)))
        if not rows:
            # The overview asks each time, and most consoles have none.
            return ()
        newest = self._runs.newest([row.id for row in rows])
        good = self._runs.last_good([row.id for row in rows])
        return tuple(_info(row, newest.get(row.id), good.get(row.id)) for row in rows)

    def get(self, number: int) -> CopyInfo:
        """One schedule. Raises ``NOT_FOUND``."""
        with self._database.read() as session:
            row = get_schedule(session, number)
        return _info(row, self._runs.newest([row.id]).get(row.id), self._runs.last_good([row.id]).get(row.id))

    def runs(self, number: int, *, limit: int = 50) -> tuple[RunInfo, ...]:
        """The newest runs and attempts of a schedule, and restores from it."""
        return self._runs.of(number, limit=limit)

    def add(self, actor: Actor, plan: CopyPlan) -> int:
        """Add a schedule; return its number. Raises ``InvalidInput`` naming the field."""
        actor.require(Permission.CONFIGURE)
        now = self._clock()
        with self._database.write() as session:
            _check(session, plan)
            here = find_backend(session, plan.source, "source")
            there = find_backend(session, plan.destination, "destination")
            row = CopySchedule(
                source=here.name,
                source_id=here.id,
                destination=there.name,
                destination_id=there.id,
                spec=to_json(plan.spec),
                keep_days=plan.keep_days,
                timing=str(plan.timing),
                enabled=plan.enabled,
                next_run=plan.timing.next_after(now),
                created_by=actor.name,
                created_at=now,
            )
            session.add(row)
            session.flush()
            detail = {"from": here.name, "to": there.name, "when": plan.timing.words, "keep": plan.keep_days}
            self._audit.record(session, actor, "schedule.add", str(row.id), outcome="done", **detail)
            return row.id

    def change(self, actor: Actor, number: int, plan: CopyPlan) -> None:
        """Change what a schedule copies, when, and how long later runs keep what they replace. Its backends
        stay: add another schedule for others. Raises ``InvalidInput`` naming the field, and ``NOT_FOUND``."""
        actor.require(Permission.CONFIGURE)
        with self._database.write() as session:
            row = get_schedule(session, number)
            plan = replace(plan, source=row.source, destination=row.destination)
            _check(session, plan, mine=row.id)
            before = {"when": Timing.parse(row.timing).words, "keep": row.keep_days, "on": _on(row.enabled)}
            row.spec, row.keep_days, row.enabled = to_json(plan.spec), plan.keep_days, plan.enabled
            if row.timing != str(plan.timing) or (plan.enabled and before["on"] == "no"):
                row.timing = str(plan.timing)
                row.next_run = plan.timing.next_after(self._clock())
            after = {"when": plan.timing.words, "keep": row.keep_days, "on": _on(row.enabled)}
            changed = {name: after[name] for name in after if after[name] != before[name]}
            changed |= {f"before.{name}": before[name] for name in changed}
            detail = {"from": row.source, "to": row.destination}
            self._audit.record(
                session, actor, "schedule.change", str(row.id), outcome="done", **detail, **changed
            )

    def switch(self, actor: Actor, number: int, *, enabled: bool) -> None:
        """Switch a schedule on or off. A run that is under way goes on. Idempotent."""
        self.change(actor, number, replace(self.get(number).plan, enabled=enabled))

    def remove(self, actor: Actor, number: int) -> None:
        """Remove a schedule. Its copy stays where it is; what runs replaced stays as long as it was to be
        kept."""
        actor.require(Permission.CONFIGURE)
        with self._database.write() as session:
            row = get_schedule(session, number)
            detail = {"from": row.source, "to": row.destination}
            self._audit.record(session, actor, "schedule.remove", str(row.id), outcome="done", **detail)
            session.delete(row)


def get_schedule(session: Session, number: int) -> CopySchedule:
    """Return the row. Raises ``NOT_FOUND``."""
    row = session.get(CopySchedule, clamp_integer(number))
    if row is None:
        raise StowageError(
            Kind.NOT_FOUND,
            f"There is no scheduled copy {number}.",
            operation="find schedule",
            subject=str(number),
            remedy="The list of scheduled jobs shows the numbers there are.",
        )
    return row


def _check(session: Session, plan: CopyPlan, mine: int = 0) -> None:
    """Raise ``InvalidInput`` if the plan cannot be carried out or would disturb another one."""
    check_spec(plan.spec)
    if plan.spec.delete_source or plan.spec.dry_run:
        raise InvalidInput("spec", "A scheduled copy neither deletes from its source nor is a dry run.")
    here = find_backend(session, plan.source, "source")
    there = find_backend(session, plan.destination, "destination")
    refuse_overlap((here.driver, here.options), (there.driver, there.options), plan.spec.prefix)
    refuse_read_only(here.options, there.options, plan.spec)
    for other in session.scalars(select(CopySchedule).where(CopySchedule.id != mine)):
        theirs, prefix = str(other.spec["prefix"]), plan.spec.prefix
        if not (theirs.startswith(prefix) or prefix.startswith(theirs)):
            continue
        if other.destination_id == there.id:
            raise InvalidInput(
                "destination",
                f"“{other.source}” is copied to the same place in “{there.name}” by schedule {other.id}: the "
                "two would replace each other's files.",
                remedy="Choose another backend, or prefixes that keep them apart.",
            )
        if other.source_id == there.id and other.destination_id == here.id:
            raise InvalidInput(
                "destination",
                f"Schedule {other.id} copies “{there.name}” to “{here.name}” already: what is damaged in one "
                "would go round.",
                remedy="Copy in one direction only, or to a third backend.",
            )


def _info(row: CopySchedule, last: RunInfo | None, good: float | None) -> CopyInfo:
    return CopyInfo(
        id=row.id,
        source=row.source,
        destination=row.destination,
        spec=from_json(row.spec),
        keep_days=row.keep_days,
        timing=Timing.parse(row.timing),
        enabled=row.enabled,
        next_run=row.next_run if row.enabled else None,
        created_by=row.created_by,
        created_at=row.created_at,
        last=last,
        last_good_at=good,
    )


def _on(enabled: bool) -> str:
    return "yes" if enabled else "no"
