"""From a server's status to words."""

from __future__ import annotations

from dashboard.errors import Kind
from dashboard.storage.drivers.served.operations import says
from dashboard.storage.drivers.sftp.wire import Status
from dashboard.storage.errors import InvalidKey, StorageError
from dashboard.storage.paths import key_bytes

ABSENT = frozenset({Status.NO_SUCH_FILE, Status.NO_SUCH_PATH})

_VERBS = {"write": "written", "look at": "looked at", "list": "listed", "delete": "deleted", "read": "read"}
_FULL = "Free some space on the server, then try again."


def translate(code: int, text: str, operation: str, subject: str) -> StorageError:
    """The storage error for a refused request. The server's own text is looked at and never shown."""
    verb = _VERBS.get(operation, operation)
    kind, why, remedy, retryable = _explained(code, text, key_bytes(subject))
    if kind is Kind.INVALID_KEY:
        return InvalidKey(subject, f"The server does not accept the name “{subject}”.")
    return StorageError(
        kind,
        f"“{subject}” could not be {verb}: {why}.",
        operation=operation,
        subject=subject,
        remedy=remedy,
        retryable=retryable,
    )


_Why = tuple[Kind, str, str, bool | None]

_ROWS: tuple[tuple[frozenset[int], tuple[str, ...], _Why], ...] = (
    (
        frozenset({Status.QUOTA}),
        ("quota",),
        (Kind.FULL, "the quota on the server is used up", _FULL, None),
    ),
    (
        frozenset[int](),
        ("file too large",),
        (Kind.TOO_LARGE, "the server takes no file this large", "Keep large files on another server.", None),
    ),
    (frozenset({Status.NO_SPACE}), ("no space",), (Kind.FULL, "the server's disk is full", _FULL, None)),
    (
        frozenset({Status.READ_ONLY}),
        ("read-only",),
        (
            Kind.DENIED,
            "the server's file system is read-only",
            "Use it only as a source, or have it mounted writable.",
            None,
        ),
    ),
    (
        frozenset({Status.PERMISSION_DENIED}),
        (),
        (
            Kind.DENIED,
            "this user may not do that on the server",
            "Give this user access to the folder and everything in it.",
            None,
        ),
    ),
    (
        frozenset({Status.BAD_MESSAGE}),
        ("too long", "invalid argument"),
        (Kind.INVALID_KEY, "", "", None),
    ),
    (
        frozenset({Status.UNSUPPORTED}),
        (),
        (Kind.UNSUPPORTED, "the server does not know how", "Ask whoever runs the server.", None),
    ),
    (
        frozenset(),
        ("too many open files", "resource temporarily"),
        (Kind.THROTTLED, "the server is out of open files for now", "Use fewer workers.", None),
    ),
)
_UNKNOWN: _Why = (
    Kind.DENIED,
    "the server refused without saying why",
    "Look into the server's log; it may be busy, or out of space.",
    True,
)


def _explained(code: int, text: str, names: bytes) -> _Why:
    for codes, words, why in _ROWS:
        if code in codes or says(text, words, names):
            return why
    return _UNKNOWN
