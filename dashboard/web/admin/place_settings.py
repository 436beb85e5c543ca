"""“Check settings”: what is found of a backend's bucket, each with its remedy and perhaps a button."""

from __future__ import annotations

from flask import request

from dashboard.errors import StowageError
from dashboard.services.permissions import Permission
from dashboard.web.admin.frame import Page, route
from dashboard.web.context import actor, from_htmx, services


class PlaceSettingsPages(Page):
    """``/backend/<name>/settings``"""

    at = "/"
    known_as = "place_settings"
    under = "Backends"
    first = "show"

    @route("/backend/<name>/settings", Permission.VIEW)
    def show(self, name: str) -> str:
        """The panel, before anything was asked."""
        return self._panel(name, "")

    @route("/backend/<name>/settings", Permission.TEST, methods=("POST",))
    def look(self, name: str) -> str:
        """What is found just now; the provider is asked, and nothing changed."""
        return self._panel(name, request.form.get("origin", ""), asked=True)

    @route("/backend/<name>/settings/fix", Permission.CONFIGURE, methods=("POST",))
    def fix(self, name: str) -> str:
        """Mend one finding and look again."""
        origin = request.form.get("origin", "")
        services().place_settings.fix(actor(), name, request.form.get("finding", ""), origin)
        return self._panel(name, origin, asked=True)

    def _panel(self, name: str, origin: str, *, asked: bool = False) -> str:
        backend = services().backends.get(name)
        findings, error = None, None
        try:
            if asked:
                findings = services().place_settings.findings(actor(), name, origin)
        except StowageError as caught:
            error = caught
        page = "admin/place_settings_panel.html" if from_htmx() else "admin/place_settings.html"
        return str(
            self.render(
                page,
                backend=backend,
                origin=origin or request.host_url.rstrip("/"),
                findings=findings,
                error=error,
            )
        )
