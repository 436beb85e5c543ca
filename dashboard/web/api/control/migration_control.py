"""Migrations: creating, approving, pausing, resuming and cancelling them, and their ledgers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from flask import url_for
from werkzeug.wrappers import Response

from dashboard.errors import InvalidInput
from dashboard.migration.types import (
    AUTOMATIC,
    MAX_CARRIERS,
    MAX_WORKERS,
    FailureGroup,
    LedgerRow,
    ObjectState,
    OnConflict,
    Spec,
    Verify,
)
from dashboard.rates.bandwidth import MAX_TEXT
from dashboard.services.database import MAX_INTEGER
from dashboard.services.migrations.ledger_search import ObjectFilter
from dashboard.services.migrations.spec import MAX_PREFIX_BYTES
from dashboard.services.permissions import Permission
from dashboard.web.api import cursors
from dashboard.web.api.cursors import Page
from dashboard.web.api.migrations import MigrationDetails
from dashboard.web.api.routes import Content, Header, Reply, Resource
from dashboard.web.api.schemas import Field
from dashboard.web.context import actor, services
from dashboard.web.downloads import long_download

resource = Resource("Migration control", "Creating, approving, pausing, resuming and cancelling migrations.")

F = TypeVar("F", bound=Callable[..., Any])

BANDWIDTH = "Bytes per second: `10M`, `off`, or a timetable such as `08:00,512k 18:00,10M`."
OBJECTS = "Objects per second: a number such as `50` or `0.5`, or `off`."
Patterns = Annotated[tuple[str, ...], Field(maximum_items=200, maximum_length=4096)]


@dataclass(frozen=True, slots=True)
class NewMigration:
    """A migration to plan. It copies once it is planned and approved, or at once with `approve`.

    ``workers`` null: the migration finds out how many are best. ``carriers`` null: what the settings say.
    """

    source: Annotated[str, Field("The backend to copy from.", maximum_length=63)]
    destination: Annotated[str, Field("The backend to copy to.", maximum_length=63)]
    prefix: Annotated[str, Field("How keys begin; empty for all.", maximum_length=MAX_PREFIX_BYTES)] = ""
    include: Patterns = ()
    exclude: Patterns = ()
    on_conflict: OnConflict = OnConflict.SKIP_SAME
    verify: Verify = Verify.CHECKSUM
    dry_run: Annotated[bool, Field("Plan and compare, and change nothing.")] = False
    delete_source: Annotated[bool, Field("Delete what is proven from the source at the end.")] = False
    workers: Annotated[int | None, Field("Objects copied at once.", minimum=1, maximum=MAX_WORKERS)] = None
    carriers: Annotated[
        int | None, Field("Processes that copy it together.", minimum=1, maximum=MAX_CARRIERS)
    ] = None
    bandwidth_limit: Annotated[str, Field(BANDWIDTH, maximum_length=MAX_TEXT)] = ""
    objects_per_second: Annotated[str, Field(OBJECTS, maximum_length=32)] = ""
    approve: Annotated[bool, Field("Copy as soon as it is planned.")] = False


@dataclass(frozen=True, slots=True)
class MigrationChange:
    """New limits of a migration. Null leaves one as it is; empty, or `default`, is the console's."""

    bandwidth_limit: Annotated[str | None, Field(BANDWIDTH, maximum_length=MAX_TEXT)] = None
    objects_per_second: Annotated[str | None, Field(OBJECTS, maximum_length=32)] = None


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a migration: the texts that count, whether they are the console's, and the bandwidth now
    in bytes per second, null for any. ``until``: when ``then`` holds instead, in seconds since the epoch."""

    bandwidth_limit: str
    bandwidth_is_default: bool
    objects_per_second: str
    objects_is_default: bool
    bytes_per_second: int | None
    until: float | None
    then: int | None


@dataclass(frozen=True, slots=True)
class Failures:
    """The failed objects of a migration by reason, the largest group first; at most 100 groups."""

    failures: tuple[FailureGroup, ...]


@dataclass(frozen=True, slots=True)
class ObjectPage(Page):
    """Which objects of a ledger."""

    state: ObjectState | None = None
    kind: Annotated[str, Field("The kind of error.", maximum_length=64)] = ""
    reason: Annotated[str, Field("The reason of a group of failures.", maximum_length=2000)] = ""
    prefix: Annotated[str, Field("What the keys begin with.", maximum_length=1024)] = ""
    min_size: Annotated[int | None, Field("Bytes at least.", minimum=0, maximum=MAX_INTEGER)] = None
    max_size: Annotated[int | None, Field("Bytes at most.", minimum=0, maximum=MAX_INTEGER)] = None


@dataclass(frozen=True, slots=True)
class ObjectList:
    """A page of a ledger. In key order if a prefix is given, the largest first if a size is. A page may have
    fewer objects than ``limit``, or none, although there are more: only a null ``next_cursor`` is the end."""

    objects: tuple[LedgerRow, ...]
    next_cursor: str | None


@resource.route(
    "POST",
    "/migrations",
    Permission.MIGRATE,
    body=NewMigration,
    returns=MigrationDetails,
    status=201,
    response_headers=(Header("Location", "Its address."),),
)
def create(body: NewMigration) -> Reply:
    """Plan a migration.

    Both backends are listed and compared first. Unless `approve` is set it then waits, with the figures of
    what it would do, for its approval.
    """
    most = services().settings.max_workers
    workers = body.workers or AUTOMATIC
    if workers > most:
        raise InvalidInput("workers", f"The number of workers must be between 1 and {most}.")
    spec = Spec(
        prefix=body.prefix,
        include=body.include,
        exclude=body.exclude,
        on_conflict=body.on_conflict,
        verify=body.verify,
        dry_run=body.dry_run,
        delete_source=body.delete_source,
        workers=workers,
        carriers=body.carriers or 0,
        bandwidth_limit=body.bandwidth_limit,
        objects_per_second=body.objects_per_second,
    )
    number = services().migrations.create(actor(), body.source, body.destination, spec, approve=body.approve)
    location = url_for(".migrations_show", id=number)
    return Reply(_progress(number), 201, {"Location": location})


@resource.route(
    "PATCH",
    "/migrations/<int:id>",
    Permission.MIGRATE,
    body=MigrationChange,
    returns=MigrationDetails,
    errors={409: "It has ended."},
)
def change(id: int, body: MigrationChange) -> dict[str, Any]:
    """Change the limits of a migration, also while it runs.

    It keeps to them within a second.
    """
    services().migration_limits.change(
        actor(), id, bandwidth=body.bandwidth_limit, objects=body.objects_per_second
    )
    return _progress(id)


@resource.route("GET", "/migrations/<int:id>/limits", Permission.VIEW, returns=Limits)
def limits(id: int) -> dict[str, Any]:
    """Return the limits of a migration and what they mean at this moment."""
    return services().migration_limits.of(services().migrations.progress(id).spec).as_dict()


def _control(action: str) -> Callable[[F], F]:
    """Declare a route that changes the state of a migration and returns it."""
    return resource.route(
        "POST",
        f"/migrations/<int:id>/{action}",
        Permission.MIGRATE,
        returns=MigrationDetails,
        errors={409: "Not possible in its present state, or another migration copies the same objects."},
    )


@_control("approve")
def approve(id: int) -> dict[str, Any]:
    """Approve a migration.

    Copying starts when planning is complete.
    """
    services().migrations.approve(actor(), id)
    return _progress(id)


@_control("pause")
def pause(id: int) -> dict[str, Any]:
    """Pause a migration soon.

    Objects in flight are completed or aborted cleanly.
    """
    services().migrations.pause(actor(), id)
    return _progress(id)


@_control("resume")
def resume(id: int) -> dict[str, Any]:
    """Resume a migration where it stopped, also after it failed as a whole."""
    services().migrations.resume(actor(), id)
    return _progress(id)


@_control("cancel")
def cancel(id: int) -> dict[str, Any]:
    """Stop a migration for good.

    Complete copies stay; unfinished writes are removed.
    """
    services().migrations.cancel(actor(), id)
    return _progress(id)


@_control("retry")
def retry(id: int) -> dict[str, Any]:
    """Try the failed objects of a migration again."""
    services().migrations.retry_failed(actor(), id)
    return _progress(id)


@resource.route("GET", "/migrations/<int:id>/failures", Permission.VIEW, returns=Failures)
def failures(id: int) -> Failures:
    """Return why objects failed."""
    return Failures(services().migrations.failures(id))


@resource.route("GET", "/migrations/<int:id>/objects", Permission.VIEW, query=ObjectPage, returns=ObjectList)
def objects(id: int, query: ObjectPage) -> ObjectList:
    """List the objects of the ledger."""
    (after,) = cursors.decode(query.cursor, "objects", str) or ("",)
    wanted = ObjectFilter(query.state, query.kind, query.reason, query.prefix, query.min_size, query.max_size)
    page = services().migrations.objects(id, wanted, after=after, limit=query.limit)
    return ObjectList(page.rows, cursors.encode("objects", page.next_after) if page.next_after else None)


@resource.route(
    "GET",
    "/migrations/<int:id>/report.csv",
    Permission.VIEW,
    returns=Content("text/csv", "A line for each object, with a header; safe to open in a spreadsheet."),
)
def report(id: int) -> Response:
    """Return every object of the ledger as CSV."""
    lines = services().migrations.report(id)
    return long_download(actor().name, lines, f"stowage-migration-{id}.csv", "text/csv; charset=utf-8")


def _progress(number: int) -> dict[str, Any]:
    return services().migrations.progress(number).as_dict()
