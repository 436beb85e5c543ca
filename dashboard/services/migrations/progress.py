"""The progress of a migration for pages, the API and the terminal: its row, counters and live values."""

from __future__ import annotations

import time

from sqlalchemy import select
from sqlalchemy.orm import Session

from dashboard.jobs.types import JobKind, JobState
from dashboard.migration.ledger import Live
from dashboard.migration.types import Control, Counters, Outcome, Progress, State
from dashboard.models.migrations import Job, Migration
from dashboard.services.migrations.spec import from_json

WAITING_AFTER_SECONDS = 3.0
"""A migration that has been in the queue for longer is shown as waiting."""
STALE_SECONDS = 15.0
"""Live values that are older come from a run that has ended."""


def is_waiting_for_runner(session: Session, row: Migration) -> bool:
    """Whether the migration has been in the queue for a while and no runner has claimed it."""
    if not State(row.state).active:
        return False
    patient_until = time.time() - WAITING_AFTER_SECONDS
    job = session.scalar(
        select(Job)
        .where(Job.kind == JobKind.MIGRATION, Job.subject_id == row.id)
        .order_by(Job.id.desc())
        .limit(1)
    )
    if job is None:
        return False
    if job.state == JobState.RUNNING:
        return (job.lease_until or 0.0) < patient_until
    return job.state == JobState.QUEUED and max(job.created_at, job.not_before) < patient_until


def build_progress(row: Migration, totals: Counters, live: Live, waiting: bool) -> Progress:
    """Return the progress of a migration. ``live`` is ignored if it is older than ``STALE_SECONDS``."""
    state = State(row.state)
    is_active = state.active and not waiting and live.at + STALE_SECONDS > time.time()
    message, remedy = row.message, row.remedy
    if waiting and not message:
        message = "Waiting for a runner."
        remedy = "“stowage run” starts one; it runs two migrations at a time."
    return Progress(
        id=row.id,
        source=row.source,
        destination=row.destination,
        spec=from_json(row.spec),
        state=state,
        outcome=Outcome(row.outcome) if row.outcome else None,
        counters=totals,
        in_flight=live.in_flight if is_active else (),
        at_once=live.at_once if is_active else 0,
        limited_by=live.limited_by if is_active else "",
        carriers=live.carriers if is_active else (),
        rate_bytes=live.rate_bytes if is_active else 0.0,
        rate_objects=live.rate_objects if is_active else 0.0,
        elapsed=row.elapsed,
        eta=live.eta if is_active else None,
        stopping=state.active and row.control != Control.RUN,
        message=message,
        remedy=remedy,
        created_by=row.created_by,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
    )
