"""What may be uploaded: checked when an upload begins, before its bytes are received."""

from __future__ import annotations

from sqlalchemy import Connection

from dashboard.errors import Kind, StowageError
from dashboard.services.backends.values import BackendInfo
from dashboard.services.files.receiving.quarantine import Quarantine
from dashboard.services.files.receiving.upload_rows import outstanding_bytes, used_bytes
from dashboard.storage.checks.wrappers import is_read_only


class Limits:
    """Thread-safe."""

    def __init__(self, quarantine: Quarantine, *, max_size: int, quota: int) -> None:
        self._quarantine = quarantine
        self._max_size = max_size
        self._quota = quota

    def max_size(self, policy: str) -> int:
        """The largest upload under a policy, in bytes."""
        return self._max_size

    def policy_name(self, name: str) -> str:
        """Return the name of a policy that exists. Raises ``NOT_FOUND``."""
        return name or "default"

    def check_new(self, policy: str, name: str, size: int | None) -> None:
        """Check what a client says about an upload. Raises ``OVER_LIMIT`` and ``WRONG_TYPE``."""
        if size is not None:
            self.check_size(policy, size)

    def check_size(self, policy: str, size: int) -> None:
        """Raise ``OVER_LIMIT`` for more bytes than the policy and the setting allow."""
        most = self.max_size(policy)
        if size > most:
            raise StowageError(
                Kind.OVER_LIMIT,
                f"The file is larger than the {most:,} bytes that may be uploaded here.",
                operation="upload",
                remedy="Upload a smaller file, or ask an administrator to raise the limit.",
            )

    def check_space(self, connection: Connection, owner: str, size: int) -> None:
        """Raise ``FULL`` if the owner's quota or the disk has no room for so many more bytes."""
        if self._quota and used_bytes(connection, owner) + size > self._quota:
            raise StowageError(
                Kind.FULL,
                f"Your uploads may take {self._quota:,} bytes in total, and this file would be too much.",
                operation="upload",
                remedy="Delete files that you no longer need, or ask an administrator for more.",
            )
        if outstanding_bytes(connection) + size > self._quarantine.free_bytes():
            raise StowageError(
                Kind.FULL,
                "The disk on which uploads are received has no room for this file.",
                operation="upload",
                remedy="Try again later, or ask an administrator to free some space.",
            )


def is_read_only_backend(backend: BackendInfo) -> bool:
    """Whether a backend refuses every write."""
    return is_read_only(dict(backend.options))
