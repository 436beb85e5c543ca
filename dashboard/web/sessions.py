"""Flask-Login: who is behind a request, by a session or by an API token.

Sessions are kept on the server; the cookie holds an opaque token and nothing else. A request that carries an
API token, where these are accepted, is decided by it alone: a session cookie beside it counts for nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from flask import Flask, Request, current_app, g, request, session
from flask_login import LoginManager, UserMixin, current_user, login_user, logout_user

from dashboard.errors import Kind, StowageError, TooMany
from dashboard.services.people.accounts import SignedInPerson, UserInfo
from dashboard.services.people.sign_in_sessions import describe_device
from dashboard.services.people.tokens import TokenHolder
from dashboard.services.people.two_factor import CodeRequired
from dashboard.storage.types import Secret
from dashboard.web.context import address, for_api, forget_person, found_out, services

F = TypeVar("F", bound=Callable[..., Any])

_TOKENS = "stowage_accepts_tokens"
_CHALLENGE = "challenge"
_FAILED = "session_failed"


@dataclass(frozen=True, eq=False)
class SignedInUser(UserMixin):  # type: ignore[misc]  # flask_login ships no types
    """A signed-in user. ``token`` identifies the session on the server, not the person."""

    token: str
    info: SignedInPerson

    def get_id(self) -> str:
        """The value that Flask-Login stores in the cookie."""
        return self.token


@dataclass(frozen=True, eq=False)
class TokenUser(UserMixin):  # type: ignore[misc]  # flask_login ships no types
    """The user whom an API token stands for."""

    holder: TokenHolder

    @property
    def info(self) -> UserInfo:
        """The user."""
        return self.holder.user

    def get_id(self) -> str:
        """Never stored in a cookie."""
        raise NotImplementedError("a token starts no session")


def accept_tokens(view: F) -> F:
    """Decorate a view outside the API that programs may use with an API token."""
    setattr(view, _TOKENS, True)
    return view


def accepts_tokens() -> bool:
    """Return whether this request's route may be used with an API token: the API, and views that say so.

    Elsewhere the header is ignored: some proxies add one of their own for people who are signed in there.
    """
    view = current_app.view_functions.get(request.endpoint) if request.endpoint else None
    return for_api() or getattr(view, _TOKENS, False)


def has_token() -> bool:
    """Return whether the request is to be decided by an API token, be it valid or not."""
    scheme = request.headers.get("Authorization", "").partition(" ")[0]
    return scheme.lower() == "bearer" and accepts_tokens()


def token_error() -> TooMany | None:
    """Return why the token of this request was not even checked, if it was not."""
    error: TooMany | None = g.get("token_error")
    return error


def install(app: Flask) -> None:
    """Make ``current_user`` the user of the request's token, or whose session the cookie's token resumes."""
    manager = LoginManager()
    # Its protection ties the cookie to address and browser, and signs people out when a laptop changes
    # networks. Ours is a token that the server can revoke at any time.
    manager.session_protection = None
    manager.user_loader(_load_user)
    manager.request_loader(_load_token_user)
    manager.init_app(app)


def _load_user(token: str) -> SignedInUser | None:
    if has_token() or found_out().get(_FAILED):
        return None
    try:
        info = services().accounts.resume(token)
    except StowageError:
        # Told once: an error page asks for the language of this person, who is unknown now.
        found_out()[_FAILED] = True
        raise
    return SignedInUser(token, info) if info else None


def _load_token_user(incoming: Request) -> TokenUser | None:
    if not has_token():
        return None
    text = incoming.headers["Authorization"].partition(" ")[2].strip()
    try:
        holder = services().tokens.authenticate(text, address())
    except TooMany as error:
        # Raised by the guard: this runs wherever somebody asks who is signed in, error pages included.
        g.token_error = error
        return None
    return TokenUser(holder) if holder else None


def sign_in(username: str, password: Secret) -> bool:
    """Sign in, and give the browser a new session. Returns whether that is done: False if a code is needed.
    Raises ``StowageError``."""
    try:
        token = services().accounts.sign_in(username, password, address(), device())
    except CodeRequired as needed:
        _clear_browser_session()
        session[_CHALLENGE] = needed.challenge
        return False
    start_session(token)
    return True


def waits_for_code() -> bool:
    """Return whether this browser has sent a right password and no code yet."""
    return bool(session.get(_CHALLENGE))


def enter_code(code: str) -> None:
    """Finish signing in. Raises ``StowageError``; after ``GONE`` the sign-in has to begin again."""
    try:
        token = services().accounts.enter_code(str(session.get(_CHALLENGE, "")), code, address())
    except StowageError as error:
        if error.kind is Kind.GONE:
            session.pop(_CHALLENGE, None)
        raise
    start_session(token)


def device() -> str:
    """Return what to call this browser in the list of sessions."""
    return describe_device(request.headers.get("User-Agent", ""))


def start_session(token: str) -> None:
    """Give the browser a session that was just created."""
    info = services().accounts.resume(token)
    if info is None:
        raise RuntimeError("a session that was just created cannot be resumed")
    _clear_browser_session()
    login_user(SignedInUser(token, info))
    forget_person()


def sign_out() -> None:
    """Sign out, ending every session of this user on every device."""
    if current_user.is_authenticated:
        services().accounts.sign_out(current_user.token)
    logout_user()
    forget_person()
    _clear_browser_session()


def _clear_browser_session() -> None:
    """Discard everything from before a sign-in or sign-out, the CSRF secret included."""
    session.clear()
    g.pop("csrf_token", None)
