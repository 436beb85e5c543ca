"""What a view needs to know of the request it serves: the services, who is asking, and in which shape."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from flask import current_app, request
from flask_login import current_user

from dashboard.services.permissions import GRANTS, Actor, Permission

if TYPE_CHECKING:
    from dashboard.services.services import Services

EXTENSION = "stowage"


def services() -> Services:
    """The services this application was composed with."""
    return cast("Services", current_app.extensions[EXTENSION])


def actor() -> Actor:
    """The person behind this request. Only for routes that need a permission."""
    info = current_user.info
    return Actor(name=info.username, role=info.role, via="web", address=address())


def address() -> str:
    """Where the request comes from, as far as the trusted proxies tell."""
    return request.remote_addr or ""


def can(permission: str) -> bool:
    """Whether the person behind this request holds a permission; False for nobody."""
    if not current_user.is_authenticated:
        return False
    return Permission(permission) in GRANTS[current_user.info.role]


def for_api() -> bool:
    """Whether a program asks, and wants JSON."""
    return request.path.startswith("/api/")


def from_htmx() -> bool:
    """Whether a fragment of a page is wanted instead of the page."""
    return request.headers.get("HX-Request") == "true" and request.headers.get("HX-Boosted") != "true"
