"""Usage: how much is stored, of what, how it grew, what it costs, and what could be deleted."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from flask import request, url_for
from werkzeug.wrappers import Response

from dashboard.errors import InvalidInput
from dashboard.services.history.history_values import Totals
from dashboard.services.permissions import Permission
from dashboard.services.usage.duplicate_files import Keep
from dashboard.services.usage.prices import ESTIMATED
from dashboard.services.usage.several_backends import Purpose
from dashboard.services.usage.usage_values import Slice, Usage
from dashboard.storage.registry import label_of
from dashboard.web.admin import drawn_charts as charts
from dashboard.web.admin.files.browser_view import to_token
from dashboard.web.admin.files.file_selection import Undo, report
from dashboard.web.admin.page import MenuItem, Page, route, see_other
from dashboard.web.chart_scales import BYTES, OBJECTS
from dashboard.web.charts import Series
from dashboard.web.context import actor, services
from dashboard.web.downloads import attachment
from dashboard.web.language import localized
from dashboard.web.language.translating import gettext
from dashboard.web.numbers import parse_integer

PERIODS = {"30": "30 d", "90": "90 d", "365": "1 y"}
PAGE = 50
KINDS = {
    "image": "Images",
    "video": "Video",
    "audio": "Audio",
    "document": "Documents",
    "text": "Text, data",
    "archive": "Archives",
    "other": "Other",
}
PURPOSES = {
    Purpose.ACTIVE: "Active backend",
    Purpose.FALLBACK: "Fallback order",
    Purpose.SCHEDULED: "Scheduled copy",
    Purpose.SPARE: "Spare",
}
YESTERDAY = 86_400


class UsagePages(Page):
    """``/usage``"""

    path = "/usage"
    endpoint_name = "usage"
    menu_item = MenuItem("Usage", "usage")
    menu_permission = Permission.READ_FILES

    @route("", Permission.READ_FILES, read_together=True)
    def index(self) -> str:
        """Everything at a glance."""
        room = services().usage
        usage, table = room.reports.usage(), room.prices.table()
        days = request.args.get("days", "")
        days = days if days in PERIODS else "30"
        measure = "objects" if request.args.get("measure") == "objects" else "size"
        totals = services().status.history.totals(int(days))
        costs = room.prices.costs(room.reports.usage)
        known = [cost.total for cost in costs if cost.total is not None]
        return str(
            self.render(
                "admin/usage/usage.html",
                usage=usage,
                days=days,
                periods=PERIODS,
                measure=measure,
                growth=Totals.growth(totals.bytes),
                over_time=_over_time(usage, totals, measure),
                **_breakdowns(usage),
                table=table,
                estimated=localized.month(datetime.strptime(ESTIMATED, "%B %Y")),  # noqa: DTZ007  # no day
                costs=costs,
                total_cost=sum(known) if known else None,
                requests=_requests(usage, int(days)),
                label_of=label_of,
                file_url=_file_url,
                old=[each.name for each in usage.backends if _is_old(each.counted_at)],
                uncounted=[each.name for each in usage.backends if each.counted_at is None],
                counted=_counted(usage),
            )
        )

    @route("/export.csv", Permission.READ_FILES)
    def export(self) -> Response:
        """The same figures for a spreadsheet."""
        room = services().usage
        lines = list(room.reports.csv_lines(room.prices.table()))
        return attachment("".join(lines), "stowage-usage.csv", "text/csv; charset=utf-8")

    @route("/duplicates", Permission.READ_FILES, read_together=True)
    def duplicates(self) -> str:
        """Groups of files with the same content, those that waste most first."""
        offset = parse_integer(request.args, "after") or 0
        reports = services().usage.reports
        groups = reports.duplicates(limit=PAGE + 1, offset=offset)
        return str(
            self.render(
                "admin/usage/duplicates.html",
                groups=groups[:PAGE],
                further=offset + PAGE if len(groups) > PAGE else None,
                offset=offset,
                usage=reports.usage(),
            )
        )

    @route("/shared", Permission.READ_FILES)
    def shared(self) -> str:
        """What several backends hold: on purpose, or for nothing."""
        offset = parse_integer(request.args, "after") or 0
        several = services().usage.several
        contents = several.contents(limit=PAGE + 1, offset=offset)
        return str(
            self.render(
                "admin/usage/shared.html",
                contents=contents[:PAGE],
                further=offset + PAGE if len(contents) > PAGE else None,
                offset=offset,
                totals=several.totals(),
                purposes=PURPOSES,
            )
        )

    @route("/shared/<int:id>", Permission.READ_FILES)
    def shared_content(self, id: int) -> str:
        """The files of one of them."""
        several = services().usage.several
        content = several.get(id)
        found = services().catalogue.get_many(several.file_ids(content))
        return str(
            self.render(
                "admin/usage/shared_content.html",
                content=content,
                files=tuple(found.values()),
                purpose_of={each.backend: each.purpose for each in content.copies},
                purposes=PURPOSES,
                file_url=_file_url,
            )
        )

    @route("/duplicates/<int:id>", Permission.READ_FILES)
    def group(self, id: int) -> str:
        """The files of one group, and which one to keep."""
        room = services().usage.duplicates
        group = room.group(id)
        return str(
            self.render(
                "admin/usage/duplicate_group.html",
                group=group,
                files=room.files(group),
                undoable=room.can_undo(actor(), group) if actor().may(Permission.WRITE_FILES) else None,
                file_url=_file_url,
            )
        )

    @route("/duplicates/<int:id>/delete", Permission.WRITE_FILES, methods=("POST",))
    def delete(self, id: int) -> Response:
        """Keep one file of a group and delete the others."""
        chosen = request.form.get("keep", "")
        keep: Keep | int
        if chosen in list(Keep):
            keep = Keep(chosen)
        elif chosen.isascii() and chosen.isdigit():
            keep = int(chosen[:18])
        else:
            raise InvalidInput("keep", "Choose the file that is kept.")
        kept, deleted = services().usage.duplicates.delete(
            actor(), id, keep, confirmed=parse_integer(request.form, "confirmed")
        )
        undo = None
        if deleted.undo_id:
            undo = Undo(url_for("file_changes.undo", name=kept.backend), {"undo": deleted.undo_id})
        report(deleted.outcomes, "deleted", undo=undo)
        return see_other(url_for("usage.duplicates"))


def _over_time(usage: Usage, totals: Totals, measure: str) -> charts.Chart:
    rows, unit = (totals.objects, OBJECTS) if measure == "objects" else (totals.bytes, BYTES)
    ordered = sorted(usage.backends, key=lambda each: -(each.bytes or 0))
    series = [
        Series(each.name, rows[each.id], number % charts.COLORS + 1)
        for number, each in enumerate(ordered)
        if each.id in rows
    ]
    return charts.stacked(series, totals.times, unit, now=gettext("today"))


def _requests(usage: Usage, days: int) -> dict[str, charts.Chart]:
    """Requests and errors of each day, as charts."""
    found = services().backends.requests.by_day([each.id for each in usage.backends], days)
    times = [day * YESTERDAY for day in found.days]
    busiest = sorted(usage.backends, key=lambda each: -sum(found.requests[each.id]))

    def stacked(counts: Mapping[int, Sequence[int]]) -> charts.Chart:
        series = [
            Series(each.name, counts[each.id], number % charts.COLORS + 1)
            for number, each in enumerate(busiest)
            if any(counts[each.id])
        ]
        return charts.stacked(series, times, OBJECTS, now=gettext("today"))

    return {"requests": stacked(found.requests), "errors": stacked(found.errors)}


def _breakdowns(usage: Usage) -> dict[str, Any]:
    def columns(name: str, slices: tuple[Slice, ...], measure: str) -> charts.Chart:
        values = [each.files if measure == "files" else each.bytes for each in slices]
        unit = OBJECTS if measure == "files" else BYTES
        return charts.columns(Series(name, values), [each.name for each in slices], unit)

    return {
        "kinds": charts.bars([(KINDS.get(each.name, each.name), each.bytes) for each in usage.kinds], BYTES),
        "sizes": columns("Objects by size", usage.sizes, "files"),
        "ages": columns("Size by age", usage.ages, "bytes"),
    }


def _counted(usage: Usage) -> tuple[float, float] | None:
    times = [each.counted_at for each in usage.backends if each.counted_at and not _is_old(each.counted_at)]
    return (max(times), min(times)) if times else None


def _is_old(at: float | None) -> bool:
    return at is not None and time.time() - at > YESTERDAY


def _file_url(backend: str, key: str) -> str:
    return url_for("browse.file", name=backend, key=to_token(key))
