"""The overview: trouble first, then the backends, then what is running."""

from __future__ import annotations

from typing import Any

from dashboard.migration.types import Progress
from dashboard.services.permissions import Permission
from dashboard.web.admin.figures import by_bytes, by_objects, word, working
from dashboard.web.admin.frame import Entry, Page, route
from dashboard.web.admin.recent import recent_migrations
from dashboard.web.admin.troubles import troubles
from dashboard.web.context import services

BUSY_SECONDS, IDLE_SECONDS = 2, 15
CARDS = 30
"""Backends that are shown; the others are in the list of backends."""


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
        return str(self.render(template, **_facts(recent_migrations())))


def _facts(migrations: tuple[Progress, ...]) -> dict[str, Any]:
    summary = services().backends.summary()
    running = [p for p in migrations if not p.state.final]
    # A backend that was just added is checked at once: its badge should not wait for the slow beat.
    busy = summary.busy or any(working(p) for p in running)
    return {
        "backends": services().backends.list(limit=CARDS),
        "summary": summary,
        "running": running,
        "troubles": troubles(
            summary,
            migrations,
            runner_alive=services().runner.alive(),
            away=services().write_back.summary(),
        ),
        "checklist": services().status.checklist(),
        "seconds": BUSY_SECONDS if busy else IDLE_SECONDS,
        "word": word,
        "by_bytes": by_bytes,
        "by_objects": by_objects,
    }
