"""Who may be shown the keys of this machine, and the keys of one driver under that policy."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

from dashboard.errors import Kind
from dashboard.storage.drivers.s3.credentials.ways import Keys, OfMachine, OfRole, SignIn
from dashboard.storage.errors import StorageError

AWS = "aws"
"""Stands in a policy for Amazon's own S3."""
_REGION = r"[a-z]{2,4}(-[a-z]+)+-\d"
# https://docs.aws.amazon.com/general/latest/gr/s3.html. Not all of amazonaws.com is Amazon's own: customers'
# machines and programs have names there.
_S3 = re.compile(
    rf"((bucket\.)?vpce-[a-z0-9-]+\.s3\.{_REGION}\.vpce"
    rf"|s3(-accelerate|-fips|-{_REGION})?(\.dualstack)?(\.{_REGION})?)"
    r"\.amazonaws\.(com(\.cn)?|eu)"
)


@dataclass(frozen=True, slots=True)
class MachinePolicy:
    """To whom the keys of this machine may be shown: ``aws`` for Amazon S3, or ``host`` or ``host:port`` of
    another server. Immutable; the default is that of a program that uses the library."""

    hosts: frozenset[str] = frozenset({AWS})

    def check(self, sign_in: SignIn, endpoint: str, *, secure: bool) -> None:
        """Raise kind ``denied`` where keys of this machine would go to a server that may not have them.
        ``secure``: whether the connection is encrypted and the server's certificate checked."""
        source = sign_in.source if isinstance(sign_in, OfRole) else sign_in
        if not isinstance(source, OfMachine):
            return
        parts = urlsplit(endpoint)
        host = parts.netloc.lower()
        if {host, parts.hostname or ""} & self.hosts:
            return
        if not is_amazons(endpoint) or not secure:
            raise _denied(
                f"The credentials of this machine are not shown to {host}.",
                "Sign in with an access key. Whoever runs Stowage can allow a server in "
                "STOWAGE_MACHINE_CREDENTIALS.",
            )
        if AWS not in self.hosts:
            raise _denied(
                "Backends may not use the credentials of this machine.",
                "Sign in with an access key, or have whoever runs Stowage add “aws” to "
                "STOWAGE_MACHINE_CREDENTIALS.",
            )


class GivesKeys(Protocol):
    """Where the keys come from. Thread-safe."""

    def keys(self) -> Keys:
        """Keys that work now; asks nobody while they last. Raises ``StorageError``."""
        ...


class SignedIn:
    """The keys of one driver. Thread-safe; looks for them when the first request is signed."""

    def __init__(self, sign_in: SignIn, endpoint: str, *, secure: bool) -> None:
        self.sign_in = sign_in
        self.policy = MachinePolicy()
        self._recipient = (endpoint, secure)
        self._lock = threading.Lock()
        self._given: GivesKeys | None = None

    def keys(self) -> Keys:
        """See ``GivesKeys``."""
        if isinstance(self.sign_in, Keys):
            return self.sign_in
        return (self._given or self._allowed(self.sign_in)).keys()

    def _allowed(self, sign_in: OfMachine | OfRole) -> GivesKeys:
        endpoint, secure = self._recipient
        self.policy.check(sign_in, endpoint, secure=secure)
        # boto3 takes 20 MiB and 0.15 s of CPU, and typed keys do without it.
        from dashboard.storage.drivers.s3.credentials.boto import borrowed

        with self._lock:
            self._given = self._given or borrowed(sign_in)
        return self._given


def is_amazons(endpoint: str) -> bool:
    """Whether the host of an address is one of Amazon S3's own."""
    return _S3.fullmatch((urlsplit(endpoint).hostname or "").lower()) is not None


def _denied(reason: str, remedy: str) -> StorageError:
    return StorageError(Kind.DENIED, reason, operation="sign in", remedy=remedy)
