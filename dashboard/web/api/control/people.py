"""Users: who can sign in, and what they may do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from flask import url_for

from dashboard.errors import InvalidInput, Kind, StowageError
from dashboard.services.people.accounts import UserInfo
from dashboard.services.people.passwords import MAX_LENGTH, MIN_LENGTH
from dashboard.services.permissions import Permission, Role
from dashboard.storage.types import Secret
from dashboard.web.api.routes import Header, Reply, Resource
from dashboard.web.api.schemas import Field
from dashboard.web.context import actor, services

resource = Resource("Users", "Who can sign in, and what they may do.")

Password = Annotated[Secret, Field(f"At least {MIN_LENGTH} characters.", maximum_length=MAX_LENGTH)]


@dataclass(frozen=True, slots=True)
class UserList:
    """Everybody, by name."""

    users: tuple[UserInfo, ...]


@dataclass(frozen=True, slots=True)
class NewUser:
    """A user to add."""

    username: Annotated[str, Field("Lowercase letters, digits and a few signs.", maximum_length=64)]
    password: Password
    role: Role = Role.VIEWER


@dataclass(frozen=True, slots=True)
class UserChange:
    """Changes to a user; what is left out stays as it is. A new password ends all of their sessions."""

    role: Role | None = None
    disabled: bool | None = None
    password: Annotated[Secret | None, Field(maximum_length=MAX_LENGTH)] = None


@resource.route("GET", "/users", Permission.USERS, returns=UserList)
def index() -> UserList:
    """List all users."""
    return UserList(services().accounts.list())


@resource.route(
    "POST",
    "/users",
    Permission.USERS,
    body=NewUser,
    returns=UserInfo,
    status=201,
    response_headers=(Header("Location", "Its address."),),
)
def add(body: NewUser) -> Reply:
    """Add a user."""
    added = services().accounts.add(actor(), body.username, body.password, body.role)
    return Reply(added, 201, {"Location": url_for(".users_show", username=added.username)})


@resource.route("GET", "/users/<username>", Permission.USERS, returns=UserInfo)
def show(username: str) -> UserInfo:
    """Return one user."""
    found = next((each for each in services().accounts.list() if each.username == username), None)
    if found is None:
        raise StowageError(Kind.NOT_FOUND, "There is no such user.", operation="user", subject=username)
    return found


@resource.route("PATCH", "/users/<username>", Permission.USERS, body=UserChange, returns=UserInfo)
def change(username: str, body: UserChange) -> UserInfo:
    """Change one thing about a user.

    The last administrator stays one. Send one field at a time: each takes effect by itself.
    """
    sent = [value for value in (body.role, body.disabled, body.password) if value is not None]
    if len(sent) != 1:
        raise InvalidInput("body", "Send exactly one of role, disabled and password.")
    accounts = services().accounts
    if body.role is not None:
        accounts.set_role(actor(), username, body.role)
    elif body.disabled is not None:
        accounts.set_disabled(actor(), username, body.disabled)
    elif body.password is not None:
        accounts.set_password(actor(), username, body.password)
    return show(username)


@resource.route("POST", "/users/<username>/two-factor/reset", Permission.USERS, status=204)
def reset_two_factor(username: str) -> None:
    """Turn somebody's two-factor sign-in off who has lost phone and recovery codes.

    All of their sessions end.
    """
    services().accounts.two_factor.reset(actor(), username)
