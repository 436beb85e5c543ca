"""From the answers of Vercel Blob to a kind, a sentence and a next step.

The codes are those of Vercel's own client, ``@vercel/blob``, ``src/api.ts``.
"""

from __future__ import annotations

import re
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
from dashboard.storage.net.troubles import wire_error


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed request in neutral words. ``status`` is 0 when no answer came; then ``trouble`` says why.
    ``message`` is Vercel's own text: looked at, never shown."""

    status: int = 0
    code: str = ""
    message: str = ""
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Scene:
    """What was being done to what, for the sentences."""

    operation: str
    key: str
    store: str
    access: str
    host: str

    @property
    def subject(self) -> str:
        """The key, or the store where there is none."""
        return self.key or self.store


_ROWS: dict[str, tuple[Kind, str, str]] = {
    "forbidden": (
        Kind.BAD_CREDENTIALS,
        "Vercel does not accept this token.",
        "Copy BLOB_READ_WRITE_TOKEN again from the project's environment variables; it may be an old one.",
    ),
    "store_suspended": (
        Kind.DENIED,
        "Vercel has suspended the store “{store}”.",
        "Look at the store in the Vercel dashboard, under Storage.",
    ),
    "other_access": (
        Kind.DENIED,
        "The store “{store}” is not {access}.",
        "Change “Access of the store”; a store is either public or private.",
    ),
    "content_type_not_allowed": (Kind.DENIED, "Vercel refuses this content type for “{key}”.", ""),
    "file_too_large": (Kind.TOO_LARGE, "“{key}” is larger than Vercel Blob takes.", ""),
    "rate_limited": (Kind.THROTTLED, "Vercel asks to slow down.", "Use fewer workers, or try later."),
    "service_unavailable": (Kind.THROTTLED, "Vercel Blob is not available now.", "Try again in a moment."),
}
_BY_STATUS = {
    401: "forbidden",
    403: "forbidden",
    413: "file_too_large",
    429: "rate_limited",
    503: "service_unavailable",
}
_TAKEN = re.compile(r"already exists", re.IGNORECASE)
_OTHER_ACCESS = re.compile(r"cannot use (public|private) access", re.IGNORECASE)
_TOO_LARGE = re.compile(r"the file length cannot be greater than", re.IGNORECASE)
_BAD_NAME = re.compile(r"pathname", re.IGNORECASE)


def translate(failure: Failure, scene: Scene) -> StorageError:
    """The error to raise for a failed request."""
    if not failure.status:
        return wire_error(
            failure.trouble,
            host=scene.host,
            operation=scene.operation,
            key=scene.key,
            place=scene.store,
            speaks="Vercel Blob",
        )
    if scene.operation == "authenticate" and 400 <= failure.status < 500 and not failure.code:
        # Vercel always names its code: somebody else answered.
        return translate(Failure(trouble="unreadable"), scene)
    row = _ROWS.get(_named(failure))
    return _special(failure, scene) or (_error(row, scene) if row else _by_status(failure, scene))


def _named(failure: Failure) -> str:
    if _OTHER_ACCESS.search(failure.message):
        return "other_access"
    if _TOO_LARGE.search(failure.message):
        return "file_too_large"
    return failure.code if failure.code in _ROWS else _BY_STATUS.get(failure.status, "")


def _special(failure: Failure, scene: Scene) -> StorageError | None:
    if failure.code == "store_not_found":
        return PlaceMissing(
            scene.store,
            f"There is no Vercel Blob store “{scene.store}”.",
            operation=scene.operation,
            remedy="Copy the token again from the project that the store is connected to.",
        )
    if failure.status == 404 and scene.key and scene.operation != "write":
        return NotFound(scene.key, operation=scene.operation)
    if failure.status == 412:
        return Changed(scene.key, operation=scene.operation)
    if failure.status == 400 and _TAKEN.search(failure.message):
        return Exists(scene.key)
    if failure.status == 400 and scene.key and _BAD_NAME.search(failure.message):
        return InvalidKey(scene.key, f"Vercel Blob cannot hold the key “{scene.key}”.")
    return None


def _by_status(failure: Failure, scene: Scene) -> StorageError:
    if failure.status >= 500 or failure.status == 408:
        return StorageError(
            Kind.UNREACHABLE,
            f"{scene.host} failed inside (status {failure.status}).",
            operation=scene.operation,
            subject=scene.subject,
            remedy="Try again in a moment.",
        )
    if 300 <= failure.status < 400:
        return translate(Failure(trouble="redirect"), scene)
    error = Unsupported(scene.operation, f"{scene.host} refused the request with status {failure.status}.")
    error.subject = scene.subject
    return error


def _error(row: tuple[Kind, str, str], scene: Scene) -> StorageError:
    kind, reason, remedy = row
    reason = reason.format(key=scene.key, store=scene.store, access=scene.access)
    if kind is Kind.UNSUPPORTED:
        error: StorageError = Unsupported(scene.operation, reason)
        error.subject, error.remedy = scene.subject, remedy
        return error
    return StorageError(kind, reason, operation=scene.operation, subject=scene.subject, remedy=remedy)
