"""The audit log: verifying its chain, how long entries are kept, and its exports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from werkzeug.wrappers import Response

from dashboard.services.audit import AuditFilter
from dashboard.services.auditing.exporting import csv_lines, json_lines
from dashboard.services.auditing.verifying import Verification
from dashboard.services.permissions import Permission
from dashboard.web.api.routes import Content, Reply, Resource
from dashboard.web.api.schemas import Field
from dashboard.web.context import actor, services
from dashboard.web.downloads import long_download

resource = Resource("Audit log", "Verifying the chain of the audit log, its retention and its exports.")


@dataclass(frozen=True, slots=True)
class ChainState:
    """What the last check of the chain found; null before the first."""

    verification: Verification | None


@dataclass(frozen=True, slots=True)
class AuditRetention:
    """For how many days entries are kept; 0: for ever."""

    days: Annotated[int, Field(minimum=0)]


@dataclass(frozen=True, slots=True)
class AuditSelection:
    """Which entries are exported; without any filter all of them."""

    action: str = ""
    actor: str = ""
    thing: str = ""
    text: str = ""
    since: Annotated[float | None, Field("Seconds since the epoch.")] = None
    until: Annotated[float | None, Field("Seconds since the epoch, excluded.")] = None

    def filter(self) -> AuditFilter:
        """The same for the service."""
        return AuditFilter(self.action, self.actor, self.thing, self.text, self.since, self.until)


@resource.route("GET", "/audit/chain", Permission.AUDIT, returns=ChainState)
def chain() -> ChainState:
    """Return what the last check of the chain found."""
    return ChainState(services().audit.last_verification())


@resource.route(
    "POST",
    "/audit/verify",
    Permission.AUDIT,
    returns=ChainState,
    also={202: "The log is long: the runner checks it; look at `/audit/chain` later."},
)
def verify() -> Reply:
    """Check the chain of the audit log: that nobody changed, removed, added or reordered entries."""
    result = services().audit.verify_soon(actor())
    if result is None:
        return Reply(chain(), 202)
    return Reply(ChainState(result))


@resource.route("GET", "/audit/retention", Permission.AUDIT, returns=AuditRetention)
def retention() -> AuditRetention:
    """Return for how long entries are kept."""
    return AuditRetention(services().audit.retention.days())


@resource.route("PUT", "/audit/retention", Permission.CONFIGURE, body=AuditRetention, returns=AuditRetention)
def keep(body: AuditRetention) -> AuditRetention:
    """Change for how long entries are kept.

    Nothing is removed before the next check that finds the chain whole.
    """
    services().audit.retention.keep(actor(), body.days)
    return retention()


@resource.route(
    "GET",
    "/audit.csv",
    Permission.AUDIT,
    query=AuditSelection,
    returns=Content("text/csv", "A line for each entry, oldest first, safe to open in a spreadsheet."),
)
def export_csv(query: AuditSelection) -> Response:
    """Return entries as CSV."""
    lines = csv_lines(services().audit.stream(query.filter()))
    return long_download(actor().name, lines, "stowage-audit.csv", "text/csv; charset=utf-8")


@resource.route(
    "GET",
    "/audit.jsonl",
    Permission.AUDIT,
    query=AuditSelection,
    returns=Content("application/jsonl", "A JSON document for each entry, oldest first."),
)
def export_json_lines(query: AuditSelection) -> Response:
    """Return entries as JSON Lines."""
    lines = json_lines(services().audit.stream(query.filter()))
    return long_download(actor().name, lines, "stowage-audit.jsonl", "application/jsonl")
