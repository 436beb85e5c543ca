"""Checks the settings of a backend's bucket, and fixes what was found."""

from __future__ import annotations

import re

from dashboard.errors import InvalidInput, StowageError
from dashboard.services.audit import AuditLog
from dashboard.services.backends.backends import Backends
from dashboard.services.database import Database
from dashboard.services.permissions import Actor, Permission
from dashboard.storage.inspection.powers import ChecksSettings, Finding
from dashboard.storage.library.backend import Backend

__all__ = ["BucketSettings", "Finding"]

_ORIGIN = re.compile(r"https?://[a-z0-9.-]{1,253}(:[0-9]{1,5})?|https?://\[[0-9a-f:.]{2,45}\](:[0-9]{1,5})?")


class BucketSettings:
    """Thread-safe. Every call queries the provider; nothing is cached."""

    def __init__(self, database: Database, audit: AuditLog, backends: Backends) -> None:
        self._database = database
        self._audit = audit
        self._backends = backends

    def is_supported(self, name: str) -> bool:
        """Whether this kind of storage has settings to check. No network call."""
        try:
            return isinstance(self._backends.driver(name, label="settings"), ChecksSettings)
        except StowageError:
            return False

    def findings(self, actor: Actor, name: str, origin: str) -> tuple[Finding, ...]:
        """Findings about a backend's bucket. ``origin`` is the site that browsers upload from. Raises
        ``InvalidInput`` if it is not an origin, and ``Unsupported``."""
        actor.require(Permission.TEST)
        return self._backend(name).findings(parse_origin(origin))

    def fix(self, actor: Actor, name: str, finding: str, origin: str) -> None:
        """Fix one finding. Idempotent; audited when done."""
        actor.require(Permission.CONFIGURE)
        site = parse_origin(origin)
        self._backend(name).fix(finding, site)
        with self._database.write() as session:
            self._audit.record(session, actor, "backend.fix", name, finding=finding, origin=site)

    def _backend(self, name: str) -> Backend:
        return Backend(name, self._backends.driver(name, label="settings"))


def parse_origin(typed: str) -> str:
    """Scheme, host and port as browsers send them. Raises ``InvalidInput``."""
    origin = typed.strip().rstrip("/").lower()
    if not _ORIGIN.fullmatch(origin):
        raise InvalidInput(
            "origin",
            "The address of a site is missing or has more than scheme, host and port.",
            remedy="For example: https://www.example.com",
        )
    return origin
