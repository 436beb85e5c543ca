"""The first run: from an empty database to a console with an administrator and a backend for files."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading

from sqlalchemy.orm import Session

from dashboard.errors import InvalidInput, Kind, StowageError
from dashboard.models.console import Setting
from dashboard.services.audit import AuditLog
from dashboard.services.backends.backends import Backends, Draft
from dashboard.services.backends.checks import Checks
from dashboard.services.database import Database
from dashboard.services.keys import Keys, RecoveryKey
from dashboard.services.people.accounts import Accounts, has_accounts, new_user
from dashboard.services.people.demo_users import DemoUsers, random_password
from dashboard.services.people.passwords import to_secret
from dashboard.services.permissions import Actor, Role
from dashboard.settings import Settings
from dashboard.storage.types import Secret

__all__ = ["RecoveryKey", "Setup"]

CODE = "setup_code"
FIRST_BACKEND = "local-disk"
# Without letters and digits that look alike.
_ALPHABET = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"


class Setup:
    """Thread-safe. Exactly one setup succeeds; every later one is refused."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        audit: AuditLog,
        *,
        keys: Keys,
        accounts: Accounts,
        backends: Backends,
        checks: Checks,
    ) -> None:
        self._settings = settings
        self._database = database
        self._audit = audit
        self._keys = keys
        self._accounts = accounts
        self._backends = backends
        self._checks = checks
        self.demo = DemoUsers(settings.demo, database, audit, accounts, self._complete_for_demo)
        # Accounts are never deleted, so what was set up once stays set up.
        self._complete = threading.Event()

    def needed(self) -> bool:
        """Whether there is no account yet. Called before every request."""
        if self._complete.is_set():
            return False
        with self._database.read() as session:
            if not has_accounts(session):
                return True
        self._complete.set()
        return False

    def prepare_demo(self) -> None:
        """Create the demo users, or disable those of an earlier start, as the settings say. A console that is
        sealed stays as it is."""
        if not self._keys.state().sealed:
            self.demo.apply(setup_needed=self.needed())

    def issue_code(self) -> str:
        """Return a new one-time code of about 60 bits and store its hash. Older codes stop working."""
        code = "-".join("".join(secrets.choice(_ALPHABET) for _ in range(4)) for _ in range(3))
        with self._database.write() as session:
            _refuse_repeated(session)
            session.merge(Setting(key=CODE, value=_digest(code)))
        return code

    def check_code(self, code: str) -> None:
        """Raise ``InvalidInput`` unless this is the current code."""
        with self._database.read() as session:
            _refuse_repeated(session)
            _check(session, code)

    def complete(
        self, code: str | None, username: str, password: Secret | str, *, actor: Actor | None = None
    ) -> RecoveryKey:
        """Create the first administrator and the local backend, and return the recovery key.

        ``code`` may only be None for an ``actor`` on this machine's command line. Atomic.
        Raises ``InvalidInput`` naming the field, and ``CONFLICT`` when the console is set up already.
        """
        if code is None and (actor is None or actor.via != "cli"):
            raise InvalidInput(
                "code", "The setup code is missing.", remedy="It was printed when Stowage started."
            )
        username = username.strip().lower()
        actor = actor or Actor(username, Role.ADMIN, "setup")
        self._keys.require_unsealed()
        with self._database.read() as session:
            _refuse_repeated(session)
            if code is not None:
                _check(session, code)
        stored = self._accounts.checked_hash(username, to_secret(password))
        first = self._backends.resolve(Draft(FIRST_BACKEND, "local", {"root": str(self._make_folder())}, {}))
        with self._database.write() as session:
            _refuse_repeated(session)
            if code is not None:
                _check(session, code)
            new_user(session, username, stored, Role.ADMIN)
            backend_id = self._backends.insert(session, actor, first, active=True).id
            if (row := session.get(Setting, CODE)) is not None:
                session.delete(row)
            self._audit.record(session, actor, "setup", username)
        self._complete.set()
        # Local and fast, so that the first page shows it green without waiting for a runner.
        self._checks.check_backend(backend_id)
        return self._keys.recovery_key()

    def _complete_for_demo(self, username: str) -> None:
        self.complete(None, username, random_password(), actor=Actor(username, Role.ADMIN, "cli"))

    def _make_folder(self) -> str:
        folder = self._settings.instance / "files"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StowageError(
                Kind.DENIED,
                f"The folder {folder} cannot be made: {error.strerror}.",
                operation="setup",
                remedy="Give the user that runs Stowage write access to the instance folder.",
            ) from error
        return str(folder)


def _refuse_repeated(session: Session) -> None:
    if has_accounts(session):
        raise StowageError(
            Kind.CONFLICT,
            "This console has been set up already.",
            operation="setup",
            remedy="Sign in; if the password is lost, run: stowage user passwd NAME.",
        )


def _check(session: Session, code: str) -> None:
    row = session.get(Setting, CODE)
    if row is None or not hmac.compare_digest(row.value or "", _digest(code)):
        raise InvalidInput(
            "code",
            "This is not the setup code.",
            remedy="Use the code of the latest start; every start prints a new one.",
        )


def _digest(code: str) -> str:
    plain = "".join(c for c in code.upper() if c.isalnum())
    return hashlib.sha256(plain.encode("utf-8", "surrogatepass")).hexdigest()
