"""Users: who can sign in, and what they may do."""

from __future__ import annotations

from flask import make_response, request, url_for
from werkzeug.wrappers import Response

from dashboard.errors import InvalidInput, Kind, StowageError
from dashboard.services.permissions import Permission, Role
from dashboard.storage.types import Secret
from dashboard.web.admin.page import Page, flash_done, route, see_other
from dashboard.web.context import actor, services
from dashboard.web.errors import STATUS

ROLES = (
    (Role.VIEWER, "can look at everything, changes nothing"),
    (Role.OPERATOR, "also runs migrations and tests"),
    (Role.ADMIN, "also changes backends, users and keys"),
)


class UserPages(Page):
    """``/settings/users``"""

    path = "/settings/users"
    endpoint_name = "users"
    menu_parent = "Settings"
    menu_permission = Permission.USERS

    @route("", Permission.USERS)
    def index(self) -> str:
        """All users, and the form to add one."""
        return self._page(None)

    @route("", Permission.USERS, methods=("POST",))
    def add(self) -> Response:
        """Add a user."""
        username = request.form.get("username", "").strip().lower()[:200]
        try:
            role = _role(request.form.get("role", ""))
            services().accounts.add(actor(), username, Secret(request.form.get("password", "")), role)
        except StowageError as error:
            if error.kind not in (Kind.INVALID, Kind.CONFLICT):
                raise
            return make_response(self._page(error, username), STATUS[error.kind])
        flash_done(f"{username} can sign in now.")
        return see_other(url_for("users.index"))

    @route("/<username>/role", Permission.USERS, methods=("POST",))
    def role(self, username: str) -> Response:
        """Change a user's role."""
        role = _role(request.form.get("role", ""))
        services().accounts.set_role(actor(), username, role)
        flash_done(f"{username} is now {role.value}.")
        return see_other(url_for("users.index"))

    @route("/<username>/disabled", Permission.USERS, methods=("POST",))
    def disabled(self, username: str) -> Response:
        """Disable or enable a user."""
        shut_out = request.form.get("disabled") == "true"
        services().accounts.set_disabled(actor(), username, shut_out)
        flash_done(
            f"{username} {'is signed out and can no longer sign in' if shut_out else 'can sign in again'}."
        )
        return see_other(url_for("users.index"))

    @route("/<username>/password", Permission.USERS, methods=("POST",))
    def password(self, username: str) -> Response:
        """Set a user's password."""
        services().accounts.set_password(actor(), username, Secret(request.form.get("password", "")))
        flash_done(f"{username} has a new password and is signed out everywhere.")
        return see_other(url_for("users.index"))

    @route("/<username>/two-factor", Permission.USERS, methods=("POST",))
    def two_factor(self, username: str) -> Response:
        """Reset the two-factor sign-in of somebody who has lost the phone."""
        services().accounts.two_factor.reset(actor(), username)
        flash_done(f"{username} signs in with the password alone now, and is signed out everywhere.")
        return see_other(url_for("users.index"))

    def _page(self, error: StowageError | None, username: str = "") -> str:
        return str(
            self.render(
                "admin/settings/users.html",
                users=services().accounts.list(),
                two_factor=services().accounts.two_factor.users(actor()),
                roles=ROLES,
                role=request.form.get("role", Role.VIEWER.value),
                error=error,
                field=error.subject if error else "",
                username=username,
            )
        )


def _role(text: str) -> Role:
    try:
        return Role(text)
    except ValueError:
        raise InvalidInput("role", "Choose a role.") from None
