"""The audit log: sentences, newest first, with filters; its chain, its export, and how long it is kept."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from flask import request, url_for
from werkzeug.wrappers import Response

from dashboard.errors import InvalidInput
from dashboard.services.audit import AuditFilter
from dashboard.services.auditing.audit_rows import MAX_COUNTED
from dashboard.services.auditing.exporting import csv_lines, json_lines
from dashboard.services.auditing.retention import CHOICES
from dashboard.services.auditing.sentences.tell import AREAS
from dashboard.services.permissions import Permission
from dashboard.web.admin.audit.log_view import Entry, by_day
from dashboard.web.admin.page import MenuItem, Page, flash_done, route, see_other
from dashboard.web.context import actor, services
from dashboard.web.downloads import long_download
from dashboard.web.language import choice
from dashboard.web.local_time import day_starts_at
from dashboard.web.numbers import parse_integer

PAGE = 50
DAY = 86_400
PERIODS = {
    "1": "Last 24 hours",
    "7": "Last 7 days",
    "30": "Last 30 days",
    "365": "Last year",
    "all": "All time",
}
DEFAULT_PERIOD = "30"
MAX_FIELD = 200


class AuditPages(Page):
    """``/audit``"""

    path = "/audit"
    endpoint_name = "audit"
    menu_item = MenuItem("Audit", "audit")
    menu_permission = Permission.AUDIT

    @route("", Permission.AUDIT, read_together=True)
    def index(self) -> str:
        """One page of the log; ``open`` is the number of the entry whose details are shown."""
        log, wanted, chosen = services().audit, _filter(), _chosen()
        before = parse_integer(request.args, "before")
        rows = log.rows(before_id=before, limit=PAGE + 1, matching=wanted)
        shown = rows[:PAGE]
        # A search that finds little has looked at every entry already.
        count = len(rows) if before is None and len(rows) <= PAGE else log.count(wanted)
        opened = parse_integer(request.args, "open")
        return str(
            self.render(
                "admin/audit/log.html",
                days=by_day([Entry(row, opened=row.id == opened) for row in shown]),
                older=shown[-1].id if len(rows) > PAGE else None,
                before=before,
                count=min(count, MAX_COUNTED),
                more=count > MAX_COUNTED,
                chosen=chosen,
                kept={name: value for name, value in chosen.items() if value},
                filtered=bool(wanted),
                areas=AREAS,
                periods=PERIODS,
                people=log.people(),
                checked=log.last_verification(),
                zone=choice.zone_name(),
                browser_zone=choice.shows_browser_time(),
                retention=log.retention.days(),
                choices=CHOICES,
            )
        )

    @route("/verify", Permission.AUDIT, methods=("POST",))
    def verify(self) -> Response:
        """Check the chain: at once, or by the runner if it is long."""
        result = services().audit.verify_soon(actor())
        if result is None:
            flash_done("The chain is being checked. Reload this page in a moment.")
        return see_other(url_for("audit.index", _anchor="chain"))

    @route("/retention", Permission.CONFIGURE, methods=("POST",))
    def retention(self) -> Response:
        """Change how long entries are kept."""
        days = parse_integer(request.form, "days")
        if days is None:
            raise InvalidInput("days", "Choose how long entries are kept.")
        services().audit.retention.keep(actor(), days)
        flash_done("Entries are kept for ever." if not days else f"Entries are kept for {days:,} days.")
        return see_other(url_for("audit.index"))

    @route("/export.csv", Permission.AUDIT)
    def export_csv(self) -> Response:
        """What the filters find, oldest first, for a spreadsheet."""
        lines = csv_lines(services().audit.stream(_filter()))
        return long_download(actor().name, lines, "stowage-audit.csv", "text/csv; charset=utf-8")

    @route("/export.jsonl", Permission.AUDIT)
    def export_json_lines(self) -> Response:
        """What the filters find, oldest first, a JSON document a line."""
        lines = json_lines(services().audit.stream(_filter()))
        return long_download(actor().name, lines, "stowage-audit.jsonl", "application/jsonl")


def _chosen() -> Mapping[str, str]:
    names = ("q", "actor", "action", "thing", "period", "since", "until")
    chosen = {name: request.args.get(name, "").strip()[:MAX_FIELD] for name in names}
    if chosen["period"] not in PERIODS:
        chosen["period"] = "all" if chosen["since"] or chosen["until"] else DEFAULT_PERIOD
    return chosen


def _filter() -> AuditFilter:
    chosen: Mapping[str, Any] = _chosen()
    since, until = day_starts_at(chosen["since"]), day_starts_at(chosen["until"], days=1)
    if since is None and chosen["period"] != "all":
        since = time.time() - int(chosen["period"]) * DAY
    return AuditFilter(chosen["action"], chosen["actor"], chosen["thing"], chosen["q"], since, until)
