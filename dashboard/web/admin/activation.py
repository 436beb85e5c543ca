"""Switching the active backend: first what is missing there, then the choice."""

from __future__ import annotations

from flask import request, url_for
from werkzeug.wrappers import Response

from dashboard.services.permissions import Permission
from dashboard.web.admin.frame import Page, flash_done, route, see_other
from dashboard.web.context import actor, services


class ActivationPages(Page):
    """``/backend/<name>/activate``"""

    at = "/"
    known_as = "activation"
    under = "Backends"
    first = "preview"

    @route("/backend/<name>/activate", Permission.CONFIGURE)
    def preview(self, name: str) -> str:
        """What is known of the difference to the active backend; offers to migrate what is missing."""
        return self._page("admin/activate.html", name)

    @route("/backend/<name>/comparison", Permission.CONFIGURE, methods=("POST",))
    def compare(self, name: str) -> Response:
        """Have the target compared with the active backend, unless that is freshly known."""
        if not services().backends.get(name).active:
            services().activation.compare(actor(), name)
        return see_other(url_for("activation.preview", name=name))

    @route("/backend/<name>/comparison", Permission.CONFIGURE)
    def live(self, name: str) -> str:
        """The comparison as far as it got; asks again until it is finished."""
        return self._page("admin/activate_live.html", name)

    def _page(self, template: str, name: str) -> str:
        backend = services().backends.get(name)
        comparison = None if backend.active else services().activation.comparison(name)
        return str(self.render(template, backend=backend, comparison=comparison))

    @route("/backend/<name>/activate", Permission.CONFIGURE, methods=("POST",))
    def activate(self, name: str) -> Response:
        """Send new files to this backend from now on."""
        services().activation.activate(actor(), name)
        flash_done(f"New files now go to {name}.")
        after = "overview.index" if request.form.get("then") == "overview" else "backends.index"
        return see_other(url_for(after))
