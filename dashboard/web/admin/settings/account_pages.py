"""Settings: the user's own password, and facts about this instance."""

from __future__ import annotations

import platform
from importlib.metadata import version

from flask import make_response, request, url_for
from werkzeug.wrappers import Response

from dashboard import __version__
from dashboard.errors import InvalidInput, Kind, StowageError
from dashboard.services.permissions import Permission
from dashboard.storage.types import Secret
from dashboard.web import sessions
from dashboard.web.admin.page import MenuItem, Page, flash_done, route, see_other
from dashboard.web.context import actor, services
from dashboard.web.errors import STATUS, add_retry_after

_PARTS = ("flask", "flask-admin", "urllib3", "boto3", "cryptography")


class SettingsPages(Page):
    """``/settings``"""

    path = "/settings"
    endpoint_name = "settings"
    menu_item = MenuItem("Settings", "settings")

    @route("", Permission.VIEW)
    def index(self) -> str:
        """The user's account and the instance."""
        return self._page(None)

    @route("/password", Permission.OWN_ACCOUNT, methods=("POST",))
    def password(self) -> Response:
        """Change the user's own password. Ends all sessions; this browser gets a new one."""
        new = Secret(request.form.get("password", ""))
        try:
            if new != Secret(request.form.get("password_again", "")):
                raise InvalidInput(
                    "password_again",
                    "The two passwords do not match.",
                    remedy="Enter the same password twice.",
                )
            token = services().accounts.change_own_password(
                actor(), Secret(request.form.get("current", "")), new, sessions.device()
            )
        except StowageError as error:
            if error.kind not in (Kind.INVALID, Kind.THROTTLED, Kind.CONFLICT, Kind.FORBIDDEN):
                raise
            return add_retry_after(make_response(self._page(error), STATUS[error.kind]), error)
        sessions.start_session(token)
        flash_done("Your password has been changed, and you are signed out everywhere else.")
        return see_other(url_for("settings.index"))

    def _page(self, error: StowageError | None) -> str:
        settings = services().settings
        return str(
            self.render(
                "admin/settings/account.html",
                error=error,
                field=error.subject if error else "",
                settings=settings,
                versions=_versions(),
                local=settings.host in ("127.0.0.1", "localhost", "::1"),
                https=request.is_secure,
            )
        )


def _versions() -> tuple[tuple[str, str], ...]:
    here = (
        ("Stowage", __version__),
        ("Python", platform.python_version()),
        ("System", platform.platform(terse=True)),
    )
    return here + tuple((part, version(part)) for part in _PARTS)
