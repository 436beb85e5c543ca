"""The door: signing in and out."""

from __future__ import annotations

from flask import Blueprint, flash, make_response, redirect, render_template, request, url_for
from flask_login import current_user
from werkzeug.wrappers import Response

from dashboard.errors import Kind, StowageError
from dashboard.services.permissions import Permission
from dashboard.storage.types import Secret
from dashboard.web import visitors
from dashboard.web.errors import STATUS, tell_when
from dashboard.web.guards import Access, declare, local_path

blueprint = Blueprint("sign_in", __name__)


@blueprint.get("/sign-in")
@declare(Access.ENTRANCE)
def show() -> Response:
    """The form; whoever is signed in already is sent on."""
    after = local_path(request.args.get("next"))
    if current_user.is_authenticated:
        return redirect(after, 303)
    return make_response(render_template("door/sign_in.html", after=after, username="", error=None))


@blueprint.post("/sign-in")
@declare(Access.ENTRANCE)
def enter() -> Response:
    """Sign in and go where the visitor wanted to go, if that is on this site."""
    after = local_path(request.form.get("next"))
    username = request.form.get("username", "").strip()[:200]
    try:
        visitors.enter(username, Secret(request.form.get("password", "")))
    except StowageError as error:
        if error.kind in (Kind.INTERNAL, Kind.SEALED):
            raise
        status = STATUS[Kind.THROTTLED] if error.kind is Kind.THROTTLED else 401
        page = render_template("door/sign_in.html", after=after, username=username, error=error)
        return tell_when(make_response(page, status), error)
    return redirect(after, 303)


@blueprint.post("/sign-out")
@declare(Permission.OWN_ACCOUNT)
def leave() -> Response:
    """Ends every session of this person."""
    visitors.leave()
    flash("You are signed out, here and everywhere else.", "done")
    return redirect(url_for("sign_in.show"), 303)
