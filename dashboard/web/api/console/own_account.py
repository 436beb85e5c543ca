"""One's own account: password, sessions, two-factor sign-in and API tokens. In a session only, because an API
token changes nothing about the person whom it stands for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from flask_login import current_user

from dashboard.services.people.passwords import MAX_LENGTH
from dashboard.services.people.sign_in_sessions import SessionInfo
from dashboard.services.people.tokens import TokenInfo
from dashboard.services.people.two_factor import TwoFactorState
from dashboard.services.permissions import Permission
from dashboard.storage.types import Secret
from dashboard.web import sessions
from dashboard.web.api.routes import Reply, Resource
from dashboard.web.api.schemas import Field
from dashboard.web.context import actor, services

resource = Resource(
    "Own account",
    "Password, sessions, two-factor sign-in and API tokens of the person who is signed in. For sessions: API "
    "tokens are refused.",
)

MAX_TOKEN_SECONDS = 10 * 366 * 86_400
_WRONG_PASSWORD = {429: "Too many wrong passwords or codes."}

Password = Annotated[Secret, Field("That of the person who is signed in.", maximum_length=MAX_LENGTH)]


@dataclass(frozen=True, slots=True)
class PasswordChange:
    """The password of now, and the one from now on."""

    current: Password
    new: Annotated[Secret, Field(maximum_length=MAX_LENGTH)]


@dataclass(frozen=True, slots=True)
class SessionList:
    """Signed-in browsers, the latest seen first: everybody's for those who manage users."""

    sessions: tuple[SessionInfo, ...]


@dataclass(frozen=True, slots=True)
class EndedSessions:
    """How many sessions have ended."""

    ended: int


@dataclass(frozen=True, slots=True)
class ConfirmedByPassword:
    """That it is the person who is signed in."""

    password: Password


@dataclass(frozen=True, slots=True)
class SecondFactorSecret:
    """What an authenticator app is given. It counts once a code of it was confirmed."""

    secret: str
    uri: str


@dataclass(frozen=True, slots=True)
class SecondFactorCode:
    """A code of the authenticator app."""

    code: Annotated[str, Field(maximum_length=100)]


@dataclass(frozen=True, slots=True)
class RecoveryCodes:
    """Each signs in once. They are shown this once."""

    codes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TokenList:
    """API tokens, newest first: one's own, or with `everybody` all of them."""

    tokens: tuple[TokenInfo, ...]


@dataclass(frozen=True, slots=True)
class TokenQuery:
    """Whose tokens."""

    everybody: Annotated[bool, Field("Of all users; needs `users`.")] = False


@dataclass(frozen=True, slots=True)
class TokenToMake:
    """A token to make. `seconds` null: it never expires."""

    name: Annotated[str, Field("The program that will use it.", maximum_length=200)]
    scopes: Annotated[tuple[Permission, ...], Field(maximum_items=50)]
    seconds: Annotated[int | None, Field(minimum=60, maximum=MAX_TOKEN_SECONDS)] = None


@dataclass(frozen=True, slots=True)
class MadeToken:
    """A token that was just made. `secret` is shown this once."""

    token: TokenInfo
    secret: str


@resource.route(
    "PUT",
    "/account/password",
    Permission.OWN_ACCOUNT,
    body=PasswordChange,
    errors=_WRONG_PASSWORD,
    status=204,
)
def change_password(body: PasswordChange) -> None:
    """Change one's own password.

    All sessions end but this one, which gets a new cookie.
    """
    token = services().accounts.change_own_password(actor(), body.current, body.new, sessions.device())
    sessions.start_session(token)


@resource.route("GET", "/sessions", Permission.OWN_ACCOUNT, returns=SessionList)
def list_sessions() -> SessionList:
    """List where one is signed in; for those who manage users, where everybody is."""
    return SessionList(services().accounts.sessions.list(actor(), current_user.token))


@resource.route("DELETE", "/sessions/<int:id>", Permission.OWN_ACCOUNT, status=204)
def end_session(id: int) -> None:
    """End one session."""
    services().accounts.sessions.end(actor(), id)


@resource.route("POST", "/sessions/end-others", Permission.OWN_ACCOUNT, returns=EndedSessions)
def end_other_sessions() -> EndedSessions:
    """End all of one's own sessions but this one."""
    return EndedSessions(services().accounts.sessions.end_others(actor(), current_user.token))


@resource.route("GET", "/account/two-factor", Permission.OWN_ACCOUNT, returns=TwoFactorState)
def two_factor() -> TwoFactorState:
    """Return whether signing in takes a code, and how many recovery codes are left."""
    return services().accounts.two_factor.state(actor())


@resource.route(
    "POST",
    "/account/two-factor",
    Permission.OWN_ACCOUNT,
    body=ConfirmedByPassword,
    returns=SecondFactorSecret,
    errors=_WRONG_PASSWORD,
)
def begin_two_factor(body: ConfirmedByPassword) -> SecondFactorSecret:
    """Begin to turn two-factor sign-in on: make a secret for an authenticator app.

    Nothing changes until a code of it is confirmed.
    """
    services().accounts.confirm_password(actor(), body.password)
    enrolment = services().accounts.two_factor.begin(actor())
    return SecondFactorSecret(enrolment.secret.reveal(), enrolment.uri.reveal())


@resource.route(
    "POST",
    "/account/two-factor/confirm",
    Permission.OWN_ACCOUNT,
    body=SecondFactorCode,
    returns=RecoveryCodes,
    errors=_WRONG_PASSWORD,
)
def confirm_two_factor(body: SecondFactorCode) -> RecoveryCodes:
    """Turn two-factor sign-in on with a first code."""
    return RecoveryCodes(services().accounts.two_factor.confirm(actor(), body.code))


@resource.route(
    "POST",
    "/account/two-factor/codes",
    Permission.OWN_ACCOUNT,
    body=ConfirmedByPassword,
    returns=RecoveryCodes,
    errors=_WRONG_PASSWORD,
)
def renew_recovery_codes(body: ConfirmedByPassword) -> RecoveryCodes:
    """Make new recovery codes.

    The old ones stop working.
    """
    services().accounts.confirm_password(actor(), body.password)
    return RecoveryCodes(services().accounts.two_factor.renew_codes(actor()))


@resource.route(
    "POST",
    "/account/two-factor/off",
    Permission.OWN_ACCOUNT,
    body=ConfirmedByPassword,
    returns=TwoFactorState,
    errors=_WRONG_PASSWORD,
)
def end_two_factor(body: ConfirmedByPassword) -> TwoFactorState:
    """Turn one's own two-factor sign-in off."""
    services().accounts.confirm_password(actor(), body.password)
    services().accounts.two_factor.disable(actor())
    return two_factor()


@resource.route("GET", "/tokens", Permission.OWN_ACCOUNT, query=TokenQuery, returns=TokenList)
def list_tokens(query: TokenQuery) -> TokenList:
    """List API tokens."""
    return TokenList(services().tokens.list(actor(), everybody=query.everybody))


@resource.route("POST", "/tokens", Permission.OWN_ACCOUNT, body=TokenToMake, returns=MadeToken, status=201)
def make_token(body: TokenToMake) -> Reply:
    """Make an API token.

    It may do what its scopes say and its user's role grants.
    """
    made = services().tokens.create(actor(), body.name.strip(), body.scopes, seconds=body.seconds)
    return Reply(MadeToken(made.info, made.secret.reveal()), 201)


@resource.route("DELETE", "/tokens/<int:id>", Permission.OWN_ACCOUNT, status=204)
def revoke_token(id: int) -> None:
    """Revoke a token: one's own, or anybody's for those who manage users."""
    services().tokens.revoke(actor(), id)
