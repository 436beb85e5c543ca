"""The key that seals credentials: its state, rotation, and restoring a lost one."""

from __future__ import annotations

from flask import make_response, render_template, request, url_for
from werkzeug.wrappers import Response

from dashboard.errors import Kind, StowageError
from dashboard.services.permissions import Permission
from dashboard.storage.types import Secret
from dashboard.web.admin.page import Page, flash_done, route, see_other
from dashboard.web.context import actor, services
from dashboard.web.errors import STATUS, add_retry_after


class KeyPages(Page):
    """``/settings/keys``"""

    path = "/settings/keys"
    endpoint_name = "keys"
    menu_parent = "Settings"
    menu_permission = Permission.KEYS

    @route("", Permission.KEYS)
    def index(self) -> str:
        """The state of the key, and what can be done with it."""
        return self._page(None)

    @route("/rotate", Permission.KEYS)
    def ask(self) -> str:
        """Say what a rotation ends, before it is done."""
        return self._question(None)

    @route("/rotate", Permission.KEYS, methods=("POST",))
    def rotate(self) -> Response:
        """Seal everything with a new key, and show its recovery key, once. Takes the user's password."""
        try:
            services().accounts.confirm_password(actor(), Secret(request.form.get("confirm", "")))
        except StowageError as error:
            if error.kind not in (Kind.INVALID, Kind.THROTTLED):
                raise
            return add_retry_after(make_response(self._question(error), STATUS[error.kind]), error)
        rotation = services().keys.rotate(actor())
        page = render_template("auth/recovery_key.html", recovery_key=rotation.recovery_key, first_time=False)
        return make_response(page)

    @route("/restore", Permission.KEYS, methods=("POST",))
    def restore(self) -> Response:
        """Restore a lost key file, if the recovery key can unseal what is stored."""
        try:
            services().keys.restore(actor(), request.form.get("recovery_key", ""))
        except StowageError as error:
            if error.kind is not Kind.INVALID:
                raise
            return make_response(self._page(error), STATUS[error.kind])
        flash_done("The key file is restored, and the console is unsealed.")
        return see_other(url_for("keys.index"))

    def _question(self, error: StowageError | None) -> str:
        state = services().keys.state()
        return str(self.render("admin/settings/keys_rotate.html", state=state, error=error))

    def _page(self, error: StowageError | None) -> str:
        state = services().keys.state()
        return str(
            self.render("admin/settings/keys.html", state=state, error=error, settings=services().settings)
        )
