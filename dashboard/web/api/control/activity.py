"""What is going on: the state of the console at a glance, its jobs and its audit log."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated

from dashboard.services.audit import AuditFilter, AuditRow
from dashboard.services.auditing.sentences.tell import tell
from dashboard.services.auditing.sentences.wording import ChangedValue
from dashboard.services.fallback.write_back import Backlog
from dashboard.services.jobs import JobInfo
from dashboard.services.permissions import Permission
from dashboard.web.api import cursors
from dashboard.web.api.cursors import Page
from dashboard.web.api.routes import Resource
from dashboard.web.api.schemas import Field
from dashboard.web.context import services

resource = Resource("Activity", "The state of the console, its jobs and its audit log.")


@dataclass(frozen=True, slots=True)
class ConsoleState:
    """The console at a glance. `failing`: how many backends are down or degraded. `waiting`: objects that
    were written elsewhere while their backend was unavailable."""

    backends: int
    active: str
    fallback: tuple[str, ...]
    failing: int
    sealed: bool
    runner_alive: bool
    waiting: tuple[Backlog, ...]


@dataclass(frozen=True, slots=True)
class JobList:
    """A page of jobs, newest first."""

    jobs: tuple[JobInfo, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class AuditPage(Page):
    """Which rows of the audit log."""

    action: Annotated[str, Field("Such as “backend.add”, or “backend” for all of these.")] = ""
    actor: Annotated[str, Field("Who did it.")] = ""
    thing: Annotated[str, Field("What it was done to: a backend, a user, a file.")] = ""
    text: Annotated[str, Field("What occurs anywhere in the entry.")] = ""
    since: Annotated[float | None, Field("Seconds since the epoch.")] = None
    until: Annotated[float | None, Field("Seconds since the epoch, excluded.")] = None


@dataclass(frozen=True, slots=True)
class AuditRowDetails(AuditRow):
    """An entry. `sentence` says who did what to which thing; `changes` are the values that changed."""

    sentence: str = ""
    changes: tuple[ChangedValue, ...] = ()


@dataclass(frozen=True, slots=True)
class AuditList:
    """A page of the audit log, newest first."""

    audit: tuple[AuditRowDetails, ...]
    next_cursor: str | None


@resource.route("GET", "/status", Permission.VIEW, returns=ConsoleState)
def status() -> ConsoleState:
    """Return the state of the console at a glance."""
    summary = services().backends.summary()
    return ConsoleState(
        backends=summary.count,
        active=summary.active,
        fallback=tuple(each.name for each in summary.fallback),
        failing=summary.failing,
        sealed=services().keys.state().sealed,
        runner_alive=services().runner.is_alive(),
        waiting=tuple(services().write_back.summary()),
    )


@resource.route("GET", "/jobs", Permission.VIEW, query=Page, returns=JobList)
def jobs(query: Page) -> JobList:
    """List the background jobs: checks, counts, comparisons, migrations.

    Of the jobs that have ended only the last of each kind and subject is kept.
    """
    position = cursors.decode(query.cursor, "jobs", int)
    found = services().jobs.list(limit=query.limit + 1, before_id=position[0] if position else None)
    shown, more = cursors.page_of(found, query.limit)
    return JobList(tuple(shown), cursors.encode("jobs", shown[-1].id) if more else None)


@resource.route("GET", "/audit", Permission.AUDIT, query=AuditPage, returns=AuditList)
def audit(query: AuditPage) -> AuditList:
    """List the audit log."""
    position = cursors.decode(query.cursor, "audit", int)
    found = services().audit.rows(
        before_id=position[0] if position else None,
        limit=query.limit + 1,
        matching=AuditFilter(query.action, query.actor, query.thing, query.text, query.since, query.until),
    )
    shown, more = cursors.page_of(found, query.limit)
    return AuditList(
        tuple(_told(row) for row in shown), cursors.encode("audit", shown[-1].id) if more else None
    )


def _told(row: AuditRow) -> AuditRowDetails:
    sentence = tell(row)
    values = {field.name: getattr(row, field.name) for field in fields(AuditRow)}
    return AuditRowDetails(**values, sentence=sentence.text, changes=sentence.changes)
