"""The overview: what needs attention, what is running, the backends, what they hold, recent migrations."""

from __future__ import annotations

from typing import Any

from flask import request, session, url_for
from werkzeug.wrappers import Response

from dashboard.migration.types import Progress, State
from dashboard.services.attention.causes import Cause, CauseKind, causes
from dashboard.services.attention.causes import Page as CausePage
from dashboard.services.backends.values import BackendInfo
from dashboard.services.history.history_values import Totals
from dashboard.services.permissions import Permission
from dashboard.web.admin import drawn_charts as charts
from dashboard.web.admin.page import MenuItem, Page, route, see_other
from dashboard.web.admin.progress_view import badge, by_bytes, by_objects, is_active
from dashboard.web.chart_scales import BYTES
from dashboard.web.charts import Series, Small
from dashboard.web.context import can, from_htmx, services
from dashboard.web.language.translating import gettext

BUSY_SECONDS, IDLE_SECONDS = 2, 15
CARDS = 30
"""Backends shown here; the list of backends shows all of them."""
PERIODS = {"30": "30 d", "90": "90 d", "365": "1 y"}
MAX_RECENT = 20
"""Migrations older than this many are neither running nor of interest."""
RECENT = 5
SHOWN = 4
"""Causes before “3 more”."""
MAX_DISMISSED = 30
"""Dismissed rows that a browser remembers; then the oldest is shown again."""

_PAGES = {
    CausePage.BACKENDS: "backends.index",
    CausePage.KEYS: "keys.index",
    CausePage.BACKUPS: "backups.index",
    CausePage.HEALTH: "health_page.index",
}
_NUMBERED = {CausePage.MIGRATION: "migrations.show", CausePage.COPY: "scheduled_copies.show"}
_DISMISSED = "dismissed"
_DAY = 86_400


class Overview(Page):
    """``/``"""

    path = "/"
    endpoint_name = "overview"
    menu_item = MenuItem("Overview", "overview")

    @route("/", Permission.VIEW, read_together=True)
    def index(self) -> str:
        """The page."""
        return self._render("admin/overview/page.html")

    @route("/overview/live", Permission.VIEW, read_together=True)
    def live(self) -> str:
        """The part of the page that changes."""
        return self._render("admin/overview/live.html")

    @route("/overview/dismiss", Permission.VIEW, methods=("POST",))
    def dismiss(self) -> Response:
        """Hide a row in this browser until it says something else."""
        mark = request.form.get("mark", "")
        known = [each for each in _dismissed() if each != mark]
        session[_DISMISSED] = [*known, mark[:12]][-MAX_DISMISSED:]
        return self._back()

    @route("/overview/show-dismissed", Permission.VIEW, methods=("POST",))
    def show_dismissed(self) -> Response:
        """Show all rows again."""
        session.pop(_DISMISSED, None)
        return self._back()

    def _back(self) -> Response:
        return see_other(url_for("overview.live" if from_htmx() else "overview.index"))

    def _render(self, template: str) -> str:
        return str(self.render(template, **_facts(services().migrations.list(limit=MAX_RECENT))))


def _dismissed() -> list[str]:
    known = session.get(_DISMISSED)
    return [each for each in known if isinstance(each, str)] if isinstance(known, list) else []


def _url_of(cause: Cause) -> str:
    match cause.page:
        case CausePage.BACKEND if cause.kind in (CauseKind.BACKEND_DOWN, CauseKind.BACKEND_IMPAIRED):
            return url_for("backends.show", name=cause.subject, _anchor="test")
        case CausePage.BACKEND:
            return url_for("backends.show", name=cause.subject)
        case CausePage.MIGRATION | CausePage.COPY:
            return url_for(_NUMBERED[cause.page], id=cause.subject)
        case CausePage.DISKS:
            return url_for("overview.index", _anchor="disks")
        case CausePage.AUDIT:
            return url_for("audit.index", action="sign_in", period="1")
        case _:
            return url_for(_PAGES[cause.page])


def _facts(migrations: tuple[Progress, ...]) -> dict[str, Any]:
    summary = services().backends.summary()
    backends = services().backends.list(limit=CARDS)
    running = [p for p in migrations if is_active(p) or p.state is State.PAUSED]
    month = services().history.totals(30)
    facts = services().notifications.attention.facts(
        summary,
        backends,
        migrations,
        runner_alive=services().runner.is_alive(),
        per_day=_per_day(backends, month),
    )
    every = tuple(each for each in causes(facts) if each.page is not CausePage.AUDIT or can("audit"))
    hidden = set(_dismissed())
    shown = [cause for cause in every if cause.mark not in hidden]
    return {
        "backends": backends,
        "summary": summary,
        "healthy": summary.count - summary.failing,
        "running": running,
        "plans": [p for p in migrations if p.state is State.READY and not p.stopping],
        "recent": [p for p in migrations if p.state.final][:RECENT],
        "counting": [backend for backend in backends if backend.status.counting],
        "causes": shown,
        "url_of": _url_of,
        "first": shown[:SHOWN],
        "more": shown[SHOWN:],
        "dismissed": len(every) - len(shown),
        "sparks": _sparks(backends, month),
        "disks": facts.disks,
        "checklist": services().status.checklist(),
        # Not for ever: the first check of a backend may never come.
        "seconds": BUSY_SECONDS if summary.busy or any(map(is_active, running)) else IDLE_SECONDS,
        "badge": badge,
        "by_bytes": by_bytes,
        "by_objects": by_objects,
        **_stored(backends),
    }


def _stored(backends: tuple[BackendInfo, ...]) -> dict[str, Any]:
    """What all backends hold, whose it is, and how that grew over the period in the address."""
    period = request.args.get("days", "90")
    period = period if period in PERIODS else "90"
    totals = services().history.totals(int(period))
    counted = [backend for backend in backends if backend.status.bytes is not None]
    largest = sorted(counted, key=lambda backend: -(backend.status.bytes or 0))
    bar, parts = charts.shares([(backend.name, backend.status.bytes) for backend in largest], BYTES)
    return {
        "stored_bytes": sum(backend.status.bytes or 0 for backend in counted),
        "stored_objects": sum(backend.status.objects or 0 for backend in counted),
        "counted": len(counted),
        "shares_bar": bar,
        "shares_parts": parts,
        "period": period,
        "periods": PERIODS,
        "growth": charts.line(
            [Series("Stored in total", totals.sum_of(totals.bytes))],
            totals.times,
            BYTES,
            now=gettext("today"),
        ),
        "grown": totals.growth(totals.bytes),
        "grown_days": _days(totals),
    }


def _days(totals: Totals) -> int:
    since = totals.counted_since
    return round((totals.times[-1] - since) / _DAY) if since is not None else 0


def _per_day(backends: tuple[BackendInfo, ...], month: Totals) -> dict[str, float]:
    days = max(_days(month), 1)
    rows = {backend.name: month.bytes[backend.id] for backend in backends if backend.id in month.bytes}
    return {name: Totals.growth({0: row}) / days for name, row in rows.items()}


def _sparks(backends: tuple[BackendInfo, ...], month: Totals) -> dict[int, Small | None]:
    return {
        backend.id: charts.spark(
            month.bytes.get(backend.id, ()), f"Stored size of {backend.name} over 30 days"
        )
        for backend in backends
    }
