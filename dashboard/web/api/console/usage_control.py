"""Prices, requests by day, and files with the same content."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from dashboard.errors import InvalidInput
from dashboard.services.permissions import Permission
from dashboard.services.usage.duplicate_files import Keep
from dashboard.services.usage.prices import ESTIMATED, Price
from dashboard.services.usage.several_backends import SharedContent, SharedTotals
from dashboard.services.usage.usage_values import DuplicateGroup
from dashboard.storage.registry import PRESETS
from dashboard.web.api.files.catalogue_files import CataloguedFile, catalogued
from dashboard.web.api.files.changing_files import DeletionOutcomes, deletion_outcomes
from dashboard.web.api.routes import Resource
from dashboard.web.api.schemas import Field
from dashboard.web.context import actor, services

resource = Resource("Usage control", "Prices, requests by day, and deleting files with the same content.")

MAX_PAGE = 200


@dataclass(frozen=True, slots=True)
class PriceList:
    """Prices by the name of a provider. `downloads`: how much of what is stored is downloaded in a month, in
    percent. `estimated`: nobody has changed it, and the month that the estimates are of."""

    currency: str
    downloads: float
    prices: Mapping[str, Price]
    estimated: str | None


@dataclass(frozen=True, slots=True)
class PriceChange:
    """Prices to change; null: it has none. Providers that are left out stay as they are."""

    currency: Annotated[str | None, Field(maximum_length=8)] = None
    downloads: float | None = None
    prices: Annotated[Mapping[str, Price | None], Field(maximum_items=200)] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RequestQuery:
    """Over how many days, today included."""

    days: Annotated[int, Field(minimum=1, maximum=730)] = 30


@dataclass(frozen=True, slots=True)
class BackendRequests:
    """Requests to one backend, and those that failed, for each day."""

    backend: str
    requests: tuple[int, ...]
    errors: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RequestsByDay:
    """`days`: when each begins, in seconds since the epoch (UTC), the oldest first."""

    days: tuple[int, ...]
    backends: tuple[BackendRequests, ...]


@dataclass(frozen=True, slots=True)
class DuplicateQuery:
    """Which groups: the `offset` first ones are left out."""

    limit: Annotated[int, Field(minimum=1, maximum=MAX_PAGE)] = 50
    offset: Annotated[int, Field(minimum=0, maximum=10**6)] = 0
    backend: Annotated[str, Field(maximum_length=63)] = ""


@dataclass(frozen=True, slots=True)
class DuplicateGroups:
    """Groups of files with the same content, those that waste most first."""

    groups: tuple[DuplicateGroup, ...]


@dataclass(frozen=True, slots=True)
class SharedQuery:
    """Which contents: the `offset` first ones are left out."""

    limit: Annotated[int, Field(minimum=1, maximum=MAX_PAGE)] = 50
    offset: Annotated[int, Field(minimum=0, maximum=10**6)] = 0


@dataclass(frozen=True, slots=True)
class SharedContents:
    """Contents that several backends hold, those with most spare bytes first; `totals` is about all of them.
    `purpose` of copies: the backend is `active`, in the `fallback` order, an end of a `scheduled` copy, or
    `spare`: nothing that the console knows needs them."""

    totals: SharedTotals
    contents: tuple[SharedContent, ...]


@dataclass(frozen=True, slots=True)
class SharedContentDetails:
    """A content and its files at all backends."""

    content: SharedContent
    files: tuple[CataloguedFile, ...]


@dataclass(frozen=True, slots=True)
class DuplicateDetails:
    """A group and its files. `can_undo`: whether deleting them can be undone there."""

    group: DuplicateGroup
    files: tuple[CataloguedFile, ...]
    can_undo: bool


@dataclass(frozen=True, slots=True)
class DuplicateDeletion:
    """Which file is kept: its id, or a rule. `confirmed`: how many files are deleted; needed where it cannot
    be undone."""

    keep_id: int | None = None
    keep: Literal["oldest", "newest", "shortest"] | None = None
    confirmed: int | None = None


@dataclass(frozen=True, slots=True)
class DuplicatesDeleted:
    """The file that was kept, and what became of the others."""

    kept: CataloguedFile
    deleted: DeletionOutcomes


@resource.route("GET", "/usage/prices", Permission.READ_FILES, returns=PriceList)
def show_prices() -> PriceList:
    """Return the price table."""
    table = services().usage.prices.table()
    return PriceList(table.currency, table.downloads, table.prices, ESTIMATED if table.estimated else None)


@resource.route("PATCH", "/usage/prices", Permission.CONFIGURE, body=PriceChange, returns=PriceList)
def change_prices(body: PriceChange) -> PriceList:
    """Change prices.

    For a GB (10⁹ bytes), stored for a month and downloaded, and for 1,000 writes, listings and reads.
    """
    if unknown := sorted(set(body.prices).difference(PRESETS)):
        raise InvalidInput("prices", f"There is no provider “{unknown[0]}”.", remedy="See /providers.")
    prices = services().usage.prices
    table = prices.table()
    prices.save(
        actor(),
        currency=table.currency if body.currency is None else body.currency,
        downloads=table.downloads if body.downloads is None else body.downloads,
        prices=body.prices,
    )
    return show_prices()


@resource.route("DELETE", "/usage/prices", Permission.CONFIGURE, returns=PriceList)
def restore_prices() -> PriceList:
    """Go back to the estimates."""
    services().usage.prices.restore(actor())
    return show_prices()


@resource.route("GET", "/usage/requests", Permission.READ_FILES, query=RequestQuery, returns=RequestsByDay)
def requests(query: RequestQuery) -> RequestsByDay:
    """Return how many requests this console sent to each backend, and how many failed, day by day."""
    every = services().usage.reports.usage().backends
    found = services().backends.requests.by_day([each.id for each in every], query.days)
    return RequestsByDay(
        tuple(day * 86_400 for day in found.days),
        tuple(BackendRequests(each.name, found.requests[each.id], found.errors[each.id]) for each in every),
    )


@resource.route(
    "GET",
    "/usage/duplicates",
    Permission.READ_FILES,
    query=DuplicateQuery,
    returns=DuplicateGroups,
    errors={404: "There is no such backend."},
)
def duplicates(query: DuplicateQuery) -> DuplicateGroups:
    """List groups of files with the same content, by checksum, as they were last summed up."""
    if query.backend:
        services().backends.get(query.backend)
    reports = services().usage.reports
    return DuplicateGroups(reports.duplicates(limit=query.limit, offset=query.offset, backend=query.backend))


@resource.route("GET", "/usage/duplicates/<int:id>", Permission.READ_FILES, returns=DuplicateDetails)
def duplicate(id: int) -> DuplicateDetails:
    """Return one group with its files, at most 200."""
    room = services().usage.duplicates
    group = room.group(id)
    may = actor().may(Permission.WRITE_FILES)
    files = tuple(map(catalogued, room.files(group)))
    return DuplicateDetails(group, files, may and room.can_undo(actor(), group))


@resource.route(
    "POST",
    "/usage/duplicates/<int:id>/delete",
    Permission.WRITE_FILES,
    body=DuplicateDeletion,
    returns=DuplicatesDeleted,
    storage=True,
)
def delete_duplicates(id: int, body: DuplicateDeletion) -> DuplicatesDeleted:
    """Keep one file of a group and delete the others.

    Each is looked at first, the one that is kept included: if one is not what it was when its checksum was
    recorded, nothing is deleted.
    """
    if (body.keep_id is None) == (body.keep is None):
        raise InvalidInput("keep", "Send exactly one of keep_id and keep.")
    keep = Keep(body.keep) if body.keep is not None else body.keep_id
    assert keep is not None
    kept, deleted = services().usage.duplicates.delete(actor(), id, keep, confirmed=body.confirmed)
    return DuplicatesDeleted(catalogued(kept), deletion_outcomes(deleted))


@resource.route("GET", "/usage/shared", Permission.READ_FILES, query=SharedQuery, returns=SharedContents)
def shared(query: SharedQuery) -> SharedContents:
    """List what several backends hold, by SHA-256, as it was last summed up."""
    several = services().usage.several
    return SharedContents(several.totals(), several.contents(limit=query.limit, offset=query.offset))


@resource.route("GET", "/usage/shared/<int:id>", Permission.READ_FILES, returns=SharedContentDetails)
def shared_content(id: int) -> SharedContentDetails:
    """Return one of them with its files, at most 200."""
    several = services().usage.several
    content = several.get(id)
    found = services().catalogue.get_many(several.file_ids(content))
    return SharedContentDetails(content, tuple(map(catalogued, found.values())))
