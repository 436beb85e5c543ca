"""Who is asking: the user behind a session or an API token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from flask_login import current_user

from dashboard import __version__
from dashboard.services.people.preferences import Preferences
from dashboard.services.permissions import GRANTS, Permission, Role
from dashboard.web.api.routes import Resource
from dashboard.web.api.schemas import Field
from dashboard.web.context import actor, services, token_holder
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


@dataclass(frozen=True, slots=True)
class PreferencesChange:
    """Changes to one's own preferences. What is left out stays; an empty text takes a choice back."""

    language: Annotated[str | None, Field("`en` or `de`.", maximum_length=16)] = None
    time_zone: Annotated[str | None, Field("An IANA name: `Europe/Berlin`.", maximum_length=64)] = None
    theme: Literal["", "auto", "light", "dark"] | None = None


@resource.route("GET", "/account/preferences", Access.SIGNED_IN, returns=Preferences)
def show_preferences() -> Preferences:
    """What the person behind this request has chosen for their pages."""
    return services().accounts.preferences.of(current_user.info.username)


@resource.route(
    "PATCH", "/account/preferences", Permission.OWN_ACCOUNT, body=PreferencesChange, returns=Preferences
)
def change_preferences(body: PreferencesChange) -> Preferences:
    """Change one's own preferences.

    In a session only: API tokens change nothing about the person whom they stand for.
    """
    return services().accounts.preferences.change(
        actor(), language=body.language, time_zone=body.time_zone, theme=body.theme
    )
