"""From an answer of a WebDAV server to a kind, a sentence and a next step.

Statuses: RFC 9110, RFC 4918 section 11.
"""

from __future__ import annotations

from dataclasses import dataclass

from dashboard.errors import Kind
from dashboard.storage.errors import (
    Changed,
    Exists,
    InvalidKey,
    NotFound,
    PlaceMissing,
    StorageError,
    Unsupported,
)
from dashboard.storage.net.ranges import PastEnd
from dashboard.storage.net.troubles import wire_error


@dataclass(frozen=True, slots=True)
class Scene:
    """What was being done to what, for the sentences."""

    operation: str
    key: str
    host: str
    place: str

    @property
    def subject(self) -> str:
        """The key, or the place where there is none."""
        return self.key or self.place


_VERBS = {
    "read": "read",
    "stat": "look at",
    "write": "write",
    "copy": "copy",
    "list": "list",
    "delete": "delete",
    "sweep": "tidy up",
    "create bucket": "create",
    "authenticate": "sign in to",
}

_NOT_STORED = -405
"""What a PUT that fails is answered by servers written in Go."""

_ROWS: dict[int, tuple[Kind, str, str]] = {
    401: (
        Kind.BAD_CREDENTIALS,
        "{host} does not accept this user name and password.",
        "Type both again. Nextcloud and ownCloud want an app password where two-factor sign-in is on.",
    ),
    402: (Kind.FULL, "{host} says the account has to be paid for.", "Sign in to the provider and look."),
    403: (
        Kind.DENIED,
        "The sign-in is right, but this user may not {verb} “{subject}”.",
        "Give the user the right to read and write this folder on the server.",
    ),
    405: (
        Kind.UNSUPPORTED,
        "{host} does not speak WebDAV at this address.",
        "Check the path of the address; Nextcloud shows it under Files, Files settings.",
    ),
    _NOT_STORED: (
        Kind.DENIED,
        "{host} did not store “{subject}” and does not say why.",
        "Look into the server's log: it may have no room left.",
    ),
    408: (Kind.TIMEOUT, "{host} waited too long for the request.", "Try again."),
    409: (
        Kind.CONFLICT,
        "“{subject}” cannot be there: a file is in place of one of its folders.",
        "Rename or remove that file.",
    ),
    411: (
        Kind.UNSUPPORTED,
        "{host} takes no upload whose size is not known beforehand.",
        "Copy the object from a backend that tells its size.",
    ),
    413: (
        Kind.TOO_LARGE,
        "“{subject}” is larger than {host} takes in one upload.",
        "Raise the upload limit of the server or of the proxy in front of it.",
    ),
    414: (Kind.INVALID_KEY, "“{subject}” is too long for {host}.", ""),
    415: (Kind.DENIED, "{host} refuses files of this type.", "Look for a file filter on the server."),
    423: (
        Kind.THROTTLED,
        "Somebody else has “{subject}” locked on {host}.",
        "Try again when it is released; it may be open in an editor.",
    ),
    429: (Kind.THROTTLED, "{host} asks to slow down.", "Use fewer workers, or try later."),
    501: (
        Kind.UNSUPPORTED,
        "{host} does not know a request that is part of WebDAV.",
        "Check that the address is one of WebDAV.",
    ),
    502: (
        Kind.UNREACHABLE,
        "A proxy in front of {host} failed or does not pass WebDAV on as it should.",
        "Try again; if it stays so, have the proxy pass “Destination” and “Host” unchanged.",
    ),
    503: (
        Kind.THROTTLED,
        "{host} is overloaded or in maintenance.",
        "Use fewer workers, or try later.",
    ),
    504: (Kind.TIMEOUT, "The server behind {host} did not answer.", "Try again in a moment."),
    507: (Kind.FULL, "{host} has no room left for “{subject}”.", "Make room or raise the quota."),
}


def translate(status: int, scene: Scene) -> StorageError:
    """The error to raise for an answer that is none of those expected."""
    if status == 404 and scene.operation == "create bucket":
        # Not even the root of the server takes a folder.
        return _error(_ROWS[405], scene)
    if status == 405 and scene.operation == "write" and scene.key:
        status = _NOT_STORED
    if status in (404, 410):
        return NotFound(scene.key, operation=scene.operation) if scene.key else place_missing(scene)
    if status == 412:
        return _precondition(scene)
    if status == 416 and scene.key:
        return PastEnd(scene.key)
    if 300 <= status < 400:
        return on_the_wire("redirect", scene)
    return _error(_ROWS[status], scene) if status in _ROWS else _other(status, scene)


def _error(row: tuple[Kind, str, str], scene: Scene) -> StorageError:
    kind, reason, remedy = row
    reason = reason.format(host=scene.host, subject=scene.subject, verb=_VERBS[scene.operation])
    if kind is Kind.INVALID_KEY:
        return InvalidKey(scene.key, reason)
    if kind is Kind.UNSUPPORTED:
        error: StorageError = Unsupported(scene.operation, reason)
        error.subject, error.remedy = scene.subject, remedy
        return error
    return StorageError(
        kind,
        reason,
        operation=scene.operation,
        subject=scene.subject,
        remedy=remedy,
        retryable=True if row is _ROWS[_NOT_STORED] else None,
    )


def _other(status: int, scene: Scene) -> StorageError:
    if status == 400 and scene.key and not scene.key.isalnum():
        return InvalidKey(scene.key, f"{scene.host} cannot hold the key “{scene.key}”.")
    if status >= 500:
        return StorageError(
            Kind.UNREACHABLE,
            f"{scene.host} failed inside (status {status}).",
            operation=scene.operation,
            subject=scene.subject,
            remedy="Try again in a moment; if it stays so, the server's log says why"
            + (": it may have no room left." if scene.operation == "write" else "."),
        )
    return Unsupported(scene.operation, f"{scene.host} refused the request with status {status}.")


def _precondition(scene: Scene) -> StorageError:
    if scene.operation == "write":
        return Exists(scene.key)
    return Changed(scene.key, operation=scene.operation)


def place_missing(scene: Scene) -> PlaceMissing:
    """The folder the driver works in is not there."""
    return PlaceMissing(
        scene.place,
        f"There is no folder “{scene.place}”.",
        operation=scene.operation,
        remedy="Check the address and the folder, or create the folder.",
    )


def elsewhere(scene: Scene) -> StorageError:
    """A listing names paths that are not below the one that was asked for."""
    error = Unsupported(scene.operation, f"{scene.host} lists other paths than it was asked for.")
    error.subject = scene.subject
    error.remedy = "Enter the server's own path; a proxy in front of it must not rename paths."
    return error


def without_size(scene: Scene) -> StorageError:
    """The server lists a file and does not say how large it is."""
    error = Unsupported(scene.operation, f"{scene.host} does not say how large “{scene.key}” is.")
    error.subject = scene.subject
    error.remedy = "It may be made as it is read, such as a cloud document: move it out of this folder."
    return error


def folder_in_the_way(scene: Scene) -> StorageError:
    """A folder that is not empty has the name a file should get."""
    return StorageError(
        Kind.CONFLICT,
        f"“{scene.key}” is a folder on {scene.host}, so no file can have that name.",
        operation=scene.operation,
        subject=scene.key,
        remedy="Rename the folder or the file.",
    )


def file_in_the_way(scene: Scene) -> StorageError:
    """A file has the name a folder should get."""
    return StorageError(
        Kind.CONFLICT,
        f"“{scene.key}” is a file on {scene.host}, so no folder can have that name.",
        operation=scene.operation,
        subject=scene.key,
        remedy="Rename the file or the folder.",
    )


def bent(scene: Scene) -> InvalidKey:
    """The server stores the key under another name."""
    return InvalidKey(scene.key, f"{scene.host} stores “{scene.key}” under a different name.")


def unlisted(scene: Scene) -> InvalidKey:
    """The server takes the name and then leaves it out of its listings."""
    return InvalidKey(
        scene.key, f"{scene.host} leaves names that begin with a dot out of its listings, “{scene.key}” too."
    )


def hides_its_folder(scene: Scene) -> InvalidKey:
    """With this name in it, the server would show a page and not a folder."""
    return InvalidKey(
        scene.key, f"With “{scene.key}” in it, {scene.host} would show that page and no longer the folder."
    )


def hidden_by(page: str, scene: Scene) -> StorageError:
    """A page stands in for a folder that was to be listed."""
    error = Unsupported(
        scene.operation, f"{scene.host} shows the page “{page}” and not what is in “{scene.subject}”."
    )
    error.subject = scene.subject
    error.remedy = "Have the page switched off there: in Apache's settings, “DirectoryIndex disabled”."
    return error


def other_sign_in(scene: Scene) -> StorageError:
    """The server takes neither Basic nor a Digest that we know."""
    return StorageError(
        Kind.BAD_CREDENTIALS,
        f"{scene.host} signs nobody in by user name and password alone.",
        operation=scene.operation,
        subject=scene.place,
        remedy="Have Basic or Digest sign-in switched on there; other ways cannot be used here.",
    )


def on_the_wire(trouble: str, scene: Scene) -> StorageError:
    """The error for a request that got no answer it could use; see ``wire.trouble_in``."""
    return wire_error(
        trouble,
        host=scene.host,
        operation=scene.operation,
        key=scene.key,
        place=scene.place,
        speaks="WebDAV",
        redirect="Enter the address it leads to: often https:// in place of http://, or another path.",
    )
