"""Workers: which processes run jobs and copy objects, on what, since when, and how fast."""

from __future__ import annotations

from typing import Any

from dashboard.services.permissions import Permission
from dashboard.web.admin.page import Page, route
from dashboard.web.context import services

SECONDS = 5
NAMES = 200
"""Backends whose names are looked up for their jobs."""


class WorkersPage(Page):
    """``/health/workers``"""

    path = "/health/workers"
    endpoint_name = "workers"
    menu_parent = "Health"

    @route("", Permission.VIEW)
    def index(self) -> str:
        """The page."""
        return str(self.render("admin/health/workers.html", **_facts()))

    @route("/live", Permission.VIEW)
    def live(self) -> str:
        """The part of the page that changes."""
        return str(self.render("admin/health/workers_live.html", **_facts()))


def _facts() -> dict[str, Any]:
    processes = services().working.list()
    return {
        "processes": processes,
        "count": sum(each.is_available for each in processes),
        "rate": sum(each.rate for each in processes),
        "names": {each.id: each.name for each in services().backends.list(limit=NAMES)},
        "seconds": SECONDS,
    }


__all__ = ["WorkersPage"]
