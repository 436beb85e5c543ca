"""Sessions: where people are signed in, and ending that. Beginning one is for ``Accounts``."""

from __future__ import annotations

import hashlib
import re
import time
from dataclasses import dataclass

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from dashboard.errors import Kind, StowageError
from dashboard.models.console import SignInChallenge, SignInSession, User
from dashboard.services.audit import AuditLog
from dashboard.services.database import Database, clamp_integer
from dashboard.services.people.passwords import USERNAME
from dashboard.services.permissions import Actor, Permission

IDLE_SECONDS = 12 * 3600.0
LIFETIME_SECONDS = 7 * 86400.0

_BROWSERS = (
    ("Edge", r"Edg(e|A|iOS)?/"),
    ("Opera", r"OPR/"),
    ("Firefox", r"(Firefox|FxiOS)/"),
    ("Chrome", r"(Chrome|Chromium|CriOS)/"),
    ("Safari", r"Safari/"),
)
_SYSTEMS = (
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("ChromeOS", "CrOS"),
    ("macOS", "Mac OS X|Macintosh"),
    ("Linux", "Linux"),
)


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """A signed-in browser as shown. Times in seconds since the epoch; ``current``: the one that asks."""

    id: int
    username: str
    device: str
    address: str
    created_at: float
    last_seen: float
    current: bool


class SignInSessions:
    """Thread-safe."""

    def __init__(self, database: Database, audit: AuditLog) -> None:
        self._database = database
        self._audit = audit

    def list(self, actor: Actor, token: str = "") -> tuple[SessionInfo, ...]:
        """Everybody's sessions for those who manage users, else one's own; the latest seen first. ``token``:
        of the session that asks."""
        actor.require(Permission.OWN_ACCOUNT)
        now = time.time()
        query = (
            select(SignInSession, User.username)
            .join(User, User.id == SignInSession.user_id)
            .where(SignInSession.expires_at > now, SignInSession.last_seen > now - IDLE_SECONDS)
            .where(User.disabled.is_(False))
            .order_by(SignInSession.last_seen.desc(), SignInSession.id.desc())
        )
        if not actor.may(Permission.USERS):
            query = query.where(User.username == actor.name)
        own = digest(token) if token else ""
        with self._database.read() as session:
            return tuple(
                SessionInfo(
                    row.id,
                    username,
                    row.device,
                    row.address,
                    row.created_at,
                    row.last_seen,
                    row.token_hash == own,
                )
                for row, username in session.execute(query)
            )

    def end(self, actor: Actor, id: int) -> str:
        """End one session: one's own, or anybody's for those who manage users. Returns whose it was. Raises
        ``NOT_FOUND``, also for a session that is somebody else's business."""
        actor.require(Permission.OWN_ACCOUNT)
        with self._database.write() as session:
            row = session.get(SignInSession, clamp_integer(id))
            user = session.get(User, row.user_id) if row else None
            if row is None or user is None or not _may_end(actor, user):
                raise StowageError(
                    Kind.NOT_FOUND,
                    "There is no such session.",
                    operation="end session",
                    remedy="It may have ended already.",
                )
            session.delete(row)
            self._audit.record(
                session, actor, "session.end", user.username, device=row.device, address=row.address
            )
            return user.username

    def end_others(self, actor: Actor, token: str) -> int:
        """End all of the actor's own sessions but the one of ``token``. Returns how many."""
        actor.require(Permission.OWN_ACCOUNT)
        with self._database.write() as session:
            user = session.scalar(select(User).where(User.username == actor.name))
            if user is None:
                return 0
            others = (SignInSession.user_id == user.id) & (SignInSession.token_hash != digest(token))
            ended = len(session.scalars(select(SignInSession.id).where(others)).all())
            session.execute(delete(SignInSession).where(others))
            if ended:
                self._audit.record(session, actor, "session.end", user.username, sessions=ended)
            return ended


def _may_end(actor: Actor, user: User) -> bool:
    return user.username == actor.name or actor.may(Permission.USERS)


def lookup_user(session: Session, username: str) -> User | None:
    """The row of a person, if there is one."""
    # No account has another kind of name, and SQLite rejects some as text.
    if not USERNAME.fullmatch(username):
        return None
    return session.scalar(select(User).where(User.username == username))


def find_user(session: Session, username: str) -> User:
    """The row of a person. Raises ``NOT_FOUND``."""
    user = lookup_user(session, username)
    if user is None:
        raise StowageError(
            Kind.NOT_FOUND, "There is no such user.", operation="user", remedy="See: stowage user list."
        )
    return user


def digest(token: str) -> str:
    """What is stored of a session's token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def end_all(session: Session, user: User) -> None:
    """End every session of a person, and every sign-in that waits for a code, in the caller's transaction."""
    session.execute(delete(SignInSession).where(SignInSession.user_id == user.id))
    session.execute(delete(SignInChallenge).where(SignInChallenge.user_id == user.id))


def describe_device(user_agent: str) -> str:
    """“Firefox on Linux”, from what a browser says about itself; anybody can claim anything there."""
    text = user_agent[:500]
    browser = next((name for name, pattern in _BROWSERS if re.search(pattern, text)), "")
    system = next((name for name, pattern in _SYSTEMS if re.search(pattern, text)), "")
    return " on ".join(part for part in (browser, system) if part) or "Unknown browser"
