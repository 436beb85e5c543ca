"""Health: the console's own parts, the runner, disks, and every backend over time."""

from __future__ import annotations

import sys
import time
from typing import Any

from flask import request, url_for
from werkzeug.wrappers import Response

from dashboard import __version__
from dashboard.services.backends.status import Badge
from dashboard.services.backends.values import Summary
from dashboard.services.history.history_values import WINDOWS
from dashboard.services.permissions import Permission
from dashboard.services.upkeep.readiness import Part
from dashboard.web.admin import drawn_charts as charts
from dashboard.web.admin.page import MenuItem, Page, route, see_other
from dashboard.web.context import actor, from_htmx, services

STARTED = time.time()
ROWS = 100
SECONDS = 15
CELL_NAMES = {"24h": "one bar for 15 minutes", "30d": "one bar for 8 hours", "90d": "one bar a day"}


class HealthPage(Page):
    """``/health``"""

    path = "/health"
    endpoint_name = "health_page"
    menu_item = MenuItem("Health", "health")

    @route("", Permission.VIEW, read_together=True)
    def index(self) -> str:
        """The page."""
        return str(self.render("admin/health/page.html", **_facts()))

    @route("/live", Permission.VIEW, read_together=True)
    def live(self) -> str:
        """The part of the page that changes."""
        return str(self.render("admin/health/live.html", **_facts()))

    @route("/check", Permission.TEST, methods=("POST",))
    def check(self) -> Response:
        """Check and count every backend in the background."""
        services().backends.refresh(actor(), None)
        return see_other(url_for("health_page.live" if from_htmx() else "health_page.index"))


def _facts() -> dict[str, Any]:
    window = request.args.get("window", "90d")
    window = window if window in WINDOWS else "90d"
    backends = services().backends.list(limit=ROWS)
    past = services().history.uptime([backend.id for backend in backends], window)
    summary, parts = services().backends.summary(), services().readiness.parts()
    down = [backend for backend in summary.worst if backend.status.badge is Badge.DOWN]
    return {
        "verdict": verdict(summary, parts, [backend.name for backend in down]),
        "parts": {part.name: part for part in parts},
        "version": __version__,
        "python": sys.version.split()[0],
        "running": time.time() - STARTED,
        "databases": services().upkeep.databases(),
        "backup_at": services().upkeep.backup_at(),
        "backup_due": services().upkeep.backup_due_since() is not None,
        "key_since": services().upkeep.key_since(),
        "heartbeat": services().runner.heartbeat(),
        "alive": services().runner.is_alive(),
        "jobs": [job for job in services().jobs.list(limit=50) if job.state in ("running", "queued")],
        "names": {backend.id: backend.name for backend in backends},
        "disks": services().upkeep.disks(backends),
        "rows": [(backend, past[backend.id], _strip(past[backend.id])) for backend in backends],
        "count": summary.count,
        "window": window,
        "cell": CELL_NAMES[window],
        "checked": time.time(),
        "seconds": SECONDS,
    }


def _strip(uptime: Any) -> charts.Small:
    failed = f"{uptime.failed:,} failed" if uptime.failed else "none failed"
    return charts.strip(uptime.cells, f"{uptime.checks:,} checks, {failed}, {uptime.slow:,} slow")


def verdict(summary: Summary, parts: tuple[Part, ...], down: list[str]) -> tuple[str, str, str]:
    """Tone, one sentence, and what it means. Trouble in a part is not trouble everywhere."""
    broken = [part for part in parts if not part.ready]
    if broken:
        stops = any(part.name in ("database", "key", "disk") for part in broken)
        sentence = " and ".join(f"the {part.name} is {part.word}" for part in broken)
        text = " ".join(part.text for part in broken if part.text)
        return "bad" if stops else "warn", f"{sentence[:1].upper()}{sentence[1:]}.", text
    if down:
        all_down = len(down) >= summary.count
        which = "All backends are" if all_down else f"Working, with {len(down)} of {summary.count} backends"
        active = summary.active in down
        text = (
            f"New files cannot be stored: {summary.active} is the active backend."
            if active
            else "New files are stored; the files of the others can be read."
        )
        return "bad" if active or all_down else "warn", f"{which} down: {', '.join(down[:5])}.", text
    if summary.failing:
        count = f"{summary.failing} of {summary.count} backends"
        return "warn", f"Working, but {count} need attention.", "They are marked below."
    return "ok", "Everything works.", "Every backend passed its checks."


__all__ = ["HealthPage", "verdict"]
