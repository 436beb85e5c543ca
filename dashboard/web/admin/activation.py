"""Switching the active backend: shows what is missing there before anything changes."""

from __future__ import annotations

from flask import request, url_for
from werkzeug.wrappers import Response

from dashboard.services.permissions import Permission
from dashboard.web.admin.page import Page, flash_done, route, see_other
from dashboard.web.context import actor, services


class ActivationPages(Page):
    """``/backend/<name>/activate``"""

    path = "/"
    endpoint_name = "activation"
    menu_parent = "Backends"
    default_view = "preview"

    @route("/backend/<name>/activate", Permission.CONFIGURE)
    def preview(self, name: str) -> str:
        """Show how the backend differs from the active one; offer to migrate what is missing."""
        return self._page("admin/activate.html", name)

    @route("/backend/<name>/comparison", Permission.CONFIGURE, methods=("POST",))
    def compare(self, name: str) -> Response:
        """Compare the backend with the active one, unless a recent comparison exists."""
        if not services().backends.get(name).active:
            services().activation.compare(actor(), name)
        return see_other(url_for("activation.preview", name=name))

    @route("/backend/<name>/comparison", Permission.CONFIGURE)
    def live(self, name: str) -> str:
        """The comparison so far; the fragment polls until it is finished."""
        return self._page("admin/activate_live.html", name)

    def _page(self, template: str, name: str) -> str:
        backend = services().backends.get(name)
        comparison = None if backend.active else services().activation.comparison(name)
        return str(self.render(template, backend=backend, comparison=comparison))

    @route("/backend/<name>/activate", Permission.CONFIGURE, methods=("POST",))
    def activate(self, name: str) -> Response:
        """Make this the backend that new files go to."""
        services().activation.activate(actor(), name)
        flash_done(f"New files now go to {name}.")
        after = "overview.index" if request.form.get("then") == "overview" else "backends.index"
        return see_other(url_for(after))
