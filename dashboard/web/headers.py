"""The security headers of every response, and the cookie flags."""

from __future__ import annotations

import re
from collections.abc import Mapping

from flask import Flask, Response, request

from dashboard.web import assets
from dashboard.web.context import from_htmx

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "media-src 'self'",
        # A PDF in the pane of the Files page; what is framed has a policy of its own.
        "frame-src 'self'",
        "font-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)

_ORIGIN = re.compile(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?")

ALWAYS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    # Flask-WTF compares the referrer on HTTPS, so “no-referrer” would refuse every form.
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=(), browsing-topics=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}

_ONE_YEAR = 31_536_000
OWN_HEADERS = "stowage_headers"


def install(app: Flask, *, secure_cookies: bool) -> None:
    """Configure cookies, and set the headers on every response, errors and static files included."""
    app.config.update(
        SESSION_COOKIE_NAME="__Host-stowage" if secure_cookies else "stowage",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=secure_cookies,
        SESSION_COOKIE_PATH="/",
    )

    @app.after_request
    def set_headers(response: Response) -> Response:
        own = getattr(response, OWN_HEADERS, {})
        for name, value in {**ALWAYS, **own}.items():
            response.headers[name] = value
        if secure_cookies:
            response.headers["Strict-Transport-Security"] = f"max-age={_ONE_YEAR}; includeSubDomains"
        response.headers["Cache-Control"] = own.get("Cache-Control") or _caching(response)
        return response


def set_own_headers(response: Response, headers: Mapping[str, str]) -> None:
    """Give one response other values of headers that are set on every response."""
    setattr(response, OWN_HEADERS, {**getattr(response, OWN_HEADERS, {}), **headers})


def allow_connections(response: Response, origin: str) -> None:
    """Let the page of this response send requests to one other site, too: scheme, host and port. Nothing is
    allowed if that is not what it is."""
    if _ORIGIN.fullmatch(origin):
        ours = "connect-src 'self'"
        policy = CONTENT_SECURITY_POLICY.replace(ours, f"{ours} {origin}")
        set_own_headers(response, {"Content-Security-Policy": policy})


def _caching(response: Response) -> str:
    """Files whose name changes with their content are cached for ever. A page is asked for again each time.
    Not kept at all: what a form answers, which may be shown only once, and fragments, which going back
    would otherwise show in place of their page."""
    if assets.is_fingerprinted(response):
        return f"public, max-age={_ONE_YEAR}, immutable"
    if request.endpoint == "static" and response.status_code in (200, 304):
        return "no-cache"
    is_page = request.method == "GET" and response.status_code == 200 and response.mimetype == "text/html"
    return "private, no-cache" if is_page and not from_htmx() else "no-store"
