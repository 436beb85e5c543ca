"""Whose keys requests are signed with: typed ones, those of this machine, or those of a role."""

from __future__ import annotations

from dataclasses import dataclass, field

from dashboard.storage.types import Secret


@dataclass(frozen=True, slots=True)
class AccessKey:
    """An access key. ``expires``: seconds since 1970 when a temporary one stops working, if known."""

    access_key_id: str
    secret_access_key: Secret
    session_token: Secret = field(default_factory=lambda: Secret(""))
    expires: float | None = None


@dataclass(frozen=True, slots=True)
class MachineCredentials:
    """Whatever keys this machine has: botocore's chain. ``profile``: of which section of its configuration;
    empty for the one it would take by itself."""

    profile: str = ""


@dataclass(frozen=True, slots=True)
class Sts:
    """The service that lends keys: Amazon's in this region, or that of the storage server at ``endpoint``."""

    region: str
    endpoint: str = ""
    tls_verify: bool = True
    ca_certificate: str = ""


@dataclass(frozen=True, slots=True)
class AssumedRole:
    """Keys that STS lends to whoever may assume the role."""

    sts: Sts
    source: AccessKey | MachineCredentials
    role: str
    external_id: str = ""
    session_name: str = ""


SignIn = AccessKey | MachineCredentials | AssumedRole
