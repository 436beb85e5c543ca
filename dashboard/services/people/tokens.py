"""API tokens: made, checked, listed and revoked. Of a token only the SHA-256 is stored."""

from __future__ import annotations

import hashlib
import logging
import re
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from dashboard.errors import InvalidInput, Kind, StowageError, TooMany
from dashboard.models.console import User
from dashboard.models.sharing import ApiToken
from dashboard.services.audit import AuditLog
from dashboard.services.database import Database, clamp_integer
from dashboard.services.people.accounts import UserInfo, user_info
from dashboard.services.people.shared_rates import rates
from dashboard.services.people.sign_in_sessions import find_user
from dashboard.services.people.throttle import network_of
from dashboard.services.permissions import GRANTS, TOKEN_SCOPES, Actor, Permission, Role
from dashboard.storage.types import Secret

log = logging.getLogger(__name__)

PREFIX = "stw_"
"""By which people and secret scanners recognise a token."""
DEFAULT_SECONDS = 90 * 86_400.0
MIN_SECONDS, MAX_SECONDS = 60.0, 10 * 366 * 86_400.0
MAX_NAME_LENGTH = 63
MAX_TOKENS = 100
"""Usable tokens of one user."""
KEPT_SECONDS = 90 * 86_400.0
"""For which a token that is over stays in the list."""
LAST_USED_SECONDS = 60.0
MAX_KNOWN = 10_000

_FORMAT = re.compile(re.escape(PREFIX) + r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class TokenInfo:
    """A token as shown. ``ending``: its last four characters. Times in seconds since the epoch;
    ``expires_at`` None: never. ``scopes``: what it was made for; its user's role may grant less now."""

    id: int
    username: str
    name: str
    ending: str
    scopes: tuple[Permission, ...]
    created_at: float
    expires_at: float | None
    last_used_at: float | None
    last_address: str
    revoked_at: float | None

    @property
    def state(self) -> str:
        """``active``, ``expired`` or ``revoked``."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= time.time() else "active"


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token that was just made. ``secret`` is shown once and stored nowhere."""

    info: TokenInfo
    secret: Secret


@dataclass(frozen=True, slots=True)
class TokenHolder:
    """Whom a token stands for, and what it may do at most: its scopes that the user's role grants now."""

    user: UserInfo
    token: TokenInfo
    scopes: frozenset[Permission]

    @property
    def label(self) -> str:
        """The token in the audit log."""
        return f"{self.token.name} (…{self.token.ending})"


class Tokens:
    """Thread-safe. A token dies with its user, and whenever that user is disabled."""

    def __init__(self, database: Database, audit: AuditLog, *, requests_per_minute: int = 1200) -> None:
        self._database = database
        self._audit = audit
        self.limit_requests(requests_per_minute)
        # Guesses of 256 bits are hopeless; what is limited is the work that they cause.
        self._guesses = rates(database, "guesses", per_second=0.2, burst=20)
        self._known: dict[str, str] = {}

    def limit_requests(self, per_minute: int) -> None:
        """How many requests one token may send in a minute, from now on."""
        self._requests = rates(
            self._database, "requests", per_second=per_minute / 60, burst=max(10.0, per_minute / 6)
        )

    def create(
        self,
        actor: Actor,
        name: str,
        scopes: Iterable[str],
        *,
        seconds: float | None = DEFAULT_SECONDS,
        username: str = "",
    ) -> NewToken:
        """Make a token for the actor, or for another user, which requires ``USERS``. ``seconds`` None: it
        never expires. Raises ``InvalidInput`` naming the field, ``NOT_FOUND`` for the user, ``CONFLICT`` if
        there are too many."""
        actor.require(Permission.OWN_ACCOUNT)
        owner = username or actor.name
        if owner != actor.name:
            actor.require(Permission.USERS)
        name, wanted = _check_name(name), _check_scopes(scopes)
        if seconds is not None and not MIN_SECONDS <= seconds <= MAX_SECONDS:
            raise InvalidInput("expires", "A token is valid for a minute to ten years, or never expires.")
        text = PREFIX + secrets.token_urlsafe(32)
        now = time.time()
        with self._database.write() as session:
            user = find_user(session, owner)
            _refuse_more_than_role(user, wanted)
            _forget_old(session, now)
            _refuse_name_or_number(session, user, name, now)
            row = ApiToken(
                user_id=user.id,
                name=name,
                token_hash=_digest(text),
                ending=text[-4:],
                scopes=sorted(wanted),
                created_at=now,
                expires_at=now + seconds if seconds is not None else None,
            )
            session.add(row)
            session.flush()
            self._audit.record(
                session,
                actor,
                "token.create",
                name,
                user=user.username,
                ends_in=row.ending,
                scopes=", ".join(row.scopes),
                expires="never" if seconds is None else f"{seconds / 86_400:g} days",
            )
            return NewToken(_info(row, user.username), Secret(text))

    def list(self, actor: Actor, *, everybody: bool = False) -> tuple[TokenInfo, ...]:
        """The actor's tokens, or with ``everybody`` all of them, which requires ``USERS``; newest first."""
        actor.require(Permission.USERS if everybody else Permission.OWN_ACCOUNT)
        query = select(ApiToken, User.username).join(User, User.id == ApiToken.user_id)
        if not everybody:
            query = query.where(User.username == actor.name)
        with self._database.read() as session:
            rows = session.execute(query.order_by(ApiToken.id.desc()))
            return tuple(_info(row, username) for row, username in rows)

    def revoke(self, actor: Actor, token_id: int) -> TokenInfo:
        """End a token at once. Idempotent. Raises ``NOT_FOUND``, also for a token of somebody else without
        ``USERS``."""
        actor.require(Permission.OWN_ACCOUNT)
        with self._database.write() as session:
            row = session.get(ApiToken, clamp_integer(token_id))
            user = session.get(User, row.user_id) if row else None
            mine = user is not None and user.username == actor.name
            if row is None or user is None or not (mine or actor.may(Permission.USERS)):
                raise StowageError(
                    Kind.NOT_FOUND,
                    "There is no such token.",
                    operation="revoke token",
                    subject=str(token_id),
                    remedy="See the list of tokens for their numbers.",
                )
            if row.revoked_at is None:
                row.revoked_at = time.time()
                self._audit.record(
                    session, actor, "token.revoke", row.name, user=user.username, ends_in=row.ending
                )
            return _info(row, user.username)

    def authenticate(self, text: str, address: str) -> TokenHolder | None:
        """Whom a token stands for, or None if it is unknown, expired, revoked or its user disabled.

        Raises ``THROTTLED`` for an address that sent too many such tokens; one that works from there goes on
        working.
        """
        digest, network = _digest(text), network_of(address)
        if self._known.get(digest) != network and (wait := self._guesses.wait(network)):
            raise TooMany(
                "Too many tokens from this address were refused.",
                operation="authenticate",
                remedy="Wait, then send a token that is valid.",
                retry_after=wait,
            )
        holder = self._holder(digest) if _FORMAT.fullmatch(text) else None
        if holder is None:
            self._known.pop(digest, None)
            self._guesses.take(network)
            return None
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        self._known[digest] = network
        self._note_use(holder.token, address)
        return holder

    def is_valid(self, text: str) -> bool:
        """Whether this is a token that may be used. Only reads, and counts neither use nor failure."""
        return bool(_FORMAT.fullmatch(text)) and self._holder(_digest(text)) is not None

    def count_request(self, holder: TokenHolder) -> None:
        """Count one request of a token. Raises ``THROTTLED`` beyond its rate."""
        if wait := self._requests.take(str(holder.token.id)):
            raise TooMany(
                "This token sends too many requests.",
                operation="request",
                remedy="Send fewer at once; an administrator can allow more with "
                "STOWAGE_API_REQUESTS_PER_MINUTE.",
                retry_after=wait,
            )

    def _holder(self, digest: str) -> TokenHolder | None:
        query = select(ApiToken, User).join(User, User.id == ApiToken.user_id)
        with self._database.read() as session:
            found = session.execute(query.where(ApiToken.token_hash == digest)).one_or_none()
            if found is None:
                return None
            row, user = found
            info = _info(row, user.username)
            if info.state != "active" or user.disabled:
                return None
            granted = GRANTS[Role(user.role)].intersection(info.scopes) & TOKEN_SCOPES
            return TokenHolder(user_info(user), info, granted)

    def _note_use(self, token: TokenInfo, address: str) -> None:
        now = time.time()
        if token.last_used_at is not None and now - token.last_used_at < LAST_USED_SECONDS:
            return
        try:
            with self._database.write() as session:
                row = session.get(ApiToken, token.id)
                if row is not None:
                    row.last_used_at, row.last_address = now, address[:64]
        except StowageError as error:
            # A full disk must not stop programs that only read.
            log.warning("The last use of a token was not noted: %s", error.reason)


def _check_name(name: str) -> str:
    name = name.strip()
    if not 1 <= len(name) <= MAX_NAME_LENGTH or not name.isprintable():
        raise InvalidInput(
            "name",
            f"A token's name has 1 to {MAX_NAME_LENGTH} characters on one line.",
            remedy="Name it after the program that will use it.",
        )
    return name


def _check_scopes(scopes: Iterable[str]) -> frozenset[Permission]:
    wanted = frozenset(scopes)
    known = {scope.value for scope in TOKEN_SCOPES}
    if not wanted or not wanted <= known:
        raise InvalidInput(
            "scopes",
            "Choose at least one thing that the token may do."
            if not wanted
            else "This cannot be allowed to a token.",
            remedy=f"The scopes are {', '.join(sorted(known))}.",
        )
    return frozenset(Permission(scope) for scope in wanted)


def _refuse_more_than_role(user: User, wanted: frozenset[Permission]) -> None:
    if beyond := sorted(wanted - GRANTS[Role(user.role)]):
        raise InvalidInput(
            "scopes",
            f"The role {user.role} does not include: {', '.join(beyond)}.",
            remedy="A token may do no more than its user.",
        )


def _refuse_name_or_number(session: Session, user: User, name: str, now: float) -> None:
    usable = (
        (ApiToken.user_id == user.id)
        & ApiToken.revoked_at.is_(None)
        & (ApiToken.expires_at.is_(None) | (ApiToken.expires_at > now))
    )
    if session.scalar(select(ApiToken.id).where(usable, ApiToken.name == name)) is not None:
        raise InvalidInput(
            "name", f"There is already a token “{name}”.", remedy="Choose another name, or revoke it first."
        )
    if (session.scalar(select(func.count(ApiToken.id)).where(usable)) or 0) >= MAX_TOKENS:
        raise StowageError(
            Kind.CONFLICT,
            f"“{user.username}” has {MAX_TOKENS} tokens already.",
            operation="create token",
            remedy="Revoke those that nothing uses any more.",
        )


def _forget_old(session: Session, now: float) -> None:
    before = now - KEPT_SECONDS
    session.execute(delete(ApiToken).where((ApiToken.revoked_at < before) | (ApiToken.expires_at < before)))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _info(row: ApiToken, username: str) -> TokenInfo:
    # A scope of another version of Stowage grants nothing.
    scopes = tuple(Permission(scope) for scope in row.scopes if scope in set(Permission))
    return TokenInfo(
        id=row.id,
        username=username,
        name=row.name,
        ending=row.ending,
        scopes=scopes,
        created_at=row.created_at,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
        last_address=row.last_address,
        revoked_at=row.revoked_at,
    )
