"""The errors that drivers raise: one class for each kind that callers tell apart."""

from __future__ import annotations

from typing import NamedTuple

from dashboard.errors import Kind, StowageError


class Row(NamedTuple):
    """What a failure means, in a driver's table of errors. The table says which placeholders it may
    contain."""

    kind: Kind
    reason: str
    remedy: str = ""
    retryable: bool | None = None
    """None if the kind decides."""


class StorageError(StowageError):
    """Any failure of a driver. Vendor exceptions never leave a driver unwrapped."""


class NotFound(StorageError):
    """The object does not exist. Raised by reads and stats, never by ``delete``."""

    def __init__(self, key: str, *, operation: str = "read") -> None:
        super().__init__(Kind.NOT_FOUND, f"There is no object “{key}”.", operation=operation, subject=key)


class ContainerMissing(StorageError):
    """The bucket, container or root folder itself does not exist, so nothing is known about its objects.

    Not a :class:`NotFound`: a caller that expects an object to be missing must never mistake this for it.
    """

    def __init__(self, container: str, reason: str, *, operation: str, remedy: str) -> None:
        super().__init__(Kind.NOT_FOUND, reason, operation=operation, subject=container, remedy=remedy)


class Changed(StorageError):
    """The object is no longer the one that was listed or opened."""

    def __init__(self, key: str, *, operation: str = "read") -> None:
        super().__init__(
            Kind.CHANGED, f"“{key}” changed while it was being read.", operation=operation, subject=key
        )


class Exists(StorageError):
    """The key of a create-only write is taken."""

    perhaps_ours = False
    """Whether the same call may have written it, in an earlier attempt."""

    def __init__(self, key: str, *, operation: str = "write") -> None:
        super().__init__(
            Kind.CONFLICT, f"There is already an object “{key}”.", operation=operation, subject=key
        )


class Damaged(StorageError):
    """The bytes that arrived are not the expected bytes: length or checksum differ."""

    def __init__(self, key: str, reason: str, *, operation: str = "read") -> None:
        super().__init__(Kind.DAMAGED, reason, operation=operation, subject=key)


class OtherKey(StorageError):
    """The object is encrypted with a different key than the reader's, or the reader has none; see
    ``reason``."""

    def __init__(self, key: str, reason: str, *, operation: str, remedy: str) -> None:
        super().__init__(Kind.DENIED, reason, operation=operation, subject=key, remedy=remedy)


class InvalidKey(StorageError):
    """This driver cannot store exactly this key."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(Kind.INVALID_KEY, reason, operation="check key", subject=key)


class Unsupported(StorageError):
    """The driver cannot do this at all; ``reason`` says why."""

    def __init__(self, operation: str, reason: str) -> None:
        super().__init__(Kind.UNSUPPORTED, reason, operation=operation)
