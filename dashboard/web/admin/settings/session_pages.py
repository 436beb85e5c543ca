"""Where people are signed in, and two-factor sign-in."""

from __future__ import annotations

from typing import Any

from flask import make_response, request, url_for
from flask_login import current_user
from werkzeug.wrappers import Response

from dashboard.errors import Kind, StowageError
from dashboard.services.people.two_factor import Enrolment
from dashboard.services.permissions import Permission
from dashboard.storage.types import Secret
from dashboard.web.admin.page import Page, flash_done, route, see_other
from dashboard.web.admin.settings import qr
from dashboard.web.context import actor, services
from dashboard.web.errors import STATUS, add_retry_after

SHOWN_ERRORS = (Kind.INVALID, Kind.CONFLICT, Kind.THROTTLED)


class SessionPages(Page):
    """``/settings/sessions``"""

    path = "/settings/sessions"
    endpoint_name = "sessions"
    menu_parent = "Settings"
    menu_permission = Permission.OWN_ACCOUNT

    @route("", Permission.OWN_ACCOUNT)
    def index(self) -> str:
        """Where one is signed in; for those who manage users, where everybody is."""
        return self._page(None)

    @route("/<int:id>/end", Permission.OWN_ACCOUNT, methods=("POST",))
    def end(self, id: int) -> Response:
        """End one session."""
        whose = services().accounts.sessions.end(actor(), id)
        flash_done("That session has ended." if whose == actor().name else f"A session of {whose} has ended.")
        return see_other(url_for("sessions.index"))

    @route("/end-others", Permission.OWN_ACCOUNT, methods=("POST",))
    def end_others(self) -> Response:
        """End all of one's own sessions but this one."""
        ended = services().accounts.sessions.end_others(actor(), current_user.token)
        flash_done(f"{ended} session{' has' if ended == 1 else 's have'} ended. This one goes on.")
        return see_other(url_for("sessions.index"))

    @route("/two-factor", Permission.OWN_ACCOUNT, methods=("POST",))
    def begin(self) -> Response:
        """Make a secret for an authenticator app, and show it. Takes the password."""
        return self._confirmed(lambda: self._enrol(services().accounts.two_factor.begin(actor()), None))

    @route("/two-factor/confirm", Permission.OWN_ACCOUNT, methods=("POST",))
    def confirm(self) -> Response:
        """Turn two-factor sign-in on with a first code, and show the recovery codes, once."""
        factors = services().accounts.two_factor
        try:
            codes = factors.confirm(actor(), request.form.get("code", "")[:100])
        except StowageError as error:
            enrolment = factors.pending(actor())
            if error.kind not in SHOWN_ERRORS or enrolment is None:
                raise
            return add_retry_after(make_response(self._enrol(enrolment, error), STATUS[error.kind]), error)
        return make_response(self._codes(codes, first=True))

    @route("/two-factor/codes", Permission.OWN_ACCOUNT, methods=("POST",))
    def codes(self) -> Response:
        """Show ten new recovery codes, once. Takes the password."""
        return self._confirmed(
            lambda: self._codes(services().accounts.two_factor.renew_codes(actor()), first=False)
        )

    @route("/two-factor/off", Permission.OWN_ACCOUNT, methods=("POST",))
    def off(self) -> Response:
        """Turn one's own off. Takes the password."""

        def turn_off() -> Response:
            services().accounts.two_factor.disable(actor())
            flash_done("Two-factor sign-in is off: your password is enough.")
            return see_other(url_for("sessions.index"))

        return self._confirmed(turn_off)

    def _confirmed(self, act: Any) -> Response:
        """Do it if the password is right; else say so on the page."""
        try:
            services().accounts.confirm_password(actor(), Secret(request.form.get("confirm", "")))
            return make_response(act())
        except StowageError as error:
            if error.kind not in SHOWN_ERRORS:
                raise
            return add_retry_after(make_response(self._page(error), STATUS[error.kind]), error)

    def _page(self, error: StowageError | None) -> str:
        accounts = services().accounts
        return str(
            self.render(
                "admin/settings/sessions.html",
                sessions=accounts.sessions.list(actor(), current_user.token),
                everybody=actor().may(Permission.USERS),
                two_factor=accounts.two_factor.state(actor()),
                error=error,
                field=error.subject if error else "",
            )
        )

    def _enrol(self, enrolment: Enrolment, error: StowageError | None) -> str:
        return str(
            self.render(
                "admin/settings/two_factor.html",
                picture=qr.svg(enrolment.uri.reveal()),
                secret=enrolment.secret.reveal(),
                error=error,
            )
        )

    def _codes(self, codes: tuple[str, ...], *, first: bool) -> str:
        return str(self.render("admin/settings/recovery_codes.html", codes=codes, first=first))
