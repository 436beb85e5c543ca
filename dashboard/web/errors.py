"""Every failure's way to the person: the one table from kinds to statuses, and three shapes.

A page for a browser, a notice for a fragment, one JSON object for a program.
"""

from __future__ import annotations

import logging
import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from flask import Flask, Response, jsonify, make_response, render_template, request
from flask_wtf.csrf import CSRFError
from werkzeug.exceptions import HTTPException

from dashboard.errors import Kind, StowageError, TooMany
from dashboard.web import resend
from dashboard.web.context import for_api, from_htmx

log = logging.getLogger(__name__)

STATUS: Mapping[Kind, int] = MappingProxyType(
    {
        Kind.INVALID: 400,
        Kind.INVALID_KEY: 400,
        Kind.FORBIDDEN: 403,
        Kind.NOT_FOUND: 404,
        Kind.CONFLICT: 409,
        Kind.CHANGED: 409,
        Kind.UNSUPPORTED: 422,
        Kind.TOO_LARGE: 422,
        Kind.THROTTLED: 429,
        Kind.INTERNAL: 500,
        # What follows was said by a storage backend and not by this console.
        Kind.DENIED: 502,
        Kind.BAD_CREDENTIALS: 502,
        Kind.UNREACHABLE: 502,
        Kind.DAMAGED: 502,
        Kind.SEALED: 503,
        Kind.TIMEOUT: 504,
        Kind.FULL: 507,
    }
)

OWN_PAGE = frozenset({400, 401, 403, 404, 405, 413, 429, 500})
"""Statuses with a template of their own; others share one."""


@dataclass(frozen=True, slots=True)
class _Sentence:
    kind: str
    reason: str
    remedy: str


_BY_STATUS: Mapping[int, _Sentence] = MappingProxyType(
    {
        400: _Sentence(
            "invalid", "That request could not be understood.", "Go back, reload the page and try again."
        ),
        401: _Sentence("forbidden", "You are not signed in.", "Sign in and try again."),
        403: _Sentence("forbidden", "You may not do this.", "Ask an administrator."),
        404: _Sentence(
            "not_found", "There is nothing at this address.", "Check the address, or start at the overview."
        ),
        405: _Sentence(
            "unsupported", "This address cannot be used this way.", "Use the buttons on the page."
        ),
        413: _Sentence("full", "That is larger than this console accepts.", "Send less at once."),
        429: _Sentence("throttled", "Too many attempts.", "Wait a few minutes and try again."),
    }
)
_OTHERWISE = _Sentence("invalid", "That request could not be answered.", "Go back and try again.")


def install(app: Flask) -> None:
    """Answer every failure of this application; nothing reaches the server's own error page."""
    app.register_error_handler(CSRFError, _on_csrf)
    app.register_error_handler(StowageError, _on_stowage)
    app.register_error_handler(HTTPException, _on_http)
    app.register_error_handler(Exception, _on_anything)


def _on_stowage(error: StowageError) -> Response:
    return tell_when(answer(STATUS[error.kind], error.as_dict()), error)


def tell_when(response: Response, error: StowageError | None) -> Response:
    """Add when it is worth asking again, where the error knows (RFC 9110, 10.2.3)."""
    if isinstance(error, TooMany):
        response.headers["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
    return response


def _on_http(error: HTTPException) -> Response:
    if error.response is not None:
        return make_response(error.response)
    status = error.code or 500
    said = _BY_STATUS.get(status, _OTHERWISE)
    plain = StowageError(Kind(said.kind), said.reason, remedy=said.remedy, retryable=status == 429)
    response = answer(status, plain.as_dict())
    for name, value in error.get_headers():
        if name in ("Allow", "Retry-After", "Location"):
            response.headers[name] = value
    return response


def _on_csrf(error: CSRFError) -> Response:
    """A form from a page that stood open too long is offered again; a foreign one is not."""
    told = StowageError(
        Kind.INVALID,
        "This page was open for too long, so the form was not sent.",
        operation="csrf",
        remedy="Reload the page and try again.",
    )
    if for_api() or from_htmx():
        return answer(400, told.as_dict())
    return make_response(render_template("errors/expired.html", kept=resend.kept_form()), 400)


def _on_anything(error: Exception) -> Response:
    """The last handler: an id for the log and the person, and nothing of the error itself."""
    incident = secrets.token_hex(4)
    log.error("incident %s: %s %s", incident, request.method, request.path, exc_info=error)
    told = StowageError(
        Kind.INTERNAL,
        "Something went wrong inside the console.",
        remedy=f"Nothing was lost. Try again; if it happens twice, look for “{incident}” in the log.",
    )
    return answer(500, told.as_dict(), incident)


def answer(status: int, error: Mapping[str, str | bool], incident: str = "") -> Response:
    """One failure in the shape that was asked for."""
    shown = {**error, "id": incident} if incident else dict(error)
    if for_api():
        return make_response(jsonify(error=shown), status)
    if from_htmx():
        response = make_response(render_template("parts/failure.html", error=shown), status)
        # A fragment that failed must not replace what it was to renew: it goes where notices go.
        response.headers["HX-Retarget"] = "#failures"
        response.headers["HX-Reswap"] = "innerHTML"
        return response
    page = f"errors/{status if status in OWN_PAGE else 'other'}.html"
    return make_response(render_template(page, status=status, error=shown, incident=incident), status)
