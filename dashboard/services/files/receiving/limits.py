"""What may be uploaded: checked when an upload begins, before its bytes are received."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Connection

from dashboard.errors import Kind, StowageError
from dashboard.media.policy import Refusal, UploadPolicy
from dashboard.services.backends.values import BackendInfo
from dashboard.services.files.policies import UploadPolicies
from dashboard.services.files.receiving.quarantine import Quarantine
from dashboard.services.files.receiving.upload_rows import outstanding_bytes, used_bytes
from dashboard.storage.checks.wrappers import is_read_only


class Limits:
    """Thread-safe."""

    def __init__(
        self, quarantine: Quarantine, policies: UploadPolicies, *, max_size: int, quota: int
    ) -> None:
        self._quarantine = quarantine
        self.policies = policies
        self._max_size = max_size
        self._quota = quota

    def change(self, *, max_size: int, quota: int) -> None:
        """Follow a change of the settings. Uploads that have begun keep what they were promised."""
        self._max_size, self._quota = max_size, quota

    def max_size(self, policy: str) -> int:
        """The largest upload under a policy, in bytes. Raises ``NOT_FOUND``."""
        return min(self._max_size, self.policies.get(policy).max_size)

    def check_new(self, rules: UploadPolicy, name: str, size: int | None) -> None:
        """Check what a client says about an upload. Raises ``OVER_LIMIT`` and ``WRONG_TYPE``."""
        if refusal := rules.check_name(name):
            raise refusal_error(refusal)
        if size is not None:
            self.check_size(rules, size)

    def check_size(self, rules: UploadPolicy, size: int) -> None:
        """Raise ``OVER_LIMIT`` for more bytes than the policy and the setting allow."""
        if refusal := replace(rules, max_size=min(self._max_size, rules.max_size)).check_size(size):
            raise refusal_error(refusal)

    def check_space(
        self, connection: Connection, owner: str, size: int, *, on_disk: int | None = None
    ) -> None:
        """Raise ``FULL`` if the owner's quota or the disk has no room for so many more bytes. ``on_disk``:
        how many of them are not on the disk yet."""
        if self._quota and used_bytes(connection, owner) + size > self._quota:
            raise StowageError(
                Kind.FULL,
                f"Your uploads may take {self._quota:,} bytes in total, and this file would be too much.",
                operation="upload",
                remedy="Delete files that you no longer need, or ask an administrator for more.",
            )
        rest = size if on_disk is None else on_disk
        if outstanding_bytes(connection) + rest > self._quarantine.free_bytes():
            raise StowageError(
                Kind.FULL,
                "The disk on which uploads are received has no room for this file.",
                operation="upload",
                remedy="Try again later, or ask an administrator to free some space.",
            )


def is_read_only_backend(backend: BackendInfo) -> bool:
    """Whether a backend refuses every write."""
    return is_read_only(dict(backend.options))


_KINDS = {
    409: Kind.CONFLICT,
    413: Kind.OVER_LIMIT,
    415: Kind.WRONG_TYPE,
    422: Kind.REFUSED,
    423: Kind.LOCKED,
    503: Kind.UNREACHABLE,
    507: Kind.FULL,
}


def refusal_error(refusal: Refusal) -> StowageError:
    """Return a policy's refusal as an error."""
    kind = _KINDS.get(refusal.status, Kind.REFUSED)
    return StowageError(
        kind, refusal.reason, operation="upload", remedy=refusal.remedy, retryable=refusal.retryable
    )
