"""“Check settings”: findings about a backend's bucket, each with a remedy and, where possible, a fix."""

from __future__ import annotations

from flask import request

from dashboard.errors import StowageError
from dashboard.services.permissions import Permission
from dashboard.web.admin.page import Page, route
from dashboard.web.context import actor, from_htmx, services


class BucketSettingsPages(Page):
    """``/backend/<name>/settings``"""

    path = "/"
    endpoint_name = "bucket_settings"
    menu_parent = "Backends"
    default_view = "show"

    @route("/backend/<name>/settings", Permission.VIEW)
    def show(self, name: str) -> str:
        """The panel before the first check."""
        return self._panel(name, "")

    @route("/backend/<name>/settings", Permission.TEST, methods=("POST",))
    def look(self, name: str) -> str:
        """Check the bucket's settings. Changes nothing."""
        return self._panel(name, request.form.get("origin", ""), check=True)

    @route("/backend/<name>/settings/fix", Permission.CONFIGURE, methods=("POST",))
    def fix(self, name: str) -> str:
        """Fix one finding, and check again."""
        origin = request.form.get("origin", "")
        services().bucket_settings.fix(actor(), name, request.form.get("finding", ""), origin)
        return self._panel(name, origin, check=True)

    def _panel(self, name: str, origin: str, *, check: bool = False) -> str:
        backend = services().backends.get(name)
        findings, error = None, None
        try:
            if check:
                findings = services().bucket_settings.findings(actor(), name, origin)
        except StowageError as caught:
            error = caught
        page = "admin/bucket_settings_panel.html" if from_htmx() else "admin/bucket_settings.html"
        return str(
            self.render(
                page,
                backend=backend,
                origin=origin or request.host_url.rstrip("/"),
                findings=findings,
                error=error,
            )
        )
