"""Users for trying the console, one of each role. They are in the database, have no password, sign in only
while ``STOWAGE_DEMO`` is set, and are disabled by the next start without it."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from dashboard.errors import Kind, StowageError
from dashboard.models.console import Setting, SignInSession, User
from dashboard.services.audit import AuditLog
from dashboard.services.database import Database
from dashboard.services.people.accounts import Accounts, UserInfo, new_user, user_info
from dashboard.services.permissions import Actor, Role

log = logging.getLogger(__name__)

DEMO_USERS = "demo_users"
ROLES = (Role.ADMIN, Role.OPERATOR, Role.VIEWER)
MAX_SESSIONS = 50
"""Of each demo user; the oldest end first."""
_ACTOR = Actor("stowage", Role.ADMIN, "cli")
# No hash: nothing verifies against it.
_NO_PASSWORD = "no password signs this user in"


class DemoUsers:
    """Thread-safe. ``complete_setup`` sets up a console that nobody has set up, with this name as its
    administrator."""

    def __init__(
        self,
        enabled: bool,
        database: Database,
        audit: AuditLog,
        accounts: Accounts,
        complete_setup: Callable[[str], object],
    ) -> None:
        self.enabled = enabled
        self._database = database
        self._audit = audit
        self._accounts = accounts
        self._complete_setup = complete_setup

    def apply(self, *, setup_needed: bool) -> None:
        """Called once at the start: create and enable the demo users, or disable those of an earlier start
        and end their sessions. A user of somebody's own who has such a name is left alone. Idempotent."""
        if self.enabled:
            if setup_needed:
                self._seed_first()
            self._seed()
            log.warning("STOWAGE_DEMO is set: anyone who can open this console can sign in as a demo user.")
        else:
            self._disable()

    def list(self) -> tuple[UserInfo, ...]:
        """The demo users that can sign in with one click; none unless the setting is on."""
        if not self.enabled:
            return ()
        with self._database.read() as session:
            users = _demo_users(session)
            return tuple(user_info(user) for user in users if not user.disabled)

    def sign_in(self, username: str, address: str) -> str:
        """Start a session of a demo user and return its token. Raises ``FORBIDDEN`` for anybody else."""
        if username not in {user.username for user in self.list()}:
            raise StowageError(
                Kind.FORBIDDEN,
                "There is no demo user of that name.",
                operation="sign in",
                remedy="Sign in with a name and a password.",
            )
        token = self._accounts.begin_session(username, address)
        with self._database.write() as session:
            user_id = select(User.id).where(User.username == username).scalar_subquery()
            newest = (
                select(SignInSession.id)
                .where(SignInSession.user_id == user_id)
                .order_by(SignInSession.id.desc())
                .limit(MAX_SESSIONS)
            )
            session.execute(
                delete(SignInSession).where(SignInSession.user_id == user_id, SignInSession.id.not_in(newest))
            )
        return token

    def _seed_first(self) -> None:
        first = f"demo-{ROLES[0].value}"
        self._complete_setup(first)
        with self._database.write() as session:
            session.merge(Setting(key=DEMO_USERS, value=first))
            for user in _demo_users(session):
                user.password_hash = _NO_PASSWORD

    def _seed(self) -> None:
        with self._database.write() as session:
            ours = {user.username: user for user in _demo_users(session)}
            for role in ROLES:
                name = f"demo-{role.value}"
                if name not in ours:
                    if session.scalar(select(User.id).where(User.username == name)) is not None:
                        continue
                    ours[name] = new_user(session, name, _NO_PASSWORD, role)
                    self._audit.record(session, _ACTOR, "user.add", name, role=role.value)
                elif ours[name].disabled:
                    ours[name].disabled = False
                    self._audit.record(session, _ACTOR, "user.enable", name)
            session.merge(Setting(key=DEMO_USERS, value=",".join(sorted(ours))))

    def _disable(self) -> None:
        with self._database.read() as session:
            if not any(not user.disabled for user in _demo_users(session)):
                return
        with self._database.write() as session:
            for user in _demo_users(session):
                if not user.disabled:
                    user.disabled = True
                    self._audit.record(session, _ACTOR, "user.disable", user.username)
                session.execute(delete(SignInSession).where(SignInSession.user_id == user.id))
            own = select(User.id).where(User.role == Role.ADMIN.value, User.disabled.is_(False))
            if session.scalar(own.limit(1)) is None:
                log.warning(
                    "The demo users are disabled, and there is no other administrator. Add one: "
                    "stowage user add NAME --role admin"
                )


def random_password() -> str:
    """A password that nobody learns."""
    return secrets.token_urlsafe(32)


def _demo_users(session: Session) -> list[User]:
    row = session.get(Setting, DEMO_USERS)
    names = (row.value or "").split(",") if row else []
    return list(session.scalars(select(User).where(User.username.in_(names)).order_by(User.id)))
