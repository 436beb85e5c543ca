"""Who is asking: the user behind a session or an API token."""

from __future__ import annotations

from dataclasses import dataclass

from flask_login import current_user

from dashboard import __version__
from dashboard.services.permissions import GRANTS, Permission, Role
from dashboard.web.api.routes import Resource
from dashboard.web.context import actor, token_holder
from dashboard.web.guards import Access

resource = Resource("Account", "Who is asking, and what they may do.")


@dataclass(frozen=True, slots=True)
class TokenDetails:
    """The API token of this request. Times in seconds since the epoch; `expires_at` null: never."""

    name: str
    ending: str
    scopes: tuple[Permission, ...]
    created_at: float
    expires_at: float | None


@dataclass(frozen=True, slots=True)
class Account:
    """The user behind this request. `permissions`: what may be done with it now. `token` is null for a
    session."""

    username: str
    role: Role
    permissions: tuple[Permission, ...]
    token: TokenDetails | None
    version: str


@resource.route("GET", "/account", Access.SIGNED_IN, returns=Account)
def show() -> Account:
    """Who is asking.

    Any valid token may use this, whatever its scopes: a program can check its token here.
    """
    info, holder = current_user.info, token_holder()
    token = holder.token if holder else None
    return Account(
        username=info.username,
        role=info.role,
        permissions=tuple(p for p in Permission if p in GRANTS[info.role] and actor().may(p)),
        token=TokenDetails(token.name, token.ending, token.scopes, token.created_at, token.expires_at)
        if token
        else None,
        version=__version__,
    )
