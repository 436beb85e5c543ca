"""Error responses: the one table from error kinds to HTTP statuses.

A browser gets a page, htmx a notice, a program one JSON object.
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
from dashboard.web import expired_form
from dashboard.web.context import for_api, from_htmx
from dashboard.web.language import choice
from dashboard.web.language.sentences import translated
from dashboard.web.sessions import has_token

log = logging.getLogger(__name__)

STATUS: Mapping[Kind, int] = MappingProxyType(
    {
        Kind.INVALID: 400,
        Kind.INVALID_KEY: 400,
        Kind.FORBIDDEN: 403,
        Kind.NOT_FOUND: 404,
        Kind.CONFLICT: 409,
        Kind.CHANGED: 409,
        Kind.GONE: 410,
        Kind.UNSUPPORTED: 422,
        Kind.TOO_LARGE: 422,
        Kind.OVER_LIMIT: 413,
        Kind.WRONG_TYPE: 415,
        Kind.REFUSED: 422,
        Kind.LOCKED: 423,
        Kind.THROTTLED: 429,
        Kind.INTERNAL: 500,
        # The following come from a storage backend, not from this console.
        Kind.DENIED: 502,
        Kind.BAD_CREDENTIALS: 502,
        Kind.UNREACHABLE: 502,
        Kind.DAMAGED: 502,
        Kind.SEALED: 503,
        Kind.TIMEOUT: 504,
        Kind.FULL: 507,
    }
)

STATUS_PAGES = frozenset({400, 401, 403, 404, 405, 410, 413, 429, 500})
"""Statuses that have their own template; all others share one."""


@dataclass(frozen=True, slots=True)
class _Message:
    kind: str
    reason: str
    remedy: str


_BY_STATUS: Mapping[int, _Message] = MappingProxyType(
    {
        400: _Message(
            "invalid", "That request could not be understood.", "Go back, reload the page and try again."
        ),
        401: _Message("forbidden", "You are not signed in.", "Sign in and try again."),
        403: _Message("forbidden", "You may not do this.", "Ask an administrator."),
        404: _Message(
            "not_found", "There is no page at this address.", "Check the address, or start at the overview."
        ),
        405: _Message("unsupported", "This address cannot be used this way.", "Use the buttons on the page."),
        413: _Message("over_limit", "That is larger than this console accepts.", "Send less at once."),
        429: _Message("throttled", "Too many attempts.", "Wait a few minutes and try again."),
    }
)
_API_BY_STATUS: Mapping[int, _Message] = MappingProxyType(
    {
        400: _Message("invalid", "That request could not be understood.", "See the document at /api/v1/."),
        401: _Message(
            "forbidden",
            "You are not signed in.",
            "Send a valid API token as “Authorization: Bearer …”, or sign in and try again.",
        ),
        404: _Message("not_found", "There is nothing at this address.", "See the document at /api/v1/."),
        405: _Message(
            "unsupported", "This address has no such method.", "The header “Allow” names those that it has."
        ),
        411: _Message("invalid", "The request does not say how long it is.", "Send a Content-Length."),
        412: _Message(
            "changed", "It was changed meanwhile.", "Read it again and repeat the change with its new ETag."
        ),
        415: _Message("unsupported", "This type of content is not accepted here.", "Send application/json."),
        428: _Message(
            "invalid",
            "The request does not say which state it is based on.",
            "Read it, and send its ETag as “If-Match”.",
        ),
        429: _Message("throttled", "Too many requests.", "Wait and try again."),
    }
)
_DEFAULT_MESSAGE = _Message("invalid", "That request could not be processed.", "Go back and try again.")


def install(app: Flask) -> None:
    """Handle every error of this application, so that the server's own error page is never shown."""
    app.register_error_handler(CSRFError, _on_csrf)
    app.register_error_handler(StowageError, _on_stowage)
    app.register_error_handler(HTTPException, _on_http)
    app.register_error_handler(Exception, _on_unexpected)


def _on_stowage(error: StowageError) -> Response:
    # Not a backend but our own database.
    is_ours = error.kind is Kind.UNREACHABLE and error.operation == "database"
    return add_retry_after(error_response(503 if is_ours else STATUS[error.kind], error.as_dict()), error)


def add_retry_after(response: Response, error: StowageError | None) -> Response:
    """Set ``Retry-After`` if the error says when to try again (RFC 9110, 10.2.3)."""
    if isinstance(error, TooMany):
        response.headers["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
    return response


def _on_http(error: HTTPException) -> Response:
    if error.response is not None:
        return make_response(error.response)
    status = error.code or 500
    message = _BY_STATUS.get(status, _DEFAULT_MESSAGE)
    if for_api():
        message = _API_BY_STATUS.get(status, message)
    retryable = status in (412, 429)
    plain = StowageError(Kind(message.kind), message.reason, remedy=message.remedy, retryable=retryable)
    response = error_response(status, plain.as_dict())
    for name, value in error.get_headers():
        if name in ("Allow", "Retry-After", "Location", "WWW-Authenticate"):
            response.headers[name] = value
    return response


def _on_csrf(error: CSRFError) -> Response:
    """Offer a form again if only its token has expired; never offer one that was forged."""
    converted = StowageError(
        Kind.INVALID,
        "This page was open for too long, so the form was not sent.",
        operation="csrf",
        remedy="Reload the page and try again."
        + (" Programs send an API token instead." if for_api() else ""),
    )
    if for_api() or from_htmx():
        return error_response(400, converted.as_dict())
    return make_response(render_template("errors/expired.html", form=expired_form.expired_form()), 400)


def _on_unexpected(error: Exception) -> Response:
    """The last handler: shows an incident id that is also in the log, and nothing of the error itself."""
    incident = secrets.token_hex(4)
    log.error("incident %s: %s %s", incident, request.method, request.path, exc_info=error)
    converted = StowageError(
        Kind.INTERNAL,
        "Something went wrong inside the console.",
        remedy=f"Nothing was lost. Try again; if it happens twice, look for “{incident}” in the log.",
    )
    return error_response(500, converted.as_dict(), incident)


def error_response(status: int, error: Mapping[str, str | bool], incident: str = "") -> Response:
    """Render an error for the kind of client: a program, htmx or a browser."""
    document = {**error, "id": incident} if incident else dict(error)
    if for_api() or has_token():
        return _as_json(document, status)
    if from_htmx():
        response = make_response(render_template("parts/failure.html", error=document), status)
        # A failed fragment must not replace the content it was to refresh, so it goes to the notices.
        response.headers["HX-Retarget"] = "#failures"
        response.headers["HX-Reswap"] = "innerHTML"
        return response
    page = f"errors/{status if status in STATUS_PAGES else 'other'}.html"
    return make_response(render_template(page, status=status, error=document, incident=incident), status)


def _as_json(error: dict[str, str | bool], status: int) -> Response:
    """For a program, or a script of a page. Its sentences are for people; ``kind`` never changes."""
    error |= {name: translated(str(error[name])) for name in ("reason", "remedy")}
    response = make_response(jsonify(error=error), status)
    response.headers["Content-Language"] = choice.language()
    return response
