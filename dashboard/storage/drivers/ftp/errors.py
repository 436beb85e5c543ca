"""Translation of reply codes into storage errors. https://www.rfc-editor.org/rfc/rfc959#section-4.2"""

from __future__ import annotations

import ftplib

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
from dashboard.storage.errors import InvalidKey, Row, StorageError
from dashboard.storage.paths import key_bytes

_DENIED = ("denied", "permission", "not allowed", "read-only", "privilege", "forbidden")
_FULL_DISK = (
    "no space",
    "disk full",
    "disk is full",
    "not enough space",
    "insufficient storage",
    # All that vsftpd and Pure-FTPd report.
    "writing to local file",
    "error during write to file",
)
_TOO_MANY = ("too many", "maximum", "limit", "no more connections")

_BY_CODE: dict[int, Row] = {
    425: Row(
        Kind.UNREACHABLE,
        "the server could not open the data connection",
        "Open the server's passive ports in its firewall.",
    ),
    426: Row(
        Kind.UNREACHABLE,
        "the data connection was interrupted",
        "Try again; if it keeps happening, check the server's log.",
    ),
    450: Row(Kind.THROTTLED, "the server says that it is unavailable", "Try again later."),
    452: DISK_FULL,
    552: QUOTA,
    522: Row(
        Kind.DENIED,
        "the server requires another encryption of the data connection",
        "Check the server's TLS settings.",
    ),
    530: Row(Kind.BAD_CREDENTIALS, "the server signed Stowage out", "Test the connection."),
    **dict.fromkeys((500, 501, 502, 504), UNSUPPORTED),
    **dict.fromkeys((550, 551, 553), NOT_ALLOWED),
}
# What ProFTPD reports if the disk is full.
_DISK_FAILING = Row(
    Kind.FULL,
    "the server's disk is full or failing",
    "Free some space on the server; if there is enough, check its log.",
)
_TOO_MANY_CONNECTIONS = Row(
    Kind.THROTTLED, "the server accepts no more connections", "Allow fewer connections under Advanced."
)
_BAD_NAME = ("prohibited file name", "file name not allowed", "invalid file name", "illegal file name")
"""From Pure-FTPd, RFC 959 and others. The code alone says little: many servers use 553 for anything."""


def reply_code(error: ftplib.Error) -> int:
    """Return the three-digit code of a reply, or 0."""
    head = str(error)[:3]
    return int(head) if head.isdigit() else 0


def is_denied(error: ftplib.Error, path: bytes) -> bool:
    """Whether a 550 reply reports denied access rather than a missing file."""
    return mentions_any(str(error), _DENIED, path)


def translate_error(error: ftplib.Error, operation: str, subject: str) -> StorageError:
    """Return the storage error for a refused command. The server's text is matched but never shown."""
    code, text, names = reply_code(error), str(error), key_bytes(subject)
    if code == 553 and mentions_any(text, _BAD_NAME, names):
        return InvalidKey(subject, f"The server does not accept the name “{subject}”.")
    why = _BY_CODE.get(code, UNEXPLAINED)
    if mentions_any(text, ("quota",), names):
        why = QUOTA
    elif mentions_any(text, _FULL_DISK, names):
        why = DISK_FULL
    elif mentions_any(text, ("file too large",), names):
        why = TOO_LARGE
    elif operation == "write" and mentions_any(text, ("input/output error",), names):
        why = _DISK_FAILING
    elif code == 421 or (code == 530 and mentions_any(text, _TOO_MANY, names)):
        why = _TOO_MANY_CONNECTIONS
    return operation_error(operation, subject, why)


def login_error(error: ftplib.Error, user: str, host: str) -> StorageError:
    """Return the storage error for a refused sign-in."""
    code, text = reply_code(error), str(error).lower()
    if code == 421 or any(word in text for word in _TOO_MANY):
        kind, reason = Kind.THROTTLED, f"“{host}” accepts no more connections at the moment."
        remedy = "Allow fewer connections under Advanced, or wait."
    elif "tls" in text or "ssl" in text or "secure" in text or "encrypt" in text:
        kind, reason = Kind.BAD_CREDENTIALS, f"“{host}” requires an encrypted connection."
        remedy = "Choose TLS under “Encryption”."
    elif code in (332, 430, 530, 532, 331):
        kind, reason = Kind.BAD_CREDENTIALS, f"The server refused the user name “{user}” or the password."
        remedy = "Check them, then try again."
    else:
        kind, reason = Kind.UNREACHABLE, f"“{host}” closed the connection during sign-in."
        remedy = "Try again; if it keeps happening, check the server's log."
    return StorageError(kind, reason, operation="authenticate", subject=host, remedy=remedy)
