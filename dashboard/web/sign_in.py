"""Signing in and out."""

from __future__ import annotations

from flask import Blueprint, flash, make_response, redirect, render_template, request, url_for
from flask_login import current_user
from werkzeug.wrappers import Response

from dashboard.errors import Kind, StowageError
from dashboard.services.permissions import Permission
from dashboard.storage.types import Secret
from dashboard.web import sessions
from dashboard.web.context import address, services
from dashboard.web.errors import STATUS, add_retry_after
from dashboard.web.guards import Access, declare, local_path

blueprint = Blueprint("sign_in", __name__)


@blueprint.get("/sign-in")
@declare(Access.SIGN_IN)
def show() -> Response:
    """Show the sign-in form; redirect users who are already signed in."""
    after = local_path(request.args.get("next"))
    if current_user.is_authenticated:
        return redirect(after, 303)
    return make_response(_page(after))


@blueprint.post("/sign-in")
@declare(Access.SIGN_IN)
def enter() -> Response:
    """Sign in, and redirect to the page the user asked for, if it is on this site."""
    after = local_path(request.form.get("next"))
    username = request.form.get("username", "").strip()[:200]
    try:
        done = sessions.sign_in(username, Secret(request.form.get("password", "")))
    except StowageError as error:
        if error.kind in (Kind.INTERNAL, Kind.SEALED):
            raise
        status = STATUS[Kind.THROTTLED] if error.kind is Kind.THROTTLED else 401
        return add_retry_after(make_response(_page(after, username, error), status), error)
    if not done:
        return redirect(url_for("sign_in.ask_code", next=after if after != "/" else None), 303)
    return redirect(after, 303)


@blueprint.get("/sign-in/code")
@declare(Access.SIGN_IN)
def ask_code() -> Response:
    """Ask for the code of an authenticator app, after a right password."""
    after = local_path(request.args.get("next"))
    if current_user.is_authenticated:
        return redirect(after, 303)
    if not sessions.waits_for_code():
        return redirect(url_for("sign_in.show"), 303)
    return make_response(render_template("auth/code.html", after=after, error=None))


@blueprint.post("/sign-in/code")
@declare(Access.SIGN_IN)
def enter_code() -> Response:
    """Finish signing in with a one-time code or a recovery code."""
    after = local_path(request.form.get("next"))
    try:
        sessions.enter_code(request.form.get("code", "")[:100])
    except StowageError as error:
        if error.kind is Kind.GONE:
            flash(f"{error.reason} {error.remedy}", "error")
            return redirect(url_for("sign_in.show", next=after if after != "/" else None), 303)
        if error.kind is Kind.INTERNAL:
            raise
        status = 401 if error.kind is Kind.INVALID else STATUS[error.kind]
        page = render_template("auth/code.html", after=after, error=error)
        return add_retry_after(make_response(page, status), error)
    return redirect(after, 303)


@blueprint.post("/sign-in/demo")
@declare(Access.SIGN_IN)
def enter_demo() -> Response:
    """Sign in as a demo user, without a password. Only with ``STOWAGE_DEMO``."""
    after = local_path(request.form.get("next"))
    token = services().setup.demo.sign_in(request.form.get("username", "")[:200], address())
    sessions.start_session(token)
    return redirect(after, 303)


def _page(after: str, username: str = "", error: StowageError | None = None) -> str:
    return render_template(
        "auth/sign_in.html",
        after=after,
        username=username,
        error=error,
        demo_users=services().setup.demo.list(),
    )


@blueprint.post("/sign-out")
@declare(Permission.OWN_ACCOUNT)
def leave() -> Response:
    """Sign out, ending every session of this user."""
    sessions.sign_out()
    flash("You are signed out, here and everywhere else.", "done")
    return redirect(url_for("sign_in.show"), 303)
