"""People and their sessions. A session lives on the server: ending it ends it everywhere."""

from __future__ import annotations

import logging
import secrets
import time
from dataclasses import dataclass

from sqlalchemy import bindparam, delete, func, select
from sqlalchemy.orm import Session

from dashboard.errors import InvalidInput, Kind, StowageError
from dashboard.models.console import SignInSession, User
from dashboard.services.audit import AuditLog
from dashboard.services.database import Database
from dashboard.services.keys import Keys
from dashboard.services.people import throttle
from dashboard.services.people.passwords import (
    MAX_LENGTH,
    Passwords,
    check_password,
    check_username,
    to_secret,
)
from dashboard.services.people.preferences import NO_PREFERENCES, OwnPreferences, Preferences, preferences_of
from dashboard.services.people.sign_in_sessions import (
    IDLE_SECONDS,
    LIFETIME_SECONDS,
    SignInSessions,
    digest,
    end_all,
    find_user,
    lookup_user,
)
from dashboard.services.people.two_factor import CodeRequired, TwoFactors, is_enabled, wrong_code
from dashboard.services.permissions import Actor, Permission, Role
from dashboard.storage.types import Secret

log = logging.getLogger(__name__)

LAST_SEEN_SECONDS = 60.0
_RESUMED = (
    select(SignInSession.id, SignInSession.expires_at, SignInSession.last_seen, User)
    .join(User, User.id == SignInSession.user_id)
    .where(SignInSession.token_hash == bindparam("token"))
)
"""Put together once: it is asked on every request."""


@dataclass(frozen=True, slots=True)
class UserInfo:
    """A person as shown. Times in seconds since the epoch."""

    id: int
    username: str
    role: Role
    created_at: float
    last_sign_in: float | None
    disabled: bool


@dataclass(frozen=True, slots=True)
class SignedInPerson(UserInfo):
    """A person behind a session, with what they chose for their pages."""

    preferences: Preferences = NO_PREFERENCES


class Accounts:
    """Signs people in and out and keeps their accounts. Thread-safe."""

    def __init__(
        self, database: Database, audit: AuditLog, keys: Keys, passwords: Passwords | None = None
    ) -> None:
        self._database = database
        self._audit = audit
        self._keys = keys
        self._passwords = passwords or Passwords()
        self.sessions = SignInSessions(database, audit)
        self.two_factor = TwoFactors(database, audit, keys)
        self.preferences = OwnPreferences(database)

    def session_secret(self) -> bytes:
        """The secret that signs cookies and form tokens; the same in every process, unless sealed."""
        return self._keys.session_secret()

    def sign_in(self, username: str, password: Secret | str, address: str, device: str = "") -> str:
        """Start a session and return its token, which is stored nowhere. ``device``: what to call the
        browser.

        Raises ``CodeRequired`` if the password is right and the account takes a code: see :meth:`enter_code`.
        Raises ``FORBIDDEN``, with the same sentence for an unknown name, a disabled account and a wrong
        password, and ``THROTTLED`` after too many failures or while too many people are signing in.
        """
        username = username.strip().lower()
        secret = to_secret(password)
        with self._database.read() as session:
            known = _signed_in_from(session, username, address)
            throttle.refuse_blocked(session, username, address, known=known)
        # Attempts that are refused by a full queue are not counted.
        with self._passwords.slot(address):
            with self._database.write() as session:
                throttle.count_attempt(session, username, address, known=known)
                user = lookup_user(session, username)
                stored = user.password_hash if user else None
            # Hashing takes a tenth of a second: not while the write lock is held.
            right = self._passwords.verify(stored, secret) and len(secret.reveal()) <= MAX_LENGTH
            outdated = right and self._passwords.outdated(stored or "")
            fresh_hash = self._passwords.hash(secret) if outdated else None
        token, challenge = secrets.token_urlsafe(32), ""
        with self._database.write() as session:
            user = lookup_user(session, username)
            if user and right and not user.disabled and user.password_hash == stored:
                if not is_enabled(session, user):
                    self._begin_session(session, user, token, address, fresh_hash, device=device)
                    return token
                challenge = self.two_factor.challenge(session, user, address, device)
            else:
                self._record_refusal(session, user, address)
        if challenge:
            raise CodeRequired(challenge)
        raise StowageError(
            Kind.FORBIDDEN,
            "The username or the password is wrong.",
            operation="sign in",
            remedy="Check both; an administrator can set a new password.",
        )

    def begin_session(self, username: str, address: str, device: str = "") -> str:
        """Start a session without a password and return its token: only for people of whom the caller knows
        that they may sign in. Raises ``NOT_FOUND``."""
        token = secrets.token_urlsafe(32)
        with self._database.write() as session:
            user = find_user(session, username)
            if user.disabled:
                raise StowageError(
                    Kind.FORBIDDEN, "This account is disabled.", operation="sign in", subject=username
                )
            self._begin_session(session, user, token, address, None, device=device)
        return token

    def enter_code(self, challenge: str, code: str, address: str) -> str:
        """Finish a sign-in that raised ``CodeRequired``, with a one-time code or a recovery code. Returns the
        session's token. Raises ``InvalidInput`` for ``code``, ``GONE`` if the sign-in has to begin again,
        ``THROTTLED``, and ``SEALED`` if only a recovery code can be checked."""
        token = secrets.token_urlsafe(32)
        with self._database.write() as session:
            found = self.two_factor.answer(session, challenge, code)
            if found is not None:
                self._begin_session(session, found[0], token, address, None, device=found[1].device)
        if found is None:
            raise wrong_code("code")
        return token

    def resume(self, token: str) -> SignedInPerson | None:
        """The person a token belongs to, or None when its session is over. Keeps the session alive."""
        now = time.time()
        with self._database.read() as session:
            found = session.execute(_RESUMED, {"token": digest(token)}).one_or_none()
            if found is None:
                return None
            row_id, expires_at, last_seen, user = found
            if user.disabled or expires_at <= now or last_seen + IDLE_SECONDS <= now:
                return None
            info, stale = _signed_in(user), last_seen + LAST_SEEN_SECONDS <= now
        if stale:
            self._save_last_seen(row_id, now)
        return info

    def is_signed_in(self, token: str) -> bool:
        """Whether a token belongs to a session that is not over. Only reads."""
        now = time.time()
        query = select(SignInSession.id).join(User, User.id == SignInSession.user_id)
        valid = (
            SignInSession.token_hash == digest(token),
            SignInSession.expires_at > now,
            SignInSession.last_seen + IDLE_SECONDS > now,
            User.disabled.is_(False),
        )
        with self._database.read() as session:
            return session.scalar(query.where(*valid)) is not None

    def sign_out(self, token: str) -> None:
        """End every session of the person whose token this is. Idempotent."""
        with self._database.write() as session:
            row = session.scalar(select(SignInSession).where(SignInSession.token_hash == digest(token)))
            user = session.get(User, row.user_id) if row else None
            if row is None or user is None:
                return
            actor = Actor(user.username, Role(user.role), "web", row.address)
            end_all(session, user)
            self._audit.record(session, actor, "sign_out", user.username)

    def list(self) -> tuple[UserInfo, ...]:
        """Everybody, by name."""
        with self._database.read() as session:
            return tuple(user_info(user) for user in session.scalars(select(User).order_by(User.username)))

    def add(self, actor: Actor, username: str, password: Secret | str, role: Role) -> UserInfo:
        """Create an account. Raises ``InvalidInput`` for a name that is taken or a weak password."""
        actor.require(Permission.USERS)
        username = username.strip().lower()
        stored = self.checked_hash(username, to_secret(password))
        with self._database.write() as session:
            if lookup_user(session, username):
                raise InvalidInput(
                    "username", f"There is already a user “{username}”.", remedy="Choose another name."
                )
            user = new_user(session, username, stored, role)
            self._audit.record(session, actor, "user.add", username, role=role.value)
            return user_info(user)

    def checked_hash(self, username: str, password: Secret) -> str:
        """The hash of a password for a new or existing person. Raises ``InvalidInput``."""
        check_username(username)
        check_password(password, username)
        return self._passwords.hash(password)

    def set_password(self, actor: Actor, username: str, password: Secret | str) -> None:
        """Give somebody a new password and end all their sessions."""
        actor.require(Permission.USERS)
        stored = self.checked_hash(username, to_secret(password))
        with self._database.write() as session:
            self._store_password(session, actor, find_user(session, username), stored)

    def change_own_password(
        self, actor: Actor, current: Secret | str, new: Secret | str, device: str = ""
    ) -> str:
        """Change the actor's own password; all their sessions end, and the token of a new one is returned.

        Wrong guesses are throttled, apart from those of people who are not signed in.
        """
        actor.require(Permission.OWN_ACCOUNT)
        with self._database.write() as session:
            throttle.count_own_password(session, actor.name, actor.address)
            before = find_user(session, actor.name).password_hash
        if not self._passwords.verify(before, to_secret(current)):
            raise InvalidInput("current", "The current password is wrong.")
        stored = self.checked_hash(actor.name, to_secret(new))
        with self._database.write() as session:
            user = find_user(session, actor.name)
            if user.password_hash != before:
                raise StowageError(
                    Kind.CONFLICT, "The password was changed meanwhile.", remedy="Sign in with the new one."
                )
            self._store_password(session, actor, user, stored)
            token = secrets.token_urlsafe(32)
            self._begin_session(session, user, token, actor.address, None, device=device)
            return token

    def confirm_password(self, actor: Actor, password: Secret | str) -> None:
        """Check that the person who is signed in is the one at the keyboard, before what must not be done
        with a browser that was left open. Raises ``InvalidInput`` for ``confirm``; wrong guesses are
        throttled."""
        actor.require(Permission.OWN_ACCOUNT)
        with self._database.write() as session:
            throttle.count_own_password(session, actor.name, actor.address)
            stored = find_user(session, actor.name).password_hash
        if not self._passwords.verify(stored, to_secret(password)):
            raise InvalidInput("confirm", "Your password is wrong.", remedy="Enter the one you sign in with.")
        with self._database.write() as session:
            throttle.forget_own(session, actor.name, actor.address)

    def set_role(self, actor: Actor, username: str, role: Role) -> None:
        """Change somebody's role; it takes effect at once. The last administrator stays one."""
        actor.require(Permission.USERS)
        with self._database.write() as session:
            user = find_user(session, username)
            if role is not Role.ADMIN:
                _refuse_last_admin(session, user, "made something else")
            self._audit.record(session, actor, "user.role", username, before=user.role, after=role.value)
            user.role = role.value

    def set_disabled(self, actor: Actor, username: str, disabled: bool) -> None:
        """Disable an account and end its sessions, or enable it. The last administrator stays enabled."""
        actor.require(Permission.USERS)
        with self._database.write() as session:
            user = find_user(session, username)
            if disabled:
                _refuse_last_admin(session, user, "disabled")
                end_all(session, user)
            user.disabled = disabled
            self._audit.record(session, actor, "user.disable" if disabled else "user.enable", username)

    def _begin_session(
        self,
        session: Session,
        user: User,
        token: str,
        address: str,
        fresh_hash: str | None,
        *,
        device: str,
    ) -> None:
        now = time.time()
        throttle.reset_failures(session, user.username, address)
        session.execute(
            delete(SignInSession).where(
                (SignInSession.expires_at <= now) | (SignInSession.last_seen <= now - IDLE_SECONDS)
            )
        )
        session.add(
            SignInSession(
                token_hash=digest(token),
                user_id=user.id,
                created_at=now,
                last_seen=now,
                expires_at=now + LIFETIME_SECONDS,
                address=address[:64],
                device=device[:64],
            )
        )
        user.last_sign_in = now
        if fresh_hash:
            user.password_hash = fresh_hash
        self._audit.record(
            session, Actor(user.username, Role(user.role), "web", address), "sign_in", user.username
        )

    def _record_refusal(self, session: Session, user: User | None, address: str) -> None:
        # An unknown name is not recorded: it may be a password typed into the wrong field.
        name = user.username if user else "(unknown)"
        self._audit.record(
            session, Actor(name, Role.VIEWER, "web", address), "sign_in", name, outcome="refused"
        )

    def _store_password(self, session: Session, actor: Actor, user: User, stored: str) -> None:
        user.password_hash = stored
        end_all(session, user)
        throttle.forget_user(session, user.username)
        self._audit.record(session, actor, "user.password", user.username)

    def _save_last_seen(self, session_id: int, now: float) -> None:
        try:
            with self._database.write() as session:
                row = session.get(SignInSession, session_id)
                if row is not None:
                    row.last_seen = now
        except StowageError as error:
            # A full disk must not keep an administrator out of the console.
            log.warning("The time of a visit was not noted: %s", error.reason)


def new_user(session: Session, username: str, password_hash: str, role: Role) -> User:
    """Insert a person in the caller's transaction."""
    user = User(username=username, password_hash=password_hash, role=role.value, created_at=time.time())
    session.add(user)
    session.flush()
    return user


def has_accounts(session: Session) -> bool:
    """Whether there is any account at all."""
    return session.scalar(select(User.id).limit(1)) is not None


def _signed_in_from(session: Session, username: str, address: str) -> bool:
    """Whether this person has a session from this address, or its network."""
    user = lookup_user(session, username)
    if user is None:
        return False
    sessions = select(SignInSession.address).where(
        SignInSession.user_id == user.id, SignInSession.expires_at > time.time()
    )
    return throttle.network_of(address) in {throttle.network_of(each) for each in session.scalars(sessions)}


def _refuse_last_admin(session: Session, user: User, action: str) -> None:
    others = session.scalar(
        select(func.count()).where(User.role == Role.ADMIN.value, ~User.disabled, User.id != user.id)
    )
    if user.role == Role.ADMIN.value and not user.disabled and not others:
        raise StowageError(
            Kind.CONFLICT,
            f"“{user.username}” is the last administrator and cannot be {action}.",
            operation="user",
            subject=user.username,
            remedy="Make somebody else an administrator first.",
        )


def _signed_in(user: User) -> SignedInPerson:
    return SignedInPerson(*_fields(user), preferences_of(user))


def user_info(user: User) -> UserInfo:
    """A row as shown."""
    return UserInfo(*_fields(user))


def _fields(user: User) -> tuple[int, str, Role, float, float | None, bool]:
    return user.id, user.username, Role(user.role), user.created_at, user.last_sign_in, user.disabled
