"""Adding and editing a backend: provider cards first, then only that provider's fields."""

from __future__ import annotations

from flask import make_response, request, url_for
from werkzeug.wrappers import Response

from dashboard.errors import InvalidInput, Kind, StowageError
from dashboard.services.permissions import Permission
from dashboard.storage.registry import find_preset
from dashboard.web.admin import fields
from dashboard.web.admin.frame import Page, flash_done, route, see_other
from dashboard.web.context import actor, services
from dashboard.web.errors import STATUS
from dashboard.web.numbers import whole

AT_THE_FORM = frozenset({Kind.INVALID, Kind.CONFLICT, Kind.INVALID_KEY, Kind.NOT_FOUND})
"""Failures that are shown on the form, with what was typed kept."""


class BackendForm(Page):
    """``/backends/new`` and ``/backend/<name>/edit``"""

    at = "/"
    known_as = "backend_form"
    under = "Backends"
    first = "new"

    @route("/backends/new", Permission.CONFIGURE)
    def new(self) -> str:
        """The provider cards; with ``preset`` also its fields."""
        preset = request.args.get("preset", "")
        if not preset:
            return str(self.render("admin/backend_form.html", form=None, providers=fields.providers()))
        taken = frozenset(b.name for b in services().backends.choices())
        return self._page(fields.form(preset, name=fields.suggested_name(preset, taken)))

    @route("/backends/new", Permission.CONFIGURE, methods=("POST",))
    def add(self) -> Response:
        """Save a new backend; what cannot be used is said next to its field."""
        draft = fields.draft(request.form)
        try:
            backend = services().backends.add(actor(), draft)
        except StowageError as error:
            return self._again(error)
        flash_done(f"{backend.name} is saved. Its first check is running.")
        return see_other(url_for("backends.show", name=backend.name, probe=_tested_as_saved(backend.name)))

    @route("/backend/<name>/edit", Permission.CONFIGURE)
    def edit(self, name: str) -> str:
        """The form of a saved backend; its secrets are not in it."""
        backend = services().backends.get(name)
        return self._page(fields.form(backend.preset, backend=backend))

    @route("/backend/<name>/edit", Permission.CONFIGURE, methods=("POST",))
    def save(self, name: str) -> Response:
        """Save the changes to a backend."""
        draft = fields.draft(request.form)
        if draft.existing != name:
            raise InvalidInput("existing", "This form belongs to another backend.", remedy="Open it again.")
        try:
            backend = services().backends.edit(actor(), draft)
        except StowageError as error:
            return self._again(error)
        flash_done(f"{backend.name} is saved.")
        return see_other(url_for("backends.show", name=backend.name, probe=_tested_as_saved(backend.name)))

    def _again(self, error: StowageError) -> Response:
        """The form with what was typed, secrets excepted, and what is wrong."""
        if error.kind not in AT_THE_FORM:
            raise error
        return make_response(self._page(typed_form(error)), STATUS[error.kind])

    def _page(self, form: fields.Form) -> str:
        return str(self.render("admin/backend_form.html", form=form, providers=fields.providers()))


def _tested_as_saved(name: str) -> str | None:
    """Whoever tested a draft wants to know that what was saved works: test that, and say under which id.

    The draft's own result is not taken over, for the fields may have changed between test and save.
    """
    tested = request.form.get("tested", "")
    try:
        if tested and services().probes.get(actor(), tested).passed:
            return services().probes.start(actor(), name)
    except StowageError:
        return None
    return None


def typed_form(error: StowageError | None = None) -> fields.Form:
    """The form that the request holds. Raises ``InvalidInput`` or ``NOT_FOUND`` if it names nothing."""
    preset = request.form.get("preset", "")
    find_preset(preset)
    existing = request.form.get("existing", "")
    return fields.form(
        preset,
        name=request.form.get("name", "").strip()[:200],
        values=fields.typed_options(preset, request.form),
        backend=services().backends.get(existing) if existing else None,
        version=whole(request.form, "version"),
        error=error,
    )
