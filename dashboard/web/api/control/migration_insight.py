"""What the page of a migration shows beside its progress: the review before its start, its throughput, and
trying again what a filter finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from dashboard.errors import Kind, StowageError
from dashboard.migration.types import ObjectState
from dashboard.services.database import MAX_INTEGER
from dashboard.services.migrations.ledger_search import ObjectFilter
from dashboard.services.migrations.review import Review
from dashboard.services.migrations.series import Point
from dashboard.services.permissions import Permission
from dashboard.web.api.routes import Resource
from dashboard.web.api.schemas import Field
from dashboard.web.context import actor, services

resource = Resource(
    "Migration insight", "The review and the throughput of migrations, and retries by filter."
)


@dataclass(frozen=True, slots=True)
class MigrationReview:
    """What was found before the start. `lacking`: bytes that certainly do not fit, or 0. `command`: the same
    migration for a shell."""

    review: Review
    lacking: int
    command: str


@dataclass(frozen=True, slots=True)
class MigrationThroughput:
    """Totals over time, about `every` seconds apart, and the parts of the workers' time in the last five
    minutes: what holds it back. `pauses`: when it did not run, from and to."""

    every: float
    points: tuple[Point, ...]
    reading: float
    writing: float
    verifying: float
    pauses: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class RetryFilter:
    """Which failed objects; without any filter all of them."""

    kind: Annotated[str, Field("The kind of error.", maximum_length=64)] = ""
    reason: Annotated[str, Field("The reason of a group of failures.", maximum_length=2000)] = ""
    prefix: Annotated[str, Field("What the keys begin with.", maximum_length=1024)] = ""
    min_size: Annotated[int | None, Field("Bytes at least.", minimum=0, maximum=MAX_INTEGER)] = None
    max_size: Annotated[int | None, Field("Bytes at most.", minimum=0, maximum=MAX_INTEGER)] = None


@dataclass(frozen=True, slots=True)
class RetriedObjects:
    """How many objects are still to be done."""

    objects: int


@resource.route("GET", "/migrations/<int:id>/review", Permission.VIEW, returns=MigrationReview)
def review(id: int) -> MigrationReview:
    """Return what stands in the way of a start, and what would be copied."""
    progress = services().migrations.progress(id)
    found = services().migrations.review(id)
    if found is None:
        raise StowageError(
            Kind.NOT_FOUND,
            "This migration has no review yet: both sides are still being listed.",
            operation="review",
            subject=str(id),
            remedy="Ask again when it is ready.",
        )
    return MigrationReview(found, found.lacks(progress.counters), services().migrations.command(id))


@resource.route("POST", "/migrations/<int:id>/check", Permission.MIGRATE, status=204)
def check(id: int) -> None:
    """Make the review of a migration that waits for its start once more, in the background."""
    services().migrations.check_again(actor(), id)


@resource.route("GET", "/migrations/<int:id>/throughput", Permission.VIEW, returns=MigrationThroughput)
def throughput(id: int) -> MigrationThroughput:
    """Return how fast a migration was over time, and what holds it back."""
    services().migrations.progress(id)
    series = services().migrations.throughput(id)
    return MigrationThroughput(series.every, series.points, *series.shares(), series.pauses())


@resource.route(
    "POST", "/migrations/<int:id>/objects/retry", Permission.MIGRATE, body=RetryFilter, returns=RetriedObjects
)
def retry_objects(id: int, body: RetryFilter) -> RetriedObjects:
    """Try again the failed objects that a filter finds."""
    wanted = ObjectFilter(
        ObjectState.FAILED, body.kind, body.reason, body.prefix, body.min_size, body.max_size
    )
    return RetriedObjects(services().migrations.retry_failed(actor(), id, wanted))
