"""Errors of drivers where keys are paths: a disk's, FTP's, SFTP's and WebDAV's."""

from __future__ import annotations

from dashboard.errors import Kind
from dashboard.storage.errors import Damaged, Row, StorageError

_VERBS = {
    "write": "written",
    "stat": "looked at",
    "look at": "looked at",
    "list": "listed",
    "delete": "deleted",
    "sweep": "swept",
    "create bucket": "created",
}

# Reasons are the ends of sentences.
QUOTA = Row(
    Kind.FULL,
    "the quota on the server is used up",
    "Free some space on the server, or raise the quota, then try again.",
)
DISK_FULL = Row(Kind.FULL, "the server's disk is full", "Free some space on the server, then try again.")
TOO_LARGE = Row(
    Kind.TOO_LARGE, "the server does not accept files this large", "Keep large files on another server."
)
NOT_ALLOWED = Row(
    Kind.DENIED,
    "this user may not do that on the server",
    "Give this user access to the folder and everything in it.",
)
UNSUPPORTED = Row(Kind.UNSUPPORTED, "the server does not support this", "Ask the server's administrator.")
UNEXPLAINED = Row(
    Kind.DENIED,
    "the server refused without saying why",
    "Check the server's log; the server may be busy or out of space.",
    retryable=True,
)


def operation_error(operation: str, subject: str, row: Row) -> StorageError:
    """Return the error for an operation on ``subject``; ``row`` has its kind, the end of its sentence and the
    remedy."""
    return StorageError(
        row.kind,
        f"“{subject}” could not be {_VERBS.get(operation, operation)}: {row.reason}.",
        operation=operation,
        subject=subject,
        remedy=row.remedy,
        retryable=row.retryable,
    )


def path_conflict_error(place: str, key: str, path: str) -> StorageError:
    """The error for a ``place`` that cannot store both an object ``a`` and an object ``a/b``, because keys
    are paths."""
    return StorageError(
        Kind.CONFLICT,
        f"“{key}” needs a folder “{path}”, but something else of that name is there."
        if path != key
        else f"“{key}” cannot be written: a folder, link or device of that name is there.",
        operation="write",
        subject=key,
        remedy=f"{place} cannot hold both a file and a folder of one name: rename or remove one of them.",
    )


def removed_meanwhile_error(what: str, key: str) -> StorageError:
    """The error for an unfinished write of which something was removed; ``what`` says what."""
    return StorageError(
        Kind.CONFLICT,
        f"The {what} of “{key}” was removed by someone else.",
        operation="write",
        subject=key,
        remedy="Try again.",
        retryable=True,
    )


def wrong_size_error(key: str, expected: int, size: int) -> Damaged:
    """The error for a write of ``size`` bytes that was announced with another size."""
    return Damaged(key, f"“{key}” was to have {expected:,} bytes, but {size:,} came.", operation="write")


def not_a_folder_error(root: str, what: str = "is a file or lies below one") -> StorageError:
    """The error for a root that cannot be a folder."""
    return StorageError(
        Kind.CONFLICT,
        f"“{root}” {what}.",
        operation="create bucket",
        subject=root,
        remedy="Choose another folder.",
    )
