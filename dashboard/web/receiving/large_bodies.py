"""Who may send a body that is larger than any form: the web server asks before it receives one.

Bodies are received before the application sees the request, so without this anybody could fill memory and
disk with requests that are refused later. It decides nothing else: the guards check every request as always.
"""

from __future__ import annotations

from collections.abc import Mapping

from flask import Flask
from flask.sessions import SecureCookieSessionInterface
from itsdangerous import BadSignature
from werkzeug.http import parse_cookie

from dashboard.errors import StowageError
from dashboard.services.services import Services

ROUTE = "/api/v1/uploads"
METHODS = frozenset({"POST", "PATCH"})
_USER_ID = "_user_id"
"""Where Flask-Login keeps the token of a session."""


class LargeBodies:
    """Thread-safe. Called on the thread that receives for all connections: it only reads the database, which
    never waits for writers."""

    def __init__(self, app: Flask, services: Services) -> None:
        self._services = services
        self._cookie: str = app.config["SESSION_COOKIE_NAME"]
        self._serializer = SecureCookieSessionInterface().get_signing_serializer(app)

    def __call__(self, method: str, path: str, headers: Mapping[str, str]) -> bool:
        """Whether a request with these headers (as in WSGI: ``USER_AGENT``) may have a large body."""
        if method not in METHODS or not (path == ROUTE or path.startswith(f"{ROUTE}/")):
            return False
        try:
            scheme, _, token = headers.get("AUTHORIZATION", "").partition(" ")
            if scheme.lower() == "bearer":
                return self._services.tokens.is_valid(token.strip())
            session = self._session(headers.get("COOKIE", ""))
            return bool(session) and self._services.accounts.is_signed_in(session)
        except StowageError:
            return False

    def _session(self, cookies: str) -> str:
        if self._serializer is None:
            return ""
        try:
            found = self._serializer.loads(parse_cookie(cookies).get(self._cookie, ""))
        except (BadSignature, UnicodeError):
            return ""
        token = found.get(_USER_ID) if isinstance(found, dict) else None
        return token if isinstance(token, str) else ""
