"""Flask-Login on top of server-side sessions: the cookie holds an opaque token and nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from flask import Flask, g, session
from flask_login import LoginManager, UserMixin, current_user, login_user, logout_user

from dashboard.services.people.accounts import UserInfo
from dashboard.storage.types import Secret
from dashboard.web.context import address, services


@dataclass(frozen=True, eq=False)
class Visitor(UserMixin):  # type: ignore[misc]  # flask_login ships no types
    """Somebody who is signed in. ``token`` names the session on the server, not the person."""

    token: str
    info: UserInfo

    def get_id(self) -> str:
        """What Flask-Login keeps in the cookie."""
        return self.token


def install(app: Flask) -> None:
    """Let ``current_user`` be the visitor that the cookie's token resumes."""
    manager = LoginManager()
    # Its protection hashes address and browser into the cookie and logs people out when a laptop moves;
    # ours is a token that the server can end at any time.
    manager.session_protection = None
    manager.user_loader(_resume)
    manager.init_app(app)


def _resume(token: str) -> Visitor | None:
    info = services().accounts.resume(token)
    return Visitor(token, info) if info else None


def enter(username: str, password: Secret) -> None:
    """Sign in and give the browser a new session. Raises ``StowageError``."""
    begin(services().accounts.sign_in(username, password, address()))


def begin(token: str) -> None:
    """Give the browser a session that has just begun."""
    info = services().accounts.resume(token)
    if info is None:
        raise RuntimeError("a session that was just begun cannot be resumed")
    _forget()
    login_user(Visitor(token, info))


def leave() -> None:
    """Sign out: ends every session of this person, here and elsewhere."""
    if current_user.is_authenticated:
        services().accounts.sign_out(current_user.token)
    logout_user()
    _forget()


def _forget() -> None:
    """Nothing from before a sign-in or sign-out, the CSRF secret included, is worth anything after it."""
    session.clear()
    g.pop("csrf_token", None)
