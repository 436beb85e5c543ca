"""API tokens: made, shown once, listed and revoked."""

from __future__ import annotations

from flask import make_response, request, url_for
from werkzeug.wrappers import Response

from dashboard.errors import InvalidInput, Kind, StowageError
from dashboard.services.people.tokens import NewToken
from dashboard.services.permissions import ACTION_PHRASES, TOKEN_SCOPES, Permission
from dashboard.storage.types import Secret
from dashboard.web.admin.page import Page, flash_done, route, see_other
from dashboard.web.context import actor, can, services
from dashboard.web.errors import STATUS

LIFETIMES = (
    ("7", "7 days", 7 * 86_400.0),
    ("30", "30 days", 30 * 86_400.0),
    ("90", "90 days", 90 * 86_400.0),
    ("365", "1 year", 365 * 86_400.0),
    ("never", "Never expires", None),
)
"""Value, label and seconds of each choice."""


class TokenPages(Page):
    """``/settings/tokens``"""

    path = "/settings/tokens"
    endpoint_name = "tokens"
    menu_parent = "Settings"
    menu_permission = Permission.OWN_ACCOUNT

    @route("", Permission.OWN_ACCOUNT)
    def index(self) -> str:
        """The user's tokens, or for administrators all of them, and the form to make one."""
        return self._page(None)

    @route("", Permission.OWN_ACCOUNT, methods=("POST",))
    def create(self) -> Response:
        """Make a token, and show it, once."""
        try:
            made = services().tokens.create(
                actor(), _typed_name(), request.form.getlist("scope"), seconds=_lifetime()
            )
        except StowageError as error:
            if error.kind not in (Kind.INVALID, Kind.CONFLICT):
                raise
            return make_response(self._page(error), STATUS[error.kind])
        return make_response(self._page(None, made))

    @route("/<int:id>/revoke", Permission.OWN_ACCOUNT, methods=("POST",))
    def revoke(self, id: int) -> Response:
        """End a token at once."""
        token = services().tokens.revoke(actor(), id)
        flash_done(f"“{token.name}” is revoked. Programs that use it are refused from now on.")
        return see_other(url_for("tokens.index"))

    def _page(self, error: StowageError | None, made: NewToken | None = None) -> str:
        everybody = can(Permission.USERS)
        return str(
            self.render(
                "admin/settings/tokens.html",
                tokens=services().tokens.list(actor(), everybody=everybody),
                everybody=everybody,
                scopes=[(p, ACTION_PHRASES[p]) for p in Permission if p in TOKEN_SCOPES and can(p)],
                chosen=request.form.getlist("scope") if error else [Permission.VIEW.value],
                lifetimes=LIFETIMES,
                lifetime=request.form.get("expires", "90") if error else "90",
                name=_typed_name() if error else "",
                error=error,
                field=error.subject if error else "",
                made=made.info if made else None,
                text=_reveal(made.secret) if made else "",
            )
        )


def _typed_name() -> str:
    return request.form.get("name", "").strip()[:200]


def _lifetime() -> float | None:
    for value, _, seconds in LIFETIMES:
        if value == request.form.get("expires", ""):
            return seconds
    raise InvalidInput("expires", "Choose when the token expires.")


def _reveal(secret: Secret) -> str:
    """The one place where a page shows a token."""
    return secret.reveal()
