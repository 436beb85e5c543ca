"""The context of a request: the services, the user behind it, and the kind of response it expects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from flask import current_app, request
from flask_login import current_user

from dashboard.services.permissions import Actor, Permission

if TYPE_CHECKING:
    from dashboard.services.people.tokens import TokenHolder
    from dashboard.services.services import Services

T = TypeVar("T")

EXTENSION = "stowage"
API_DOCUMENT = "stowage.api"

_FOUND = "stowage_found"
API_PATHS = ("/api/", "/admin/storage/", "/admin/storage-service/", "/environment-variables")
"""Where programs are answered, always in JSON."""


def services() -> Services:
    """Return the services of this application."""
    return cast("Services", current_app.extensions[EXTENSION])


def api_document() -> Mapping[str, Any]:
    """Return the OpenAPI document of this application's API."""
    return cast("Mapping[str, Any]", current_app.extensions[API_DOCUMENT]())


def actor() -> Actor:
    """Return the user behind this request. Only for routes that require a permission."""
    info = current_user.info
    if holder := token_holder():
        return Actor(info.username, info.role, "api", address(), scopes=holder.scopes, token=holder.label)
    return Actor(name=info.username, role=info.role, via="web", address=address())


def token_holder() -> TokenHolder | None:
    """Return whom this request's API token stands for; None for a session, or if nobody is signed in."""
    return getattr(current_user, "holder", None)


def address() -> str:
    """Return the client's address, as reported by trusted proxies if there are any."""
    return request.remote_addr or ""


def found_out() -> dict[str, Any]:
    """Return what was found out about this request and its person, by the caller's names: pages ask for it
    hundreds of times. Only inside a request."""
    # Not in ``g``: that may be an application context's, in which several requests are made. Past the proxy,
    # which takes as long as all the rest.
    found: dict[str, Any] = cast("Any", request)._get_current_object().__dict__.setdefault(_FOUND, {})
    return found


def once_a_request(name: str, find: Callable[[], T]) -> T:
    """Return what ``find`` returns, which is called once in this request. ``name``: the caller's own."""
    found = found_out()
    if name not in found:
        found[name] = find()
    kept: T = found[name]
    return kept


def forget_person() -> None:
    """Find everything out again: somebody has just signed in or out."""
    found_out().clear()


def can(permission: str) -> bool:
    """Return whether the user behind this request has a permission; False if nobody is signed in."""
    return once_a_request("may", _rights)(Permission(permission))


def _rights() -> Callable[[Permission], bool]:
    return actor().may if current_user.is_authenticated else _nothing


def _nothing(_permission: Permission) -> bool:
    return False


def for_api() -> bool:
    """Return whether the client is a program that expects JSON."""
    return request.path.startswith(API_PATHS)


def from_htmx() -> bool:
    """Return whether htmx asks for a fragment instead of a page."""
    return request.headers.get("HX-Request") == "true" and request.headers.get("HX-Boosted") != "true"


def external_url(path: str) -> str:
    """Return the URL of a path of this console for people elsewhere: with ``STOWAGE_PUBLIC_URL``, or the
    address that this request was sent to, which ``hosts`` has checked."""
    return (services().settings.public_url or request.host_url.rstrip("/")) + path
