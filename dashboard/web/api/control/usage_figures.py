"""How storage is used: figures of the last counts, and what the catalogue knows of files."""

from __future__ import annotations

from dataclasses import dataclass

from werkzeug.wrappers import Response

from dashboard.services.permissions import Permission
from dashboard.services.usage.prices import cost_of
from dashboard.services.usage.usage_values import Usage
from dashboard.web.api.routes import Content, Resource
from dashboard.web.context import services
from dashboard.web.downloads import attachment

resource = Resource("Usage", "How much is stored, of what, what is in duplicates, and what it costs.")


@dataclass(frozen=True, slots=True)
class MonthlyCost:
    """What a month of a backend costs at the price table; null without a price. `elsewhere`: the cheapest
    others, each with its provider and amount."""

    backend: str
    storage: float | None
    download: float | None
    requests: float | None
    elsewhere: tuple[PriceElsewhere, ...]


@dataclass(frozen=True, slots=True)
class PriceElsewhere:
    """What the same would cost at another provider."""

    preset: str
    amount: float


@dataclass(frozen=True, slots=True)
class UsageDetails:
    """Everything that the Usage page shows, without the past."""

    usage: Usage
    costs: tuple[MonthlyCost, ...]
    currency: str


@resource.route("GET", "/usage", Permission.READ_FILES, returns=UsageDetails)
def usage() -> UsageDetails:
    """Return how storage is used.

    `objects` and `bytes` of a backend are those of its last count. Kinds, sizes, ages and duplicates are
    about its files in the catalogue, and are summed up after each count. `traffic` is what this console sent
    to a backend in the last 30 days: reads, writes, listings and deletions, their bytes, and errors by kind.
    """
    room = services().usage
    found, table = room.reports.usage(), room.prices.table()
    costs = []
    for each in found.backends:
        cost = cost_of(each, table)
        elsewhere = tuple(PriceElsewhere(preset, amount) for preset, amount in cost.elsewhere)
        costs.append(MonthlyCost(cost.backend, cost.storage, cost.download, cost.requests, elsewhere))
    return UsageDetails(found, tuple(costs), table.currency)


@resource.route(
    "GET",
    "/usage.csv",
    Permission.READ_FILES,
    returns=Content("text/csv", "A line for each figure, with a header; safe to open in a spreadsheet."),
)
def usage_csv() -> Response:
    """Return the same figures as CSV."""
    room = services().usage
    lines = "".join(room.reports.csv_lines(room.prices.table()))
    return attachment(lines, "stowage-usage.csv", "text/csv; charset=utf-8")
