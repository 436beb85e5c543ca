"""The overview: trouble first, then the backends, then what is running."""

from __future__ import annotations

from typing import Any

from dashboard.migration.types import Progress
from dashboard.services.backends import BackendInfo
from dashboard.services.permissions import Permission
from dashboard.web.admin.figures import by_bytes, by_objects, word, working
from dashboard.web.admin.frame import Entry, Page, route
from dashboard.web.admin.recent import all_backends, recent_migrations
from dashboard.web.admin.troubles import troubles
from dashboard.web.context import services

BUSY_SECONDS, IDLE_SECONDS = 2, 15


class Overview(Page):
    """``/``"""

    at = "/"
    known_as = "overview"
    entry = Entry("Overview", "overview")

    @route("/", Permission.VIEW)
    def index(self) -> str:
        """The page."""
        return self._render("admin/overview.html")

    @route("/overview/live", Permission.VIEW)
    def live(self) -> str:
        """The part of the page that changes."""
        return self._render("admin/overview_live.html")

    def _render(self, template: str) -> str:
        backends = all_backends()
        migrations = recent_migrations()
        return str(self.render(template, **_facts(backends, migrations)))


def _facts(backends: tuple[BackendInfo, ...], migrations: tuple[Progress, ...]) -> dict[str, Any]:
    running = [p for p in migrations if not p.state.final]
    busy = any(working(p) for p in running) or any(b.status.counting for b in backends)
    # A backend that was just added is checked at once: its badge should not wait for the slow beat.
    busy = busy or any(b.status.badge == "unknown" for b in backends)
    in_order = sorted(
        (b for b in backends if b.fallback_position is not None and not b.active),
        key=lambda b: b.fallback_position or 0,
    )
    return {
        "backends": sorted(backends, key=lambda b: not b.active),
        "newest": max((b for b in backends if not b.active), key=lambda b: b.id, default=None),
        "active": next((b for b in backends if b.active), None),
        "fallback": in_order,
        "running": running,
        "troubles": troubles(
            backends,
            migrations,
            runner_alive=services().runner.alive(),
            away=services().homecoming.summary(),
        ),
        "checklist": services().status.checklist(),
        "seconds": BUSY_SECONDS if busy else IDLE_SECONDS,
        "word": word,
        "by_bytes": by_bytes,
        "by_objects": by_objects,
    }
