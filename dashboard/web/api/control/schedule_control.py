"""Scheduled jobs: what recurs, when, and copies of one backend to another."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from flask import url_for

from dashboard.errors import Kind, StowageError
from dashboard.jobs.timing import Timing
from dashboard.migration.types import Spec, Verify
from dashboard.services.permissions import Permission
from dashboard.services.schedules.copy_values import MAX_KEEP_DAYS, CopyInfo, CopyPlan, RunInfo
from dashboard.services.schedules.recurring import RecurringJob
from dashboard.services.schedules.schedule_services import copy_number
from dashboard.web.api.routes import Reply, Resource
from dashboard.web.api.schemas import Field
from dashboard.web.context import actor, services

resource = Resource("Schedules", "Recurring jobs, and copies of one backend to another by schedule.")

When = Field("“every 6 h”, “daily 03:00” or “weekly sun 03:00”; intervals in min, h or d.")
KeepDays = Field("For how many days replaced files are kept; 0 for ever.", minimum=0, maximum=MAX_KEEP_DAYS)


@dataclass(frozen=True, slots=True)
class ScheduledCopy:
    """What a scheduled copy copies. `last_good_at`: when a run last ended with nothing failed."""

    source: str
    destination: str
    prefix: str
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    verify: Verify
    keep_days: int
    last_good_at: float | None


@dataclass(frozen=True, slots=True)
class ScheduleDetails:
    """A recurring job, such as `counts`, or a scheduled copy, such as `copy-3`. `result` of the last run:
    empty, `done`, `failed` or a state of a run; `message` says why. Times are seconds since the epoch."""

    name: str
    title: str
    when: str
    enabled: bool
    running: bool
    last_at: float | None
    result: str
    message: str
    next_at: float | None
    copy: ScheduledCopy | None


@dataclass(frozen=True, slots=True)
class ScheduleList:
    """Recurring jobs, then scheduled copies."""

    schedules: tuple[ScheduleDetails, ...]


@dataclass(frozen=True, slots=True)
class NewCopy:
    """A copy of one backend to another. Nothing is deleted at the destination."""

    source: Annotated[str, Field("The name of a backend.", maximum_length=63)]
    destination: Annotated[str, Field("The name of another one.", maximum_length=63)]
    when: Annotated[str, When] = "daily 03:00"
    prefix: Annotated[str, Field("Only keys that begin with this.")] = ""
    include: Annotated[tuple[str, ...], Field("Only keys that match one of these globs.")] = ()
    exclude: Annotated[tuple[str, ...], Field("No keys that match one of these globs.")] = ()
    verify: Verify = Verify.CHECKSUM
    keep_days: Annotated[int, KeepDays] = 30
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class ScheduleChange:
    """What is left out stays as it is. `keep_days` is for copies only."""

    when: Annotated[str | None, When] = None
    enabled: bool | None = None
    keep_days: Annotated[int | None, KeepDays] = None


@dataclass(frozen=True, slots=True)
class RunStarted:
    """`migration`: its number, for a copy."""

    migration: int | None


@dataclass(frozen=True, slots=True)
class RunList:
    """The newest runs, attempts and restores."""

    runs: tuple[RunInfo, ...]


@dataclass(frozen=True, slots=True)
class CopyRestore:
    """What to restore. `after_run`: the number of a run, for the copy as it was after it."""

    to: Annotated[str, Field("A backend; empty for the source of the copy.", maximum_length=63)] = ""
    prefix: Annotated[str | None, Field("Only keys that begin with this.")] = None
    after_run: int | None = None


@dataclass(frozen=True, slots=True)
class RestorePlanned:
    """The number of a migration that waits for its approval."""

    migration: int


@resource.route("GET", "/schedules", Permission.VIEW, returns=ScheduleList)
def index() -> ScheduleList:
    """List every recurring job and scheduled copy."""
    schedules = services().schedules
    jobs = [_of_job(job) for job in schedules.recurring.list()]
    return ScheduleList((*jobs, *(_of_copy(copy) for copy in schedules.copies.list())))


@resource.route("POST", "/schedules", Permission.CONFIGURE, body=NewCopy, returns=ScheduleDetails, status=201)
def add(body: NewCopy) -> Reply:
    """Add a scheduled copy."""
    plan = CopyPlan(
        body.source,
        body.destination,
        Timing.parse(body.when),
        Spec(prefix=body.prefix, include=body.include, exclude=body.exclude, verify=body.verify),
        body.keep_days,
        enabled=body.enabled,
    )
    copies = services().schedules.copies
    info = copies.get(copies.add(actor(), plan))
    return Reply(_of_copy(info), 201, {"Location": url_for(".schedules_show", name=info.name)})


@resource.route("GET", "/schedules/<name>", Permission.VIEW, returns=ScheduleDetails)
def show(name: str) -> ScheduleDetails:
    """Return one of them."""
    if (number := copy_number(name)) is not None:
        return _of_copy(services().schedules.copies.get(number))
    return _of_job(services().schedules.recurring.get(name))


@resource.route(
    "PATCH", "/schedules/<name>", Permission.CONFIGURE, body=ScheduleChange, returns=ScheduleDetails
)
def change(name: str, body: ScheduleChange) -> ScheduleDetails:
    """Change when it runs, or switch it on or off. When backups of the console are made is set elsewhere."""
    timing = Timing.parse(body.when) if body.when is not None else None
    schedules = services().schedules
    if (number := copy_number(name)) is None:
        schedules.recurring.change(actor(), name, timing=timing, enabled=body.enabled)
        return show(name)
    plan = schedules.copies.get(number).plan
    plan = replace(
        plan,
        timing=timing or plan.timing,
        enabled=plan.enabled if body.enabled is None else body.enabled,
        keep_days=plan.keep_days if body.keep_days is None else body.keep_days,
    )
    schedules.copies.change(actor(), number, plan)
    return show(name)


@resource.route("DELETE", "/schedules/<name>", Permission.CONFIGURE, returns=None, status=204)
def remove(name: str) -> None:
    """Remove a scheduled copy. What it copied stays where it is."""
    services().schedules.copies.remove(actor(), _number(name))


@resource.route(
    "POST",
    "/schedules/<name>/run",
    Permission.TEST,
    returns=RunStarted,
    status=202,
    errors={409: "A run is under way, or a backend is down."},
)
def run(name: str) -> Reply:
    """Run it now. A copy needs the permission `migrate`, jobs other than counts and tests `configure`, a
    backup `keys`."""
    return Reply(RunStarted(services().schedules.run_now(actor(), name)), 202)


@resource.route("GET", "/schedules/<name>/runs", Permission.VIEW, returns=RunList)
def runs(name: str) -> RunList:
    """List the newest runs of a scheduled copy, and restores from it."""
    return RunList(services().schedules.copies.runs(_number(name)))


@resource.route(
    "POST",
    "/schedules/<name>/restore",
    Permission.MIGRATE,
    body=CopyRestore,
    returns=RestorePlanned,
    status=201,
)
def restore(name: str, body: CopyRestore) -> Reply:
    """Plan a migration of a copy back to its source, or to another backend. Start it with
    `POST /migrations/{id}/approve` once it is ready."""
    number = services().schedules.starts.restore(
        actor(), _number(name), to=body.to, prefix=body.prefix, after_run=body.after_run
    )
    return Reply(RestorePlanned(number), 201)


def _number(name: str) -> int:
    number = copy_number(name)
    if number is None:
        raise StowageError(
            Kind.NOT_FOUND,
            "There is no scheduled copy of this name.",
            operation="find schedule",
            subject=name[:40],
            remedy="Scheduled copies are called copy-1, copy-2 and so on.",
        )
    return number


def _of_job(job: RecurringJob) -> ScheduleDetails:
    return ScheduleDetails(
        name=job.spec.name,
        title=job.spec.title,
        when=str(job.timing),
        enabled=job.enabled,
        running=job.running > 0,
        last_at=job.last_at,
        result="failed" if job.failed else "done" if job.last_at else "",
        message=job.message,
        next_at=job.next_at,
        copy=None,
    )


def _of_copy(copy: CopyInfo) -> ScheduleDetails:
    last = copy.last
    return ScheduleDetails(
        name=copy.name,
        title=copy.title,
        when=str(copy.timing),
        enabled=copy.enabled,
        running=last is not None and last.state.value == "running",
        last_at=last.at if last else None,
        result=last.state.value if last else "",
        message=last.message if last else "",
        next_at=copy.next_run,
        copy=ScheduledCopy(
            copy.source,
            copy.destination,
            copy.spec.prefix,
            copy.spec.include,
            copy.spec.exclude,
            copy.spec.verify,
            copy.keep_days,
            copy.last_good_at,
        ),
    )
