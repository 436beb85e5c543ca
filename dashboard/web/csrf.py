"""The CSRF token that every change needs which a session authorises.

A request with an API token needs none: a browser never adds one by itself. For the API only the header
counts: looking for the field of a form would read a body that no view has limited yet.
"""

from __future__ import annotations

from flask import Flask, request
from flask_wtf import CSRFProtect

from dashboard.web.context import for_api, token_holder
from dashboard.web.sessions import accepts_tokens

HEADER = "X-CSRFToken"


class _HeaderFirst(CSRFProtect):  # type: ignore[misc]  # flask_wtf ships no types
    def _get_csrf_token(self) -> str | None:
        if for_api() or accepts_tokens():
            return request.headers.get(HEADER)
        token: str | None = super()._get_csrf_token()
        return token


def install(app: Flask) -> None:
    """Check every change before its view runs. Called after the guards: they have decided who sends it."""
    app.config["WTF_CSRF_CHECK_DEFAULT"] = False
    protection = _HeaderFirst(app)

    @app.before_request
    def check() -> None:
        if token_holder() is None:
            protection.protect(apply_exemptions=True)
