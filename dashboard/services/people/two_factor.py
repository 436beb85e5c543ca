"""Two-factor sign-in: a code from an authenticator app, or one of ten recovery codes, after the password."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from dashboard.errors import InvalidInput, Kind, StowageError
from dashboard.models.console import RecoveryCode, SignInChallenge, TwoFactor, User
from dashboard.services.audit import AuditLog
from dashboard.services.database import Database
from dashboard.services.keys import Keys
from dashboard.services.people import throttle
from dashboard.services.people.sign_in_sessions import digest, end_all, find_user
from dashboard.services.permissions import Actor, Permission, Role
from dashboard.services.sealed_rows import binding_of_two_factor
from dashboard.storage.types import Secret
from dashboard.vault import one_time_codes

ISSUER = "Stowage"
CHALLENGE_SECONDS = 300.0
MAX_FAILURES = 5
"""Wrong codes after which the password has to be entered again."""


class CodeRequired(StowageError):
    """The password was right, and a code is needed. ``challenge`` stands for the password for five
    minutes."""

    def __init__(self, challenge: str) -> None:
        super().__init__(Kind.FORBIDDEN, "Enter the code of your authenticator app.", operation="sign in")
        self.challenge = challenge


@dataclass(frozen=True, slots=True)
class TwoFactorState:
    """``enabled``: sign-in takes a code. ``left``: unused recovery codes."""

    enabled: bool
    left: int


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What an authenticator app is given, once."""

    secret: Secret
    uri: Secret


class TwoFactors:
    """Thread-safe. Secrets are sealed by the vault; of recovery codes only hashes are stored."""

    def __init__(self, database: Database, audit: AuditLog, keys: Keys) -> None:
        self._database = database
        self._audit = audit
        self._keys = keys

    def state(self, actor: Actor) -> TwoFactorState:
        """The actor's own."""
        with self._database.read() as session:
            user = find_user(session, actor.name)
            left = session.scalar(select(func.count()).where(RecoveryCode.user_id == user.id)) or 0
            return TwoFactorState(is_enabled(session, user), left)

    def users(self, actor: Actor) -> frozenset[str]:
        """The names of all who use it."""
        actor.require(Permission.USERS)
        query = select(User.username).join(TwoFactor, TwoFactor.user_id == User.id)
        with self._database.read() as session:
            return frozenset(session.scalars(query.where(TwoFactor.confirmed_at.is_not(None))))

    def begin(self, actor: Actor) -> Enrolment:
        """Make a new secret for the actor, which counts once :meth:`confirm` gets a code of it. Ask for the
        password first. Raises ``CONFLICT`` if it is enabled already, and ``SEALED``."""
        actor.require(Permission.OWN_ACCOUNT)
        secret = one_time_codes.new_secret()
        with self._database.write() as session:
            user = find_user(session, actor.name)
            if is_enabled(session, user):
                raise StowageError(
                    Kind.CONFLICT,
                    "Two-factor sign-in is on already.",
                    operation="two-factor",
                    remedy="Turn it off first to use another app.",
                )
            session.execute(delete(TwoFactor).where(TwoFactor.user_id == user.id))
            sealed = self._keys.seal(session, Secret(secret), binding_of_two_factor(user.id))
            session.add(TwoFactor(user_id=user.id, sealed=sealed, confirmed_at=None, last_step=0))
        return _enrolment(secret, actor.name)

    def pending(self, actor: Actor) -> Enrolment | None:
        """What :meth:`begin` made, while it is not confirmed."""
        actor.require(Permission.OWN_ACCOUNT)
        with self._database.read() as session:
            row = session.get(TwoFactor, find_user(session, actor.name).id)
            if row is None or row.confirmed_at is not None:
                return None
            return _enrolment(self._open(row), actor.name)

    def confirm(self, actor: Actor, code: str) -> tuple[str, ...]:
        """Turn it on, with a code that proves that the app has the secret. Returns the recovery codes, which
        are shown once. Raises ``InvalidInput`` for ``code``, and ``THROTTLED``."""
        actor.require(Permission.OWN_ACCOUNT)
        with self._database.write() as session:
            user = find_user(session, actor.name)
            throttle.count_code(session, user.username)
            row = session.get(TwoFactor, user.id)
            if row is None or row.confirmed_at is not None:
                raise StowageError(
                    Kind.CONFLICT, "Begin again: there is nothing to confirm.", operation="two-factor"
                )
            right = self._take_code(row, code)
            if right:
                row.confirmed_at = time.time()
                throttle.forget_codes(session, user.username)
                codes = _new_codes(session, user)
                self._audit.record(session, actor, "two_factor.enable", user.username)
        if not right:
            raise wrong_code("code")
        return codes

    def renew_codes(self, actor: Actor) -> tuple[str, ...]:
        """Ten new recovery codes; the old ones stop working. Ask for the password first."""
        actor.require(Permission.OWN_ACCOUNT)
        with self._database.write() as session:
            user = find_user(session, actor.name)
            if not is_enabled(session, user):
                raise StowageError(Kind.CONFLICT, "Two-factor sign-in is off.", operation="two-factor")
            self._audit.record(session, actor, "two_factor.codes", user.username)
            return _new_codes(session, user)

    def disable(self, actor: Actor) -> None:
        """Turn the actor's own off. Ask for the password first. Idempotent."""
        actor.require(Permission.OWN_ACCOUNT)
        with self._database.write() as session:
            user = find_user(session, actor.name)
            if _remove(session, user):
                self._audit.record(session, actor, "two_factor.disable", user.username)

    def reset(self, actor: Actor, username: str) -> None:
        """Turn somebody's off who has lost phone and recovery codes, and end their sessions. Raises
        ``NOT_FOUND``, and ``CONFLICT`` if it is off."""
        actor.require(Permission.USERS)
        with self._database.write() as session:
            user = find_user(session, username)
            if not _remove(session, user):
                raise StowageError(
                    Kind.CONFLICT, f"“{user.username}” has no two-factor sign-in.", operation="two-factor"
                )
            end_all(session, user)
            self._audit.record(session, actor, "two_factor.reset", user.username)

    def challenge(self, session: Session, user: User, address: str, device: str) -> str:
        """In the caller's transaction, stand in for the right password until a code comes."""
        now = time.time()
        session.execute(delete(SignInChallenge).where(SignInChallenge.expires_at <= now))
        token = secrets.token_urlsafe(32)
        session.add(
            SignInChallenge(
                token_hash=digest(token),
                user_id=user.id,
                expires_at=now + CHALLENGE_SECONDS,
                address=address[:64],
                device=device[:64],
                failures=0,
            )
        )
        return token

    def answer(self, session: Session, challenge: str, code: str) -> tuple[User, SignInChallenge] | None:
        """In the caller's writing transaction, take a code for a challenge. Returns whose it is, or None for
        a wrong code, which is counted. Raises ``GONE`` for a challenge that is over, and ``THROTTLED``."""
        row = session.scalar(select(SignInChallenge).where(SignInChallenge.token_hash == digest(challenge)))
        user = session.get(User, row.user_id) if row else None
        if row is None or user is None or user.disabled or row.expires_at <= time.time():
            raise _over()
        if row.failures >= MAX_FAILURES:
            raise _over()
        throttle.count_code(session, user.username)
        row.failures += 1
        if not self._accepts(session, user, code):
            guesser = Actor(user.username, Role(user.role), "web", row.address)
            self._audit.record(session, guesser, "sign_in", user.username, outcome="refused")
            return None
        throttle.forget_codes(session, user.username)
        session.delete(row)
        return user, row

    def _accepts(self, session: Session, user: User, code: str) -> bool:
        known = select(RecoveryCode).where(
            RecoveryCode.user_id == user.id, RecoveryCode.code_hash == one_time_codes.recovery_digest(code)
        )
        recovery = session.scalar(known)
        if recovery is not None:
            # Used once, and usable without the vault's key: a sealed console can be opened again.
            session.delete(recovery)
            actor = Actor(user.username, Role(user.role), "web")
            self._audit.record(session, actor, "two_factor.recovery", user.username)
            return True
        row = session.get(TwoFactor, user.id)
        return row is not None and row.confirmed_at is not None and self._take_code(row, code)

    def _take_code(self, row: TwoFactor, code: str) -> bool:
        step = one_time_codes.matching_step(self._open(row), code, now=time.time(), after=row.last_step)
        if step is None:
            return False
        row.last_step = step
        return True

    def _open(self, row: TwoFactor) -> str:
        return self._keys.open(row.sealed, binding_of_two_factor(row.user_id)).reveal()


def is_enabled(session: Session, user: User) -> bool:
    """Whether this person's sign-in takes a code."""
    row = session.get(TwoFactor, user.id)
    return row is not None and row.confirmed_at is not None


def _new_codes(session: Session, user: User) -> tuple[str, ...]:
    session.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user.id))
    codes = one_time_codes.new_recovery_codes()
    session.add_all(
        RecoveryCode(user_id=user.id, code_hash=one_time_codes.recovery_digest(code)) for code in codes
    )
    return codes


def _remove(session: Session, user: User) -> bool:
    """Whether it was on."""
    enabled = is_enabled(session, user)
    session.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user.id))
    session.execute(delete(TwoFactor).where(TwoFactor.user_id == user.id))
    return enabled


def _enrolment(secret: str, username: str) -> Enrolment:
    return Enrolment(Secret(secret), Secret(one_time_codes.provisioning_uri(secret, username, ISSUER)))


def wrong_code(field: str) -> InvalidInput:
    """For ``field``."""
    return InvalidInput(
        field,
        "This code is wrong, or was used already.",
        remedy="Wait for the next one, and check that the clocks of phone and server are right.",
    )


def _over() -> StowageError:
    return StowageError(
        Kind.GONE,
        "This sign-in has expired.",
        operation="sign in",
        remedy="Enter your name and password again.",
    )
