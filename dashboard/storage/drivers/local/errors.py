"""Storage errors for ``OSError``."""

from __future__ import annotations

import errno

from dashboard.errors import Kind
from dashboard.storage.drivers.common.path_errors import operation_error
from dashboard.storage.errors import InvalidKey, Row, StorageError

_ROWS: dict[int, Row] = {
    errno.ENOSPC: Row(Kind.FULL, "the disk is full", "Free some space, then try again."),
    errno.EDQUOT: Row(
        Kind.FULL, "the disk quota is used up", "Free some space or raise the quota, then try again."
    ),
    errno.EFBIG: Row(
        Kind.TOO_LARGE,
        "the file system does not accept files this large",
        "Keep large files on another file system.",
    ),
    errno.EROFS: Row(
        Kind.DENIED, "the disk is mounted read-only", "Mount it writable, or use it only as a source."
    ),
    **dict.fromkeys(
        (errno.EACCES, errno.EPERM),
        Row(
            Kind.DENIED,
            "the user that runs Stowage may not",
            "Give that user access to the folder and everything in it.",
        ),
    ),
    **dict.fromkeys(
        (errno.ESTALE, errno.ENOTCONN, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENXIO, errno.ENODEV),
        Row(
            Kind.UNREACHABLE, "the disk or network share is gone", "Check that it is mounted, then try again."
        ),
    ),
    errno.ETIMEDOUT: Row(
        Kind.TIMEOUT, "the network share did not answer", "Check the share's server, then try again."
    ),
    **dict.fromkeys(
        (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.EBUSY),
        Row(
            Kind.THROTTLED,
            "the machine is out of open files or memory for now",
            "Use fewer workers, or raise the limit of open files.",
        ),
    ),
}
_NAME = frozenset({errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL})


def translate(error: OSError, operation: str, subject: str) -> StorageError:
    """Return the storage error for a failed system call. The caller chains ``error`` as its cause."""
    code = error.errno or 0
    if code in _NAME:
        return InvalidKey(subject, f"The file system of this folder does not accept the name “{subject}”.")
    unknown = Row(
        Kind.DAMAGED,
        f"the disk reported {errno.errorcode.get(code, code)}",
        "Check the disk and the system's log.",
    )
    return operation_error(operation, subject, _ROWS.get(code, unknown))
