"""The overview: notices first, then the backends, then running migrations."""

from __future__ import annotations

from typing import Any

from dashboard.migration.types import Progress
from dashboard.services.permissions import Permission
from dashboard.web.admin.notices import notices
from dashboard.web.admin.page import MenuItem, Page, route
from dashboard.web.admin.progress_view import badge, by_bytes, by_objects, is_active
from dashboard.web.admin.recent import recent_migrations
from dashboard.web.context import services

BUSY_SECONDS, IDLE_SECONDS = 2, 15
CARDS = 30
"""Backends shown here; the list of backends shows all of them."""


class Overview(Page):
    """``/``"""

    path = "/"
    endpoint_name = "overview"
    menu_item = MenuItem("Overview", "overview")

    @route("/", Permission.VIEW)
    def index(self) -> str:
        """The page."""
        return self._render("admin/overview.html")

    @route("/overview/live", Permission.VIEW)
    def live(self) -> str:
        """The part of the page that changes."""
        return self._render("admin/overview_live.html")

    def _render(self, template: str) -> str:
        return str(self.render(template, **_facts(recent_migrations())))


def _facts(migrations: tuple[Progress, ...]) -> dict[str, Any]:
    summary = services().backends.summary()
    running = [p for p in migrations if not p.state.final]
    # A backend that was just added is checked at once; poll fast, so that its badge appears soon.
    busy = summary.busy or any(is_active(p) for p in running)
    return {
        "backends": services().backends.list(limit=CARDS),
        "summary": summary,
        "running": running,
        "notices": notices(
            summary,
            migrations,
            runner_alive=services().runner.is_alive(),
            backlogs=services().write_back.summary(),
            fallback_reads=services().serving.fallback_reads.recent(),
        ),
        "checklist": services().status.checklist(),
        "seconds": BUSY_SECONDS if busy else IDLE_SECONDS,
        "badge": badge,
        "by_bytes": by_bytes,
        "by_objects": by_objects,
    }
