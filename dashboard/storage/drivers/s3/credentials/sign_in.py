"""Ways to sign in: with an access key, with this machine's credentials, or with a role."""

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
    """The credentials of this machine, by botocore's provider chain. ``profile``: a profile of its AWS
    configuration; empty for the default."""

    profile: str = ""


@dataclass(frozen=True, slots=True)
class Sts:
    """The service that issues temporary keys: Amazon's in ``region``, or the one at ``endpoint``."""

    region: str
    endpoint: str = ""
    tls_verify: bool = True
    ca_certificate: str = ""


@dataclass(frozen=True, slots=True)
class AssumedRole:
    """Temporary keys that STS issues for a role, assumed with the credentials of ``source``."""

    sts: Sts
    source: AccessKey | MachineCredentials
    role: str
    external_id: str = ""
    session_name: str = ""


SignIn = AccessKey | MachineCredentials | AssumedRole
