"""Flask-Login over server-side sessions: the cookie holds an opaque token and nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from flask import Flask, g, session
from flask_login import LoginManager, UserMixin, current_user, login_user, logout_user

from dashboard.services.people.accounts import UserInfo
from dashboard.storage.types import Secret
from dashboard.web.context import address, services


@dataclass(frozen=True, eq=False)
class SignedInUser(UserMixin):  # type: ignore[misc]  # flask_login ships no types
    """A signed-in user. ``token`` identifies the session on the server, not the person."""

    token: str
    info: UserInfo

    def get_id(self) -> str:
        """The value that Flask-Login stores in the cookie."""
        return self.token


def install(app: Flask) -> None:
    """Make ``current_user`` the user whose session the cookie's token resumes."""
    manager = LoginManager()
    # Its protection ties the cookie to address and browser, and signs people out when a laptop changes
    # networks. Ours is a token that the server can revoke at any time.
    manager.session_protection = None
    manager.user_loader(_load_user)
    manager.init_app(app)


def _load_user(token: str) -> SignedInUser | None:
    info = services().accounts.resume(token)
    return SignedInUser(token, info) if info else None


def sign_in(username: str, password: Secret) -> None:
    """Sign in, and give the browser a new session. Raises ``StowageError``."""
    start_session(services().accounts.sign_in(username, password, address()))


def start_session(token: str) -> None:
    """Give the browser a session that was just created."""
    info = services().accounts.resume(token)
    if info is None:
        raise RuntimeError("a session that was just created cannot be resumed")
    _clear_browser_session()
    login_user(SignedInUser(token, info))


def sign_out() -> None:
    """Sign out, ending every session of this user on every device."""
    if current_user.is_authenticated:
        services().accounts.sign_out(current_user.token)
    logout_user()
    _clear_browser_session()


def _clear_browser_session() -> None:
    """Discard everything from before a sign-in or sign-out, the CSRF secret included."""
    session.clear()
    g.pop("csrf_token", None)
