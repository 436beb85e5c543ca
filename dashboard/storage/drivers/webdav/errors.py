"""Translation of WebDAV responses into storage errors.

Statuses: RFC 9110, RFC 4918 section 11.
"""

from __future__ import annotations

from dashboard.errors import Kind
from dashboard.storage.errors import Row, StorageError
from dashboard.storage.net.failures import (
    BAD_KEY,
    FAILED,
    SLOW_DOWN,
    ErrorContext,
    ErrorTable,
    RequestFailure,
)

_VERBS = {
    "read": ("read", ""),
    "stat": ("look at", ""),
    "write": ("write", ""),
    "copy": ("copy", ""),
    "list": ("list", ""),
    "delete": ("delete", ""),
    "sweep": ("tidy up", ""),
    "create bucket": ("create", ""),
    "authenticate": ("sign in to", ""),
}


_NOT_WEBDAV = Row(
    Kind.UNSUPPORTED,
    "{host} does not speak WebDAV at this address.",
    "Check the path of the address; Nextcloud shows it under Files, Files settings.",
)
_NOT_STORED = Row(
    Kind.DENIED,
    "{host} did not store “{subject}” and does not say why.",
    "Check the server's log: it may have no space left.",
    retryable=True,
)


def _not_allowed(failure: RequestFailure, context: ErrorContext) -> Row:
    """Servers written in Go respond with 405 to a PUT that fails."""
    return _NOT_STORED if context.operation == "write" and context.key else _NOT_WEBDAV


def _failed(failure: RequestFailure, context: ErrorContext) -> Row:
    remedy = "Try again in a moment; if it keeps happening, check the server's log"
    return FAILED._replace(
        remedy=f"{remedy}: it may have no space left." if context.operation == "write" else f"{remedy}."
    )


FOLDER_MISSING = Row(
    Kind.NOT_FOUND,
    "There is no folder “{container}”.",
    "Check the address and the folder, or create the folder.",
)
FOREIGN_PATHS = Row(
    Kind.UNSUPPORTED,
    "{host} lists other paths than the requested one.",
    "Enter the server's own path; a proxy in front of it must not rename paths.",
)
MISSING_SIZE = Row(
    Kind.UNSUPPORTED,
    "{host} does not say how large “{key}” is.",
    "It may be generated when it is read, such as an online document: move it out of this folder.",
)
FOLDER_EXISTS = Row(
    Kind.CONFLICT,
    "“{key}” is a folder on {host}, so no file can have that name.",
    "Rename the folder or the file.",
)
FILE_EXISTS = Row(
    Kind.CONFLICT,
    "“{key}” is a file on {host}, so no folder can have that name.",
    "Rename the file or the folder.",
)
STORED_UNDER_OTHER_NAME = Row(Kind.INVALID_KEY, "{host} stores “{key}” under a different name.")
HIDDEN_NAME = Row(Kind.INVALID_KEY, "{host} does not list names that start with a dot, such as “{key}”.")
INDEX_PAGE_NAME = Row(
    Kind.INVALID_KEY, "With “{key}” in a folder, {host} would show that page instead of listing the folder."
)
AUTH_UNSUPPORTED = Row(
    Kind.BAD_CREDENTIALS,
    "{host} does not support signing in with a user name and password.",
    "Enable Basic or Digest authentication on the server; other methods are not supported.",
)

ERRORS = ErrorTable[RequestFailure, ErrorContext](
    speaks="WebDAV",
    redirect="Enter the address that it redirects to: often https:// instead of http://, or another path.",
    # WebDAV errors have a status only.
    coded_statuses=(),
    verbs=_VERBS,
    container_missing=FOLDER_MISSING,
    rules={
        400: lambda failure, context: None if context.key.isalnum() else BAD_KEY,
        401: Row(
            Kind.BAD_CREDENTIALS,
            "{host} does not accept this user name and password.",
            "Type both again. Nextcloud and ownCloud require an app password with two-factor authentication.",
        ),
        402: Row(
            Kind.FULL,
            "{host} says that the account requires payment.",
            "Check the account with the provider.",
        ),
        403: Row(
            Kind.DENIED,
            "The user name and password are correct, but this user may not {verb} “{subject}”.",
            "Give the user the right to read and write this folder on the server.",
        ),
        405: _not_allowed,
        408: Row(Kind.TIMEOUT, "{host} waited too long for the request.", "Try again."),
        409: Row(
            Kind.CONFLICT,
            "“{subject}” cannot exist: one of its folders is a file.",
            "Rename or remove that file.",
        ),
        411: Row(
            Kind.UNSUPPORTED,
            "{host} does not accept uploads of unknown size.",
            "Copy the object from a backend that reports its size.",
        ),
        413: Row(
            Kind.TOO_LARGE,
            "“{subject}” is larger than {host} accepts in one upload.",
            "Raise the upload limit of the server or of the proxy in front of it.",
        ),
        414: Row(Kind.INVALID_KEY, "“{subject}” is too long for {host}."),
        415: Row(Kind.DENIED, "{host} refuses files of this type.", "Check the server for a file filter."),
        423: Row(
            Kind.THROTTLED,
            "“{subject}” is locked on {host}.",
            "Try again when it is unlocked; it may be open in an editor.",
        ),
        429: SLOW_DOWN,
        501: Row(
            Kind.UNSUPPORTED,
            "{host} does not support a request that is part of WebDAV.",
            "Check that the address is a WebDAV address.",
        ),
        502: Row(
            Kind.UNREACHABLE,
            "A proxy in front of {host} failed or does not forward WebDAV correctly.",
            "Try again; if it keeps happening, let the proxy pass “Destination” and “Host” unchanged.",
        ),
        503: Row(
            Kind.THROTTLED,
            "{host} is overloaded or in maintenance.",
            "Use fewer workers, or try again later.",
        ),
        504: Row(Kind.TIMEOUT, "The server behind {host} did not respond.", "Try again in a moment."),
        507: Row(
            Kind.FULL, "{host} has no space left for “{subject}”.", "Free some space or raise the quota."
        ),
        # Not even the root of the server accepts a folder.
        404: lambda failure, context: _NOT_WEBDAV if context.operation == "create bucket" else None,
        "5xx": _failed,
    },
)


def status_error(status: int, context: ErrorContext) -> StorageError:
    """Return the error for an unexpected status."""
    return ERRORS.translate(RequestFailure(status), context)


def listing_hidden_error(page: str, context: ErrorContext) -> StorageError:
    """Return the error for an index page that hides the listing of a folder."""
    row = Row(
        Kind.UNSUPPORTED,
        f"{{host}} shows the page “{page}” instead of listing “{{subject}}”.",
        "Disable index pages on the server: in Apache's configuration, “DirectoryIndex disabled”.",
    )
    return ERRORS.from_row(row, context)
