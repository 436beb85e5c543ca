"""Default-deny access control: every route declares who may use it.

Before every request, in this order: has the console been set up, is the user signed in, does the role grant
the permission. A route that declares nothing prevents the application from starting.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, TypeVar
from urllib.parse import urlsplit

from flask import Flask, abort, current_app, redirect, request, url_for
from flask_login import current_user
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Unauthorized
from werkzeug.wrappers import Response

from dashboard.errors import Kind, StowageError
from dashboard.services.permissions import GRANTS, Permission
from dashboard.web.context import actor, for_api, from_htmx, services, token_holder
from dashboard.web.sessions import has_token, token_error

F = TypeVar("F", bound=Callable[..., Any])


class Access(Enum):
    """Who may use a route that requires no permission."""

    ALWAYS = "always"
    """Anyone at any time: static files and the health check."""
    SETUP = "setup"
    """Anyone, but only until the console has been set up; afterwards the page does not exist."""
    SIGN_IN = "entrance"
    """Anyone, once the console has been set up: the sign-in page."""
    LINK = "link"
    """Anyone, once the console has been set up; the view checks the link that is in the address."""
    SIGNED_IN = "signed_in"
    """Anyone who is signed in, and any valid API token."""


Rule = Access | Permission

_DECLARED = "stowage_access"


class UndeclaredRoute(RuntimeError):
    """A registered route does not declare who may use it."""


def declare(rule: Rule) -> Callable[[F], F]:
    """Decorate a view function with who may use it."""

    def mark(view: F) -> F:
        setattr(view, _DECLARED, rule)
        return view

    return mark


def access_of(app: Flask, endpoint: str) -> Rule:
    """Return who may use an endpoint. Raises :class:`UndeclaredRoute`."""
    rule = getattr(app.view_functions[endpoint], _DECLARED, None)
    if not isinstance(rule, Access | Permission):
        raise UndeclaredRoute(f"The route “{endpoint}” declares no permission.")
    return rule


def install(app: Flask) -> None:
    """Check every request before its view runs."""
    declare(Access.ALWAYS)(app.view_functions["static"])
    app.before_request(_check)


def verify_routes(app: Flask) -> None:
    """Check that every route declares who may use it. Called after the last one is registered.

    Raises :class:`UndeclaredRoute`.
    """
    for rule in app.url_map.iter_rules():
        access_of(app, rule.endpoint)


def local_path(target: str | None, default: str = "/") -> str:
    """Return ``target`` if it is a path on this site, else ``default``.

    Browsers treat ``//host``, ``/\\host`` and paths with embedded tabs as addresses of other sites.
    """
    if not target or not target.startswith("/") or target.startswith("//"):
        return default
    if "\\" in target or any(ord(c) < 33 or ord(c) == 127 for c in target):
        return default
    try:
        parts = urlsplit(target)
    except ValueError:
        return default
    return default if parts.scheme or parts.netloc else target


def _check() -> Response | None:
    rule = access_of(current_app, request.endpoint) if request.endpoint else None
    if rule is Access.ALWAYS:
        return None
    if services().setup.needed():
        return None if rule is Access.SETUP else _to_setup()
    if rule is Access.SETUP:
        abort(404)
    if rule in (None, Access.SIGN_IN, Access.LINK):
        return None
    if not current_user.is_authenticated:
        if error := token_error():
            raise error
        return _to_sign_in()
    if holder := token_holder():
        services().tokens.count_request(holder)
    if isinstance(rule, Permission):
        _require(rule)
    return None


def _require(permission: Permission) -> None:
    if permission not in GRANTS[current_user.info.role]:
        raise StowageError(
            Kind.FORBIDDEN,
            f"Your role, {current_user.info.role.value}, may not do this.",
            operation=request.endpoint or "",
            remedy="Ask an administrator to do it, or to change your role under Settings.",
        )
    actor().require(permission)


def _to_setup() -> Response:
    if for_api():
        raise StowageError(
            Kind.CONFLICT,
            "This console has not been set up yet.",
            operation="setup",
            remedy="Open it in a browser and enter the code it printed when it started.",
        )
    return _redirect(url_for("setup.show"))


def _to_sign_in() -> Response:
    if for_api() or has_token():
        raise Unauthorized(www_authenticate=_challenge())
    if from_htmx():
        here = urlsplit(request.headers.get("HX-Current-URL", ""))
        requested = here.path + (f"?{here.query}" if here.query else "")
    else:
        requested = request.full_path.removesuffix("?") if request.method == "GET" else ""
    after = local_path(requested, "/")
    return _redirect(url_for("sign_in.show", next=after if after != "/" else None))


def _challenge() -> WWWAuthenticate:
    """RFC 6750, section 3: no error code where no token was sent."""
    values = {"error": "invalid_token"} if has_token() else {}
    return WWWAuthenticate("bearer", {"realm": "Stowage", **values})


def _redirect(url: str) -> Response:
    """Redirect the browser; if htmx asked for a fragment, redirect the whole page."""
    if from_htmx():
        return Response(status=401, headers={"HX-Redirect": url})
    return redirect(url, 303)
