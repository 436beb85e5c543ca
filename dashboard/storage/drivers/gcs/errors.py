"""From the answers of Google Cloud Storage to a kind, a sentence and a next step.

https://cloud.google.com/storage/docs/json_api/v1/status-codes
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from dashboard.errors import Kind
from dashboard.storage.errors import (
    Changed,
    Damaged,
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
    ``message`` is Google's own text: looked at, never shown. ``host`` where it is not the endpoint."""

    status: int = 0
    reason: str = ""
    message: str = ""
    trouble: str = ""
    host: str = ""


@dataclass(frozen=True, slots=True)
class Scene:
    """What was being done to what, for the sentences."""

    operation: str
    key: str
    bucket: str
    host: str
    who: str
    """The service account, or words for the machine's identity."""

    @property
    def subject(self) -> str:
        """The key, or the bucket where there is none."""
        return self.key or self.bucket


_VERBS = {
    "read": ("read from", "Storage Object Viewer"),
    "stat": ("read from", "Storage Object Viewer"),
    "write": ("write to", "Storage Object User"),
    "copy": ("copy within", "Storage Object User"),
    "list": ("list", "Storage Object Viewer"),
    "delete": ("delete from", "Storage Object User"),
    "create bucket": ("create", "Storage Admin on the project"),
    "versions": ("list the older states in", "Storage Object Viewer"),
    "restore": ("write to", "Storage Object User"),
    "tier": ("write to", "Storage Object User"),
    "settings": ("look at the settings of", "Storage Legacy Bucket Reader"),
    "visibility": ("see who may read objects of", "Storage Object Admin"),
    "set visibility": ("say who may read objects of", "Storage Object Admin"),
    "change settings": ("change the settings of", "Storage Admin"),
    "authenticate": ("list", "Storage Object Viewer"),
}

_ROWS: dict[str, tuple[Kind, str, str]] = {
    "authError": (
        Kind.BAD_CREDENTIALS,
        "Google does not accept the sign-in of “{who}”.",
        "Check that the service account is enabled and its key is still listed under Keys.",
    ),
    "invalid_grant": (
        Kind.BAD_CREDENTIALS,
        "Google does not accept this key of “{who}”.",
        "It may have been deleted or disabled: look under IAM & Admin, Service accounts, Keys.",
    ),
    "clock": (
        Kind.BAD_CREDENTIALS,
        "Google says the sign-in of “{who}” is not from now.",
        "Check the clock of this machine.",
    ),
    "broken_key": (
        Kind.BAD_CREDENTIALS,
        "The private key of “{who}” cannot be read.",
        "Paste the whole JSON file again, unchanged.",
    ),
    "no_identity": (
        Kind.BAD_CREDENTIALS,
        "This machine has no Google identity.",
        "Give the VM or pod a service account, set GOOGLE_APPLICATION_CREDENTIALS, or paste a key.",
    ),
    "identity_refused": (
        Kind.BAD_CREDENTIALS,
        "Google gave no token for the identity of this machine.",
        "Check that its service account is enabled and may use Cloud Storage.",
    ),
    "rateLimitExceeded": (
        Kind.THROTTLED,
        "Google asks to slow down.",
        "Use fewer workers, or try later; one object can be replaced about once a second.",
    ),
    "unavailable": (Kind.THROTTLED, "{host} is overloaded for the moment.", "Try again in a moment."),
    "retentionPolicyNotMet": (
        Kind.DENIED,
        "“{key}” is protected by a retention policy.",
        "Wait until its retention ends, or change the policy.",
    ),
    "objectUnderActiveHold": (Kind.DENIED, "“{key}” is on hold.", "Release the hold in the console."),
    "accountDisabled": (
        Kind.DENIED,
        "The billing account of the project is disabled.",
        "Look under Billing in the Google Cloud console.",
    ),
    "userProjectMissing": (
        Kind.DENIED,
        "“{bucket}” makes whoever asks pay, which Stowage does not offer.",
        "Turn off “Requester pays” on the bucket.",
    ),
    "vpcServiceControls": (
        Kind.DENIED,
        "VPC Service Controls of the project keep this machine out.",
        "Add it to an access level of the perimeter.",
    ),
    "uniformAccess": (
        Kind.UNSUPPORTED,
        "The bucket “{bucket}” has uniform access: its objects have no permissions of their own.",
        "Open all of it to allUsers, or switch it to fine-grained access, under Permissions of the bucket.",
    ),
    "publicAccessPrevention": (
        Kind.DENIED,
        "Public access prevention keeps “{bucket}” closed.",
        "Turn it off under Permissions of the bucket, where the organization allows that.",
    ),
    "upload_gone": (Kind.UNREACHABLE, "{host} dropped the upload of “{key}”.", "Try again."),
    "tooLarge": (Kind.TOO_LARGE, "“{key}” is larger than Google Cloud Storage takes.", ""),
    "project": (
        Kind.UNSUPPORTED,
        "A bucket needs a project to be made in, and this sign-in names none.",
        "Fill in “Project of a new bucket” under Advanced.",
    ),
    "conflict": (
        Kind.CONFLICT,
        "There is already a bucket “{bucket}”, in somebody else's project.",
        "Bucket names are shared by all of Google's customers; choose another.",
    ),
}
_SAME_AS = {
    "required": "authError",
    "unauthorized": "authError",
    "invalid_client": "invalid_grant",
    "unauthorized_client": "invalid_grant",
    "userRateLimitExceeded": "rateLimitExceeded",
    "dailyLimitExceeded": "rateLimitExceeded",
    "quotaExceeded": "rateLimitExceeded",
    "slowDown": "rateLimitExceeded",
    "uploadTooLarge": "tooLarge",
    "userProjectAccountProblem": "accountDisabled",
}
_BY_STATUS = {
    401: "authError",
    410: "upload_gone",
    413: "tooLarge",
    429: "rateLimitExceeded",
    503: "unavailable",
}

_MISMATCH = re.compile(r"doesn't match calculated|BadDigest|CrcMismatch|checksum mismatch", re.IGNORECASE)
_NO_BUCKET = re.compile(r"bucket does not exist", re.IGNORECASE)
_BAD_NAME = re.compile(r"object name|disallowed unicode|object id", re.IGNORECASE)
_CLOCK = re.compile(r"\biat\b|\bexp\b|timeframe", re.IGNORECASE)
_PAYER = re.compile(r"requester pays", re.IGNORECASE)
_UNIFORM = re.compile(r"uniform bucket-level access", re.IGNORECASE)
_CLOSED = re.compile(r"public access prevention", re.IGNORECASE)
_BILLING = re.compile(r"billing account", re.IGNORECASE)


def translate(failure: Failure, scene: Scene) -> StorageError:
    """The error to raise for a failed request."""
    if not failure.status:
        return wire_error(
            failure.trouble,
            host=failure.host or scene.host,
            operation=scene.operation,
            key=scene.key,
            place=scene.bucket,
            speaks="Google Cloud Storage",
        )
    if scene.operation == "authenticate" and failure.status in (403, 404, 405) and not failure.reason:
        # Google always gives its reasons: somebody else answered.
        return translate(Failure(trouble="unreadable", host=failure.host), scene)
    row = _ROWS.get(_named(failure))
    return _special(failure, scene) or (_error(row, scene) if row else _by_status(failure, scene))


def _named(failure: Failure) -> str:
    """The row's name. Google uses one reason for several things; its sentence tells them apart."""
    if failure.reason == "invalid_grant" and _CLOCK.search(failure.message):
        return "clock"
    if failure.status == 400 and _PAYER.search(failure.message):
        return "userProjectMissing"
    if failure.status == 403 and _BILLING.search(failure.message):
        return "accountDisabled"
    if failure.status == 400 and _UNIFORM.search(failure.message):
        return "uniformAccess"
    if _closed(failure):
        return "publicAccessPrevention"
    reason = _SAME_AS.get(failure.reason, failure.reason)
    return reason if reason in _ROWS else _BY_STATUS.get(failure.status, "")


def _closed(failure: Failure) -> bool:
    return failure.status == 412 and _CLOSED.search(failure.message) is not None


def _special(failure: Failure, scene: Scene) -> StorageError | None:
    """What depends on what was being done, or has a class of its own."""
    status, message = failure.status, failure.message
    if status == 404:
        gone = scene.key and scene.operation != "write" and not _NO_BUCKET.search(message)
        return NotFound(scene.key, operation=scene.operation) if gone else _no_bucket(scene)
    if status in (304, 412):
        return None if _closed(failure) else _unmet(scene)
    if status == 400 and scene.key and _MISMATCH.search(message):
        reason = f"“{scene.key}” was damaged on its way to {scene.host}."
        return Damaged(scene.key, reason, operation=scene.operation)
    if status == 400 and scene.key and _BAD_NAME.search(message):
        return InvalidKey(scene.key, f"Google Cloud Storage cannot hold the key “{scene.key}”.")
    return None


def _unmet(scene: Scene) -> StorageError:
    """A condition that was sent along does not hold."""
    if not scene.key:
        reason = f"Somebody else was changing the settings of “{scene.bucket}”."
        return StorageError(
            Kind.CHANGED, reason, operation=scene.operation, subject=scene.bucket, remedy="Try again."
        )
    taken = scene.operation == "write"
    return Exists(scene.key) if taken else Changed(scene.key, operation=scene.operation)


def _by_status(failure: Failure, scene: Scene) -> StorageError:
    if failure.status == 403:
        verb, role = _VERBS[scene.operation]
        return StorageError(
            Kind.DENIED,
            f"“{scene.who}” may not {verb} the bucket “{scene.bucket}”.",
            operation=scene.operation,
            subject=scene.subject,
            remedy=f"Give it the role {role}, under Permissions of the bucket.",
        )
    if failure.status == 408 or failure.status >= 500:
        return StorageError(
            Kind.UNREACHABLE,
            f"{failure.host or scene.host} failed inside (status {failure.status}).",
            operation=scene.operation,
            subject=scene.subject,
            remedy="Try again in a moment.",
        )
    if 300 <= failure.status < 400:
        return translate(Failure(trouble="redirect", host=failure.host), scene)
    error = Unsupported(
        scene.operation, f"{failure.host or scene.host} refused the request with status {failure.status}."
    )
    error.subject = scene.subject
    return error


def _no_bucket(scene: Scene) -> PlaceMissing:
    return PlaceMissing(
        scene.bucket,
        f"There is no bucket “{scene.bucket}”.",
        operation=scene.operation,
        remedy="Check the bucket's name, or create the bucket.",
    )


def _error(row: tuple[Kind, str, str], scene: Scene) -> StorageError:
    kind, reason, remedy = row
    reason = reason.format(key=scene.key, bucket=scene.bucket, host=scene.host, who=scene.who)
    if kind is Kind.UNSUPPORTED:
        error: StorageError = Unsupported(scene.operation, reason)
        error.subject, error.remedy = scene.subject, remedy
        return error
    return StorageError(kind, reason, operation=scene.operation, subject=scene.subject, remedy=remedy)
