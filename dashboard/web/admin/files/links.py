"""Links to files: the list, the form for a new one, and revoking."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import make_response, request, url_for
from werkzeug.wrappers import Response

from dashboard.errors import InvalidInput, Kind, StowageError
from dashboard.services.permissions import Permission
from dashboard.web.admin.files.browser_view import MAX_KEY, from_token
from dashboard.web.admin.page import Page, flash_done, route, see_other
from dashboard.web.context import actor, external_url, services
from dashboard.web.errors import STATUS
from dashboard.web.numbers import parse_integer

PAGE = 50
MAX_FIELD = 4 * MAX_KEY
UNITS = {"minutes": 60, "hours": 3600, "days": 86_400}
NOT_CREATED = frozenset(
    {
        Kind.INVALID,
        Kind.INVALID_KEY,
        Kind.NOT_FOUND,
        Kind.CONFLICT,
        Kind.UNREACHABLE,
        Kind.TIMEOUT,
        Kind.DENIED,
    }
)
"""Errors for which the form is shown again."""


class LinkPages(Page):
    """``/links``"""

    path = "/links"
    endpoint_name = "links"
    menu_parent = "Files"

    @route("", Permission.READ_FILES)
    def index(self) -> str:
        """The links of this person, or of everybody for an administrator."""
        before = parse_integer(request.args, "before")
        found = services().links.list(actor(), before_id=before, limit=PAGE + 1)
        return str(
            self.render(
                "admin/files/links.html",
                links=found[:PAGE],
                older=found[PAGE - 1].id if len(found) > PAGE else None,
                before=before,
                everybody=actor().may(Permission.USERS),
            )
        )

    @route("/new", Permission.READ_FILES)
    def new(self) -> str:
        """The form; ``backend`` and ``file``, a key as the Files page writes it, fill it in."""
        return self._form(request.args, None)

    @route("", Permission.READ_FILES, methods=("POST",))
    def create(self) -> Response | str:
        """Create a link, and show its URL this once."""
        try:
            made = services().links.create(
                actor(),
                request.form.get("backend", ""),
                _key(request.form),
                seconds=_seconds(request.form),
                uses=_uses(request.form),
                user=request.form.get("user", "")[:200],
                network=request.form.get("network", "")[:200],
            )
        except StowageError as error:
            if error.kind not in NOT_CREATED:
                raise
            return make_response(self._form(request.form, error), STATUS[error.kind])
        return str(self.render("admin/files/link_new.html", link=made.info, url=external_url(made.path)))

    @route("/<int:id>/revoke", Permission.READ_FILES)
    def confirm_revoke(self, id: int) -> str:
        """Ask for confirmation."""
        return str(self.render("admin/files/link_revoke.html", link=services().links.get(actor(), id)))

    @route("/<int:id>/revoke", Permission.READ_FILES, methods=("POST",))
    def revoke(self, id: int) -> Response:
        """End a link."""
        services().links.revoke(actor(), id)
        flash_done(f"Link {id} is revoked. It opens nothing any more.")
        return see_other(url_for("links.index"))

    def _form(self, values: Mapping[str, str], error: StowageError | None) -> str:
        fields: dict[str, Any] = {
            name: values.get(name, "")[:MAX_FIELD]
            for name in ("backend", "file", "key", "uses", "user", "network")
        }
        return str(
            self.render(
                "admin/files/link_form.html",
                backends=services().backends.choices(),
                form={**fields, "time": values.get("time", "7"), "unit": values.get("unit", "days")},
                units=tuple(UNITS),
                error=error,
                field=_field_of(error),
            )
        )


def _field_of(error: StowageError | None) -> str:
    if error is None:
        return ""
    if isinstance(error, InvalidInput):
        return {"seconds": "time"}.get(error.subject, error.subject)
    return "key" if error.kind in (Kind.NOT_FOUND, Kind.INVALID_KEY) else ""


def _key(form: Mapping[str, str]) -> str:
    token = form.get("file", "")
    return from_token(token) if token else form.get("key", "")


def _seconds(form: Mapping[str, str]) -> int:
    count, unit = parse_integer(form, "time"), UNITS.get(form.get("unit", ""))
    if count is None or unit is None:
        raise InvalidInput("time", "This is not a number.", remedy="Type for how long, such as 7 days.")
    return count * unit


def _uses(form: Mapping[str, str]) -> int | None:
    if not form.get("uses", "").strip():
        return None
    count = parse_integer(form, "uses")
    if count is None:
        raise InvalidInput("uses", "This is not a number.", remedy="Leave it empty for any number.")
    return count
