"""What can go wrong with a WebDAV server, as a kind, a sentence and a next step.

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
    "Look into the server's log: it may have no room left.",
    retryable=True,
)


def _not_allowed(failure: RequestFailure, context: ErrorContext) -> Row:
    """Servers written in Go answer so to a PUT that fails."""
    return _NOT_STORED if context.operation == "write" and context.key else _NOT_WEBDAV


def _failed(failure: RequestFailure, context: ErrorContext) -> Row:
    remedy = "Try again in a moment; if it stays so, the server's log says why"
    return FAILED._replace(
        remedy=f"{remedy}: it may have no room left." if context.operation == "write" else f"{remedy}."
    )


FOLDER_MISSING = Row(
    Kind.NOT_FOUND,
    "There is no folder “{container}”.",
    "Check the address and the folder, or create the folder.",
)
FOREIGN_PATHS = Row(
    Kind.UNSUPPORTED,
    "{host} lists other paths than it was asked for.",
    "Enter the server's own path; a proxy in front of it must not rename paths.",
)
MISSING_SIZE = Row(
    Kind.UNSUPPORTED,
    "{host} does not say how large “{key}” is.",
    "It may be made as it is read, such as a cloud document: move it out of this folder.",
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
HIDDEN_NAME = Row(
    Kind.INVALID_KEY, "{host} leaves names that begin with a dot out of its listings, “{key}” too."
)
INDEX_PAGE_NAME = Row(
    Kind.INVALID_KEY, "With “{key}” in it, {host} would show that page and no longer the folder."
)
AUTH_UNSUPPORTED = Row(
    Kind.BAD_CREDENTIALS,
    "{host} signs nobody in by user name and password alone.",
    "Have Basic or Digest sign-in switched on there; other ways cannot be used here.",
)

ERRORS = ErrorTable[RequestFailure, ErrorContext](
    speaks="WebDAV",
    redirect="Enter the address it leads to: often https:// in place of http://, or another path.",
    # A status is all there is.
    coded_statuses=(),
    verbs=_VERBS,
    container_missing=FOLDER_MISSING,
    rules={
        400: lambda failure, context: None if context.key.isalnum() else BAD_KEY,
        401: Row(
            Kind.BAD_CREDENTIALS,
            "{host} does not accept this user name and password.",
            "Type both again. Nextcloud and ownCloud want an app password where two-factor sign-in is on.",
        ),
        402: Row(
            Kind.FULL, "{host} says the account has to be paid for.", "Sign in to the provider and look."
        ),
        403: Row(
            Kind.DENIED,
            "The sign-in is right, but this user may not {verb} “{subject}”.",
            "Give the user the right to read and write this folder on the server.",
        ),
        405: _not_allowed,
        408: Row(Kind.TIMEOUT, "{host} waited too long for the request.", "Try again."),
        409: Row(
            Kind.CONFLICT,
            "“{subject}” cannot be there: a file is in place of one of its folders.",
            "Rename or remove that file.",
        ),
        411: Row(
            Kind.UNSUPPORTED,
            "{host} takes no upload whose size is not known beforehand.",
            "Copy the object from a backend that tells its size.",
        ),
        413: Row(
            Kind.TOO_LARGE,
            "“{subject}” is larger than {host} takes in one upload.",
            "Raise the upload limit of the server or of the proxy in front of it.",
        ),
        414: Row(Kind.INVALID_KEY, "“{subject}” is too long for {host}."),
        415: Row(Kind.DENIED, "{host} refuses files of this type.", "Look for a file filter on the server."),
        423: Row(
            Kind.THROTTLED,
            "Somebody else has “{subject}” locked on {host}.",
            "Try again when it is released; it may be open in an editor.",
        ),
        429: SLOW_DOWN,
        501: Row(
            Kind.UNSUPPORTED,
            "{host} does not know a request that is part of WebDAV.",
            "Check that the address is one of WebDAV.",
        ),
        502: Row(
            Kind.UNREACHABLE,
            "A proxy in front of {host} failed or does not pass WebDAV on as it should.",
            "Try again; if it stays so, have the proxy pass “Destination” and “Host” unchanged.",
        ),
        503: Row(
            Kind.THROTTLED,
            "{host} is overloaded or in maintenance.",
            "Use fewer workers, or try later.",
        ),
        504: Row(Kind.TIMEOUT, "The server behind {host} did not answer.", "Try again in a moment."),
        507: Row(Kind.FULL, "{host} has no room left for “{subject}”.", "Make room or raise the quota."),
        # Where not even the root of the server takes a folder.
        404: lambda failure, context: _NOT_WEBDAV if context.operation == "create bucket" else None,
        "5xx": _failed,
    },
)


def status_error(status: int, context: ErrorContext) -> StorageError:
    """The error to raise for an answer that is none of those expected."""
    return ERRORS.translate(RequestFailure(status), context)


def listing_hidden_error(page: str, context: ErrorContext) -> StorageError:
    """A page stands in for a folder that was to be listed."""
    row = Row(
        Kind.UNSUPPORTED,
        f"{{host}} shows the page “{page}” and not what is in “{{subject}}”.",
        "Have the page switched off there: in Apache's settings, “DirectoryIndex disabled”.",
    )
    return ERRORS.from_row(row, context)
