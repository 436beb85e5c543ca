"""Translation of SFTP status codes into storage errors."""

from __future__ import annotations

from dashboard.errors import Kind
from dashboard.storage.drivers.common.path_errors import (
    DISK_FULL,
    NOT_ALLOWED,
    QUOTA,
    TOO_LARGE,
    UNEXPLAINED,
    UNSUPPORTED,
    operation_error,
)
from dashboard.storage.drivers.served.operations import mentions_any
from dashboard.storage.drivers.sftp.protocol import Status
from dashboard.storage.errors import InvalidKey, Row, StorageError
from dashboard.storage.paths import key_bytes

MISSING = frozenset({Status.NO_SUCH_FILE, Status.NO_SUCH_PATH})


def translate_error(code: int, text: str, operation: str, subject: str) -> StorageError:
    """Return the storage error for a refused request. The server's text is matched but never shown."""
    why = _row_for(code, text, key_bytes(subject))
    if why is _BAD_NAME:
        return InvalidKey(subject, why.reason.format(subject=subject))
    return operation_error(operation, subject, why)


_BAD_NAME = Row(Kind.INVALID_KEY, "The server does not accept the name “{subject}”.")
_NONE = frozenset[int]()
_ROWS: tuple[tuple[frozenset[int], tuple[str, ...], Row], ...] = (
    (frozenset({Status.QUOTA}), ("quota",), QUOTA),
    (_NONE, ("file too large",), TOO_LARGE),
    (frozenset({Status.NO_SPACE}), ("no space",), DISK_FULL),
    (
        frozenset({Status.READ_ONLY}),
        ("read-only",),
        Row(
            Kind.DENIED,
            "the server's file system is read-only",
            "Use it only as a source, or mount it writable on the server.",
        ),
    ),
    (frozenset({Status.PERMISSION_DENIED}), (), NOT_ALLOWED),
    (frozenset({Status.BAD_MESSAGE}), ("too long", "invalid argument"), _BAD_NAME),
    (frozenset({Status.UNSUPPORTED}), (), UNSUPPORTED),
    (
        _NONE,
        ("too many open files", "resource temporarily"),
        Row(Kind.THROTTLED, "the server has too many open files at the moment", "Use fewer workers."),
    ),
)


def _row_for(code: int, text: str, names: bytes) -> Row:
    for codes, words, why in _ROWS:
        if code in codes or mentions_any(text, words, names):
            return why
    return UNEXPLAINED
