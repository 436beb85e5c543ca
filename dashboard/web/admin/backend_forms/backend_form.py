"""Adding and editing a backend: the providers first, then only the chosen one's fields."""

from __future__ import annotations

from flask import flash, make_response, request, url_for
from werkzeug.wrappers import Response

from dashboard.errors import InvalidInput, Kind, StowageError
from dashboard.services.permissions import Permission
from dashboard.storage.registry import find_preset
from dashboard.web.admin.backend_forms import fields
from dashboard.web.admin.backend_forms.provider_picker import card_of, picker
from dashboard.web.admin.page import Page, flash_done, route, see_other
from dashboard.web.context import actor, services
from dashboard.web.errors import STATUS
from dashboard.web.numbers import parse_integer

SHOWN_ON_FORM = frozenset({Kind.INVALID, Kind.CONFLICT, Kind.INVALID_KEY, Kind.NOT_FOUND})
"""Errors that are shown on the form, which keeps what was typed."""


class BackendForm(Page):
    """``/backends/new`` and ``/backend/<name>/edit``"""

    path = "/"
    endpoint_name = "backend_form"
    menu_parent = "Backends"
    default_view = "new"

    @route("/backends/new", Permission.CONFIGURE)
    def new(self) -> str:
        """The provider cards; with ``preset``, the fields of that provider."""
        name = request.args.get("preset", "")
        if not name:
            return form_page(self, None, request.args.get("q", ""))
        preset = find_preset(name)
        taken = frozenset(b.name for b in services().backends.choices())
        return self._page(fields.form(preset, name=fields.suggested_name(preset, taken)))

    @route("/backends/new", Permission.CONFIGURE, methods=("POST",))
    def add(self) -> Response:
        """Save a new backend; errors are shown next to their fields."""
        draft = fields.draft(request.form)
        try:
            backend = services().backends.add(actor(), draft)
        except StowageError as error:
            return self._form_with_error(error)
        flash_done(f"{backend.name} is saved.")
        _warn_of_shared_place(backend.name)
        return see_other(
            url_for("backends.show", name=backend.name, probe=_start_test_if_draft_passed(backend.name))
        )

    @route("/backend/<name>/edit", Permission.CONFIGURE)
    def edit(self, name: str) -> str:
        """The form of a saved backend, without its secrets."""
        backend = services().backends.get(name)
        return self._page(fields.form(find_preset(backend.preset), backend=backend))

    @route("/backend/<name>/edit", Permission.CONFIGURE, methods=("POST",))
    def save(self, name: str) -> Response:
        """Save the changes to a backend."""
        draft = fields.draft(request.form)
        if draft.existing != name:
            raise InvalidInput(
                "existing", "This form was opened for another backend.", remedy="Open it again."
            )
        try:
            backend = services().backends.edit(actor(), draft)
        except StowageError as error:
            return self._form_with_error(error)
        flash_done(f"{backend.name} is saved.")
        _warn_of_shared_place(backend.name)
        return see_other(
            url_for("backends.show", name=backend.name, probe=_start_test_if_draft_passed(backend.name))
        )

    def _form_with_error(self, error: StowageError) -> Response:
        """The form with what was typed, except secrets, and the error."""
        if error.kind not in SHOWN_ON_FORM:
            raise error
        return make_response(self._page(submitted_form(error)), STATUS[error.kind])

    def _page(self, form: fields.Form) -> str:
        return form_page(self, form)


def form_page(page: Page, form: fields.Form | None, query: str = "") -> str:
    """Render the form, or without one the providers to choose from."""
    chosen = card_of(form.preset) if form else None
    return str(
        page.render("admin/backend_forms/backend_form.html", form=form, picker=picker(query), chosen=chosen)
    )


def _start_test_if_draft_passed(name: str) -> str | None:
    """Test the saved backend if the draft passed its test, and return the id of the new test.

    The draft's own result is not reused, because fields may have changed between test and save.
    """
    tested = request.form.get("tested", "")
    try:
        if tested and services().probes.get(actor(), tested).passed:
            return services().probes.start(actor(), name)
    except StowageError:
        return None
    return None


def _warn_of_shared_place(name: str) -> None:
    if warning := services().backends.shared_place_warning(name):
        flash(warning, "warn")


def submitted_form(error: StowageError | None = None) -> fields.Form:
    """Rebuild the form from the request. Raises ``InvalidInput`` or kind ``not_found``."""
    preset = find_preset(request.form.get("preset", ""))
    existing = request.form.get("existing", "")
    return fields.form(
        preset,
        name=request.form.get("name", "").strip()[:200],
        values=fields.typed_options(preset, request.form),
        backend=services().backends.get(existing) if existing else None,
        version=parse_integer(request.form, "version"),
        error=error,
        lost=fields.typed_secrets(request.form),
    )
