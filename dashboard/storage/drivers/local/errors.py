"""From ``OSError`` to words."""

from __future__ import annotations

import errno

from dashboard.errors import Kind
from dashboard.storage.errors import InvalidKey, StorageError

_ROWS: tuple[tuple[frozenset[int], Kind, str, str], ...] = (
    (
        frozenset({errno.ENOSPC}),
        Kind.FULL,
        "“{subject}” could not be {verb}: the disk is full.",
        "Free some space, then try again.",
    ),
    (
        frozenset({errno.EDQUOT}),
        Kind.FULL,
        "“{subject}” could not be {verb}: the disk quota is used up.",
        "Free some space or raise the quota, then try again.",
    ),
    (
        frozenset({errno.EFBIG}),
        Kind.TOO_LARGE,
        "“{subject}” could not be {verb}: the file system takes no file this large.",
        "Keep large files on another file system.",
    ),
    (
        frozenset({errno.EROFS}),
        Kind.DENIED,
        "“{subject}” could not be {verb}: the disk is mounted read-only.",
        "Mount it writable, or use it only as a source.",
    ),
    (
        frozenset({errno.EACCES, errno.EPERM}),
        Kind.DENIED,
        "“{subject}” could not be {verb}: the user that runs Stowage may not.",
        "Give that user access to the folder and everything in it.",
    ),
    (
        frozenset(
            {errno.ESTALE, errno.ENOTCONN, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENXIO, errno.ENODEV}
        ),
        Kind.UNREACHABLE,
        "“{subject}” could not be {verb}: the disk or network share is gone.",
        "Check that it is mounted, then try again.",
    ),
    (
        frozenset({errno.ETIMEDOUT}),
        Kind.TIMEOUT,
        "“{subject}” could not be {verb}: the network share did not answer.",
        "Check the share's server, then try again.",
    ),
    (
        frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.EBUSY}),
        Kind.THROTTLED,
        "“{subject}” could not be {verb}: the machine is out of open files or memory for now.",
        "Use fewer workers, or raise the limit of open files.",
    ),
)
_BY_CODE = {code: row for row in _ROWS for code in row[0]}
_NAME = frozenset({errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL})

_VERBS = {
    "write": "written",
    "stat": "looked at",
    "list": "listed",
    "delete": "deleted",
    "sweep": "swept",
    "create bucket": "created",
}


def translate(error: OSError, operation: str, subject: str) -> StorageError:
    """The storage error for a failed system call. The caller chains ``error`` as its cause."""
    code = error.errno or 0
    if code in _NAME:
        return InvalidKey(subject, f"The file system of this folder does not accept the name “{subject}”.")
    unknown = (
        frozenset[int](),
        Kind.DAMAGED,
        f"“{{subject}}” could not be {{verb}}: the disk reported {errno.errorcode.get(code, code)}.",
        "Check the disk and the system's log.",
    )
    _, kind, reason, remedy = _BY_CODE.get(code, unknown)
    return StorageError(
        kind,
        reason.format(subject=subject, verb=_VERBS.get(operation, operation)),
        operation=operation,
        subject=subject,
        remedy=remedy,
    )
