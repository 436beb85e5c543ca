"""What each step of a connection test does, and what it leaves for the next."""

from __future__ import annotations

import contextlib
import re
import secrets
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from dashboard.errors import Kind, lower_first
from dashboard.storage.driver import (
    Connects,
    CreatesBuckets,
    Driver,
    IdentifiesCaller,
    OpensWithKey,
    Purges,
    RefusesWrites,
    SecuresConnections,
    ServesFolders,
)
from dashboard.storage.errors import ContainerMissing, NotFound, StorageError, Unsupported
from dashboard.storage.inspection.listing import list_readable
from dashboard.storage.inspection.name_rules import NameRules, probe_name_rules
from dashboard.storage.net.connecting import connect, resolve, tls_handshake
from dashboard.storage.net.timeouts import call_with_timeout
from dashboard.storage.registry import noun_of
from dashboard.storage.types import Entry

CANARY = "stowage-probe-"
"""The beginning of the test object's key; random letters follow. Some servers do not list dotfiles."""
TEST_OBJECT = re.compile(rf"{CANARY}[0-9a-f]{{16}}\Z")
"""The whole key."""

NETWORK_SECONDS = 10.0
"""Time limit for resolving, and for connecting with TLS (each attempt has 5 s)."""
CALL_SECONDS = 20.0
"""Time limit for one step that sends requests to the storage."""
NAMES_SECONDS = 15.0
"""Time limit for the dozen small objects with unusual names; the step is skipped if it takes longer."""
CLEANUP_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class StepSpec:
    """A step of the probe: its name, what it does, and its time limit."""

    name: str
    label: str
    act: Callable[[], str]
    seconds: float
    fatal: bool
    """Whether the following steps are pointless once it failed."""


class Skip(Exception):
    """Raised by a step that has nothing to do; its argument says why."""


class Probe:
    """One run over one driver: what each step does, and what later steps need to know."""

    def __init__(
        self,
        driver: Driver,
        on_name_rules: Callable[[NameRules], None] = lambda rules: None,
        on_write_error: Callable[[StorageError], None] = lambda error: None,
        on_test_object: Callable[[str, bool], None] = lambda key, there: None,
    ) -> None:
        self.driver = driver
        self.noun = noun_of(driver.name)
        self._on_name_rules = on_name_rules
        self._on_write_error = on_write_error
        self._on_test_object = on_test_object
        self.bucket_missing = False
        self._key = CANARY + secrets.token_hex(8)
        self._content = secrets.token_bytes(1024)
        self._addresses: tuple[str, ...] = ()
        self._maybe_there = False
        self._written = False
        self._write_denied = False

    @property
    def can_create_bucket(self) -> bool:
        """Whether the container is missing and may be created here."""
        may = isinstance(self.driver, CreatesBuckets) and not isinstance(self.driver, RefusesWrites)
        return self.bucket_missing and may

    def stages(self) -> tuple[StepSpec, ...]:
        """Return the steps for this driver, in order."""
        stages: list[StepSpec] = []
        if isinstance(self.driver, Connects):
            stages += [
                StepSpec("resolve", "Find the server", self._resolve, NETWORK_SECONDS, fatal=True),
                StepSpec("connect", "Connect", self._connect, NETWORK_SECONDS, fatal=True),
                StepSpec("authenticate", "Sign in", self._authenticate, CALL_SECONDS, fatal=True),
            ]
        if isinstance(self.driver, IdentifiesCaller) and self.driver.can_identify_caller():
            stages.append(StepSpec("who", "See who signs in", self._who, CALL_SECONDS, fatal=False))
        if isinstance(self.driver, CreatesBuckets):
            stages.append(StepSpec("bucket", f"Find the {self.noun}", self._bucket, CALL_SECONDS, fatal=True))
        if isinstance(self.driver, OpensWithKey):
            stages.append(StepSpec("look", "Check an existing object", self._look, CALL_SECONDS, fatal=False))
        return (
            *stages,
            StepSpec("write", "Write a test object", self._write, CALL_SECONDS, fatal=False),
            StepSpec("read", "Read it back", self._read, CALL_SECONDS, fatal=False),
            StepSpec("list", "List it", self._list, CALL_SECONDS, fatal=False),
            StepSpec("delete", "Delete it", self._delete, CALL_SECONDS, fatal=False),
            StepSpec("names", "Try unusual names", self._names, CALL_SECONDS, fatal=False),
            *self._around(),
        )

    def _around(self) -> tuple[StepSpec, ...]:
        """Steps for services in front of the container."""
        if not isinstance(self.driver, Purges):
            return ()
        return (StepSpec("purge", "Notify the CDN", self._purge, CALL_SECONDS, fatal=False),)

    def _resolve(self) -> str:
        assert isinstance(self.driver, Connects)
        host, port, _ = self.driver.address()
        self._addresses = resolve(host, port)
        others = len(self._addresses) - 1
        return f"{host} is {self._addresses[0]}" + (f" and {others} more." if others else ".")

    def _connect(self) -> str:
        assert isinstance(self.driver, Connects)
        host, port, tls = self.driver.address()
        raw = connect(host, port, self._addresses)
        if not tls:
            raw.close()
            later = self.driver.encryption() if isinstance(self.driver, ServesFolders) else ""
            return f"Port {port} answers{f'; {later} will encrypt' if later else ', without encryption'}."
        if isinstance(self.driver, SecuresConnections):
            context = self.driver.tls_context()
        else:
            context = ssl.create_default_context()
        version = tls_handshake(raw, host, port, context)
        checked = "its certificate is good" if context.verify_mode else "its certificate was not checked"
        return f"Port {port} answers with {version.replace('TLSv', 'TLS ')}; {checked}."

    def _authenticate(self) -> str:
        assert isinstance(self.driver, Connects)
        try:
            self.driver.authenticate()
        except StorageError as error:
            # A key bound to one bucket may not even ask who it is; the next steps show what it may do.
            if error.kind is not Kind.DENIED:
                raise
            return f"The credentials are valid; they only have access to the {self.noun}."
        return "Signed in."

    def _who(self) -> str:
        assert isinstance(self.driver, IdentifiesCaller)
        try:
            return self.driver.caller_identity()
        except StorageError as error:
            # Storage may be reachable where the identity service is not.
            raise Skip(f"The identity is not available: {lower_first(error.reason)}") from error

    def _bucket(self) -> str:
        assert isinstance(self.driver, CreatesBuckets)
        try:
            there = self.driver.bucket_exists()
        except StorageError as error:
            if error.kind is not Kind.DENIED:
                raise
            raise Skip(
                "These credentials may not check that; the next steps show what they may do."
            ) from error
        if not there:
            self.bucket_missing = True
            raise StorageError(
                Kind.NOT_FOUND,
                self._missing_message(),
                operation="probe",
                remedy=f"Create it here, or check the {self.noun}'s name."
                if self.can_create_bucket
                else f"Check the {self.noun}'s name.",
            )
        return "It exists."

    def _missing_message(self) -> str:
        """Return the driver's own message, which names the container."""
        try:
            next(iter(self.driver.list()), None)
        except StorageError as error:
            if isinstance(error, ContainerMissing):
                return error.reason
        return f"The {self.noun} does not exist."

    def _look(self) -> str:
        assert isinstance(self.driver, OpensWithKey)
        if found := self.driver.check_one_object():
            return found
        raise Skip("There is no object to check.")

    def _write(self) -> str:
        if isinstance(self.driver, RefusesWrites):
            raise Skip(f"Nothing is written: {lower_first(self.driver.read_only_reason())}")
        self._maybe_there = True
        self._on_test_object(self._key, True)
        try:
            self.driver.put(self._key, self._content)
        except StorageError as error:
            self._write_denied = error.kind is Kind.DENIED
            # Refused before anything was stored; there is nothing to clean up and no right to do so.
            self._maybe_there = not self._write_denied
            if self._write_denied:
                self._on_test_object(self._key, False)
            self._on_write_error(error)
            raise
        self._written = True
        return f"Wrote {len(self._content):,} bytes."

    def _read(self) -> str:
        if not self._written:
            return self._read_any()
        with self.driver.read(self._key) as reading:
            if reading.read_all() != self._content:
                raise StorageError(
                    Kind.DAMAGED,
                    "The bytes that were read are not the bytes that were written.",
                    operation="read",
                    subject=self._key,
                    remedy="Check for a proxy, a cache or a bad disk that changes files.",
                )
        return "The same bytes came back."

    def _read_any(self) -> str:
        """Without a test object: read the beginning of the first object."""
        try:
            entry = self._first_entry()
        except StorageError as error:
            raise Skip("Nothing was written to read back.") from error
        if entry is None:
            raise Skip("Nothing was written to read back, and there are no other objects.")
        with self.driver.read(entry.key) as reading:
            next(reading.chunks(), None)
        if isinstance(self.driver, RefusesWrites):
            return "Reading works; as a read-only backend it can be copied from, not to."
        may = "Stowage may read but not write" if self._write_denied else "Reading works, writing does not"
        return f"{may}: this backend can be copied from, not to."

    def _first_entry(self) -> Entry | None:
        return next(list_readable(self.driver, unreadable=lambda folder, error: None), None)

    def _list(self) -> str:
        if not self._written:
            self._first_entry()
            return "Listing works."
        if not any(entry.key == self._key for entry in self.driver.list(self._key)):
            raise StorageError(
                Kind.NOT_FOUND,
                "The test object was written but is not in the listing.",
                operation="list",
                subject=self._key,
                remedy="Test again in a minute; a migration needs lists that are complete.",
            )
        return "The test object is in the list."

    def _delete(self) -> str:
        if not self._written:
            raise Skip("Nothing was written to delete.")
        left = f" The test object “{self._key}” was not deleted."
        try:
            self.driver.delete(self._key)
        except StorageError as error:
            raise StorageError(
                error.kind, error.reason + left, operation="delete", subject=self._key, remedy=error.remedy
            ) from error
        try:
            self.driver.stat(self._key)
        except NotFound:
            self._maybe_there = False
            self._on_test_object(self._key, False)
            return "The test object is gone."
        raise StorageError(
            Kind.CONFLICT,
            "The server reported the test object as deleted, but it still exists.",
            operation="delete",
            subject=self._key,
            remedy="Check the bucket for a retention rule or object lock.",
        )

    def _names(self) -> str:
        if not self._written or self._maybe_there:
            raise Skip("They can only be tried where objects can be written and deleted.")
        try:
            rules = call_with_timeout(partial(probe_name_rules, self.driver), NAMES_SECONDS, lambda: False)
        except StorageError as error:
            # Whether names are kept is a finding, and no reason to call a place broken.
            raise Skip(f"They could not be tried: {lower_first(error.reason)}") from error
        self._on_name_rules(rules)
        if not (found := rules.findings()):
            return "Every name is kept as it is."
        return " ".join([*found, "A migration to here refuses such objects one by one, with this reason."])

    def _purge(self) -> str:
        assert isinstance(self.driver, Purges)
        try:
            self.driver.purge([self._key])
        except Unsupported as error:
            raise Skip(error.reason) from error
        return "It discards its copies when notified."

    def clean_up(self) -> None:
        """Remove the test object if it may exist. Idempotent, bounded, never raises."""
        if self._maybe_there:
            self._maybe_there = False
            with contextlib.suppress(StorageError):
                call_with_timeout(lambda: self.driver.delete(self._key), CLEANUP_SECONDS, lambda: False)
