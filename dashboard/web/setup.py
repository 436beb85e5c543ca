"""First setup: the one-time code, the first administrator, the recovery key."""

from __future__ import annotations

import re

from flask import Blueprint, make_response, render_template, request
from werkzeug.wrappers import Response

from dashboard.errors import InvalidInput, StowageError
from dashboard.services.people.passwords import suggested_username
from dashboard.services.permissions import Permission
from dashboard.storage.types import Secret
from dashboard.web import sessions
from dashboard.web.context import services
from dashboard.web.downloads import attachment
from dashboard.web.errors import STATUS
from dashboard.web.guards import Access, declare

blueprint = Blueprint("setup", __name__)

_RECOVERY_KEY = re.compile(r"[A-Za-z0-9+/=_. -]{16,400}\Z")


@blueprint.get("/setup")
@declare(Access.SETUP)
def show() -> Response:
    """Show the setup form, with the code from the URL filled in."""
    return _form(request.args.get("code", "")[:64], "", None)


@blueprint.post("/setup")
@declare(Access.SETUP)
def complete() -> Response:
    """Create the administrator, sign in, and show the recovery key, once."""
    code, username = request.form.get("code", "").strip(), request.form.get("username", "").strip()
    password = Secret(request.form.get("password", ""))
    try:
        if password != Secret(request.form.get("password_again", "")):
            raise InvalidInput(
                "password_again", "The two passwords do not match.", remedy="Enter the same password twice."
            )
        recovery_key = services().setup.complete(code, username, password)
    except StowageError as error:
        return _form(code, username, error)
    sessions.sign_in(username, password)
    page = render_template("auth/recovery_key.html", recovery_key=recovery_key.text, first_time=True)
    return make_response(page)


@blueprint.post("/recovery-key.txt")
@declare(Permission.OWN_ACCOUNT)
def download() -> Response:
    """Return the recovery key shown on the page as a file. The console keeps no copy of it."""
    recovery_key = request.form.get("recovery_key", "").strip()
    if not _RECOVERY_KEY.match(recovery_key):
        raise InvalidInput(
            "recovery_key", "That is not a recovery key.", remedy="Copy it from the page by hand."
        )
    text = render_template("auth/recovery_key.txt", recovery_key=recovery_key)
    return attachment(text, "stowage-recovery-key.txt", "text/plain")


def _form(code: str, username: str, error: StowageError | None) -> Response:
    """The form with what was typed. A name that cannot be one is replaced by the nearest that can; passwords
    are not sent back, which the page says."""
    corrected = suggested_username(username) if error and error.subject == "username" else username
    page = render_template(
        "auth/setup.html", code=code[:64], username=corrected[:200], typed=username[:200], error=error
    )
    return make_response(page, 200 if error is None else STATUS[error.kind])
