"""The context of a request: the services, the user behind it, and the kind of response it expects."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from flask import current_app, request
from flask_login import current_user

from dashboard.services.permissions import GRANTS, Actor, Permission

if TYPE_CHECKING:
    from dashboard.services.services import Services

EXTENSION = "stowage"


def services() -> Services:
    """Return the services of this application."""
    return cast("Services", current_app.extensions[EXTENSION])


def actor() -> Actor:
    """Return the user behind this request. Only for routes that require a permission."""
    info = current_user.info
    return Actor(name=info.username, role=info.role, via="web", address=address())


def address() -> str:
    """Return the client's address, as reported by trusted proxies if there are any."""
    return request.remote_addr or ""


def can(permission: str) -> bool:
    """Return whether the user behind this request has a permission; False if nobody is signed in."""
    if not current_user.is_authenticated:
        return False
    return Permission(permission) in GRANTS[current_user.info.role]


def for_api() -> bool:
    """Return whether the client is a program that expects JSON."""
    return request.path.startswith("/api/")


def from_htmx() -> bool:
    """Return whether htmx asks for a fragment instead of a page."""
    return request.headers.get("HX-Request") == "true" and request.headers.get("HX-Boosted") != "true"
