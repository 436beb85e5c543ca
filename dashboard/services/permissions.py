"""The permission table, and the actor that every mutating call takes as its first argument."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from dashboard.errors import Kind, StowageError


class Role(StrEnum):
    """The role of a person."""

    ADMIN = "admin"
    OPERATOR = "operator"
    VIEWER = "viewer"


class Permission(StrEnum):
    """What an action requires of its actor."""

    VIEW = "view"
    READ_FILES = "read_files"
    """Browse, search and download files, and share links to them."""
    WRITE_FILES = "write_files"
    """Upload, rename, move, copy and delete files, and change their metadata."""
    MIGRATE = "migrate"
    """Create, approve, pause, resume, cancel and retry migrations."""
    TEST = "test"
    """Probe saved backends and refresh their counts."""
    CONFIGURE = "configure"
    """Add, edit, remove and activate backends, test drafts, create buckets."""
    AUDIT = "audit"
    USERS = "users"
    KEYS = "keys"
    ENVIRONMENT = "environment"
    """See and change the settings file."""
    METRICS = "metrics"
    """Read what is measured, for monitoring."""
    OWN_ACCOUNT = "own_account"


GRANTS: Mapping[Role, frozenset[Permission]] = MappingProxyType(
    {
        Role.ADMIN: frozenset(Permission),
        Role.OPERATOR: frozenset(
            {
                Permission.VIEW,
                Permission.READ_FILES,
                Permission.WRITE_FILES,
                Permission.MIGRATE,
                Permission.TEST,
                Permission.OWN_ACCOUNT,
                Permission.AUDIT,
                Permission.METRICS,
            }
        ),
        Role.VIEWER: frozenset(
            {Permission.VIEW, Permission.READ_FILES, Permission.METRICS, Permission.OWN_ACCOUNT}
        ),
    }
)

TOKEN_SCOPES = frozenset(Permission) - {Permission.OWN_ACCOUNT, Permission.KEYS}
"""What an API token may be allowed at all: not passwords, other tokens, nor the key that seals secrets."""

ACTION_PHRASES: Mapping[Permission, str] = MappingProxyType(
    {
        Permission.VIEW: "look at this console",
        Permission.READ_FILES: "read files",
        Permission.WRITE_FILES: "change files",
        Permission.MIGRATE: "run migrations",
        Permission.TEST: "test backends",
        Permission.CONFIGURE: "change backends",
        Permission.AUDIT: "read the audit log",
        Permission.USERS: "manage users",
        Permission.KEYS: "handle the keys",
        Permission.ENVIRONMENT: "change the settings file",
        Permission.METRICS: "read the metrics",
        Permission.OWN_ACCOUNT: "change this account",
    }
)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, with which role, and through which channel: "web", "api", "cli", "setup" or "runner".

    ``scopes``: what the API token that is used may do, or None where a person acts without one. ``token``
    names it in the audit log.
    """

    name: str
    role: Role
    via: str
    address: str = ""
    scopes: frozenset[Permission] | None = None
    token: str = ""

    def may(self, permission: Permission) -> bool:
        """Whether the role grants it, and the token if one is used."""
        return permission in GRANTS[self.role] and (self.scopes is None or permission in self.scopes)

    def require(self, permission: Permission) -> None:
        """Raise ``FORBIDDEN`` unless the role, and the token if one is used, grant it."""
        if permission in GRANTS[self.role] and not self.may(permission):
            raise StowageError(
                Kind.FORBIDDEN,
                f"This token may not {ACTION_PHRASES[permission]}.",
                operation=permission.value,
                remedy=f"Make a token with the scope “{permission.value}” under Settings, API tokens.",
            )
        if not self.may(permission):
            raise StowageError(
                Kind.FORBIDDEN,
                f"The role {self.role.value} may not {ACTION_PHRASES[permission]}.",
                operation=permission.value,
                remedy="Ask an administrator to do it or to change your role.",
            )
