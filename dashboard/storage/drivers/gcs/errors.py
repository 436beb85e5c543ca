"""The errors of Google Cloud Storage: kind, reason and remedy of each.

https://cloud.google.com/storage/docs/json_api/v1/status-codes
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from dashboard.errors import Kind
from dashboard.storage.errors import Row, StorageError
from dashboard.storage.net import failures
from dashboard.storage.net.failures import DAMAGED, ErrorTable, RequestFailure


@dataclass(frozen=True, slots=True)
class ErrorContext(failures.ErrorContext):
    """The place is the bucket."""

    who: str
    """The service account's email address, or a name for the identity of this machine."""


# Google uses one reason for several errors; only the message tells them apart.
_CODES_BY_MESSAGE = (
    (400, "userProjectMissing", re.compile(r"requester pays", re.IGNORECASE)),
    (400, "uniformAccess", re.compile(r"uniform bucket-level access", re.IGNORECASE)),
    (
        400,
        "damaged",
        re.compile(r"doesn't match calculated|BadDigest|CrcMismatch|checksum mismatch", re.IGNORECASE),
    ),
    (400, "badName", re.compile(r"object name|disallowed unicode|object id", re.IGNORECASE)),
    (403, "accountDisabled", re.compile(r"billing account", re.IGNORECASE)),
    (404, "noBucket", re.compile(r"bucket does not exist", re.IGNORECASE)),
    (412, "publicAccessPrevention", re.compile(r"public access prevention", re.IGNORECASE)),
)
_CLOCK = re.compile(r"\biat\b|\bexp\b|timeframe", re.IGNORECASE)


def code_of(status: int, reason: str, message: str) -> str:
    """The code of an error: Google's reason, or ours for what its message says."""
    if reason == "invalid_grant" and _CLOCK.search(message):
        return "clock"
    codes = (code for at, code, pattern in _CODES_BY_MESSAGE if at == status and pattern.search(message))
    return next(codes, reason)


def _precondition_error(failure: RequestFailure, context: ErrorContext) -> Row | StorageError:
    if context.key:
        return failures.precondition_error(failure, context)
    return Row(
        Kind.CHANGED, "Someone else changed the settings of “{container}” at the same time.", "Try again."
    )


_VERBS = {
    "read": ("read from", "Storage Object Viewer"),
    "stat": ("read from", "Storage Object Viewer"),
    "write": ("write to", "Storage Object User"),
    "copy": ("copy within", "Storage Object User"),
    "list": ("list", "Storage Object Viewer"),
    "delete": ("delete from", "Storage Object User"),
    "create bucket": ("create", "Storage Admin on the project"),
    "versions": ("list the older versions in", "Storage Object Viewer"),
    "restore": ("write to", "Storage Object User"),
    "tier": ("write to", "Storage Object User"),
    "settings": ("read the settings of", "Storage Legacy Bucket Reader"),
    "visibility": ("see who may read objects in", "Storage Object Admin"),
    "set visibility": ("change who may read objects in", "Storage Object Admin"),
    "change settings": ("change the settings of", "Storage Admin"),
    "authenticate": ("list", "Storage Object Viewer"),
}


_BUCKET_MISSING = Row(
    Kind.NOT_FOUND, "There is no bucket “{container}”.", "Check the bucket's name, or create the bucket."
)
ERRORS = ErrorTable[RequestFailure, ErrorContext](
    speaks="Google Cloud Storage",
    coded_statuses=(403, 404, 405),
    verbs=_VERBS,
    container_missing=_BUCKET_MISSING,
    rules={
        "authError": Row(
            Kind.BAD_CREDENTIALS,
            "Google does not accept the sign-in of “{who}”.",
            "Check that the service account is enabled and its key is still listed under Keys.",
        ),
        "invalid_grant": Row(
            Kind.BAD_CREDENTIALS,
            "Google does not accept this key of “{who}”.",
            "It may have been deleted or disabled. Check IAM & Admin, Service accounts, Keys.",
        ),
        "clock": Row(
            Kind.BAD_CREDENTIALS,
            "Google rejects the sign-in of “{who}” because its time is wrong.",
            "Check the clock of this machine.",
        ),
        "broken_key": Row(
            Kind.BAD_CREDENTIALS,
            "The private key of “{who}” cannot be read.",
            "Paste the whole JSON file again, unchanged.",
        ),
        "no_identity": Row(
            Kind.BAD_CREDENTIALS,
            "This machine has no Google identity.",
            "Give the VM or pod a service account, set GOOGLE_APPLICATION_CREDENTIALS, or paste a key.",
        ),
        "identity_refused": Row(
            Kind.BAD_CREDENTIALS,
            "Google issued no token for the identity of this machine.",
            "Check that its service account is enabled and may use Cloud Storage.",
        ),
        "rateLimitExceeded": Row(
            Kind.THROTTLED,
            "Google is throttling requests.",
            "Use fewer workers, or try later; one object can be replaced about once a second.",
        ),
        "unavailable": Row(Kind.THROTTLED, "{host} is overloaded.", "Try again in a moment."),
        "retentionPolicyNotMet": Row(
            Kind.DENIED,
            "“{key}” is protected by a retention policy.",
            "Wait until its retention ends, or change the policy.",
        ),
        "objectUnderActiveHold": Row(Kind.DENIED, "“{key}” is on hold.", "Release the hold in the console."),
        "accountDisabled": Row(
            Kind.DENIED,
            "The billing account of the project is disabled.",
            "Check Billing in the Google Cloud console.",
        ),
        "userProjectMissing": Row(
            Kind.DENIED,
            "The bucket “{container}” charges the requester, which Stowage does not support.",
            "Turn off “Requester pays” on the bucket.",
        ),
        "vpcServiceControls": Row(
            Kind.DENIED,
            "VPC Service Controls of the project block this machine.",
            "Add it to an access level of the perimeter.",
        ),
        "uniformAccess": Row(
            Kind.UNSUPPORTED,
            "The bucket “{container}” has uniform access: its objects have no permissions of their own.",
            "Under Permissions of the bucket, make all of it public (allUsers) or switch it to fine-grained "
            "access.",
        ),
        "publicAccessPrevention": Row(
            Kind.DENIED,
            "Public access prevention keeps the bucket “{container}” private.",
            "Turn it off under Permissions of the bucket, if the organization allows it.",
        ),
        "upload_gone": Row(Kind.UNREACHABLE, "{host} discarded the upload of “{key}”.", "Try again."),
        "tooLarge": Row(Kind.TOO_LARGE, "“{key}” is larger than Google Cloud Storage accepts."),
        "project": Row(
            Kind.UNSUPPORTED,
            "A new bucket needs a project, and this sign-in names none.",
            "Fill in “Project of a new bucket” under Advanced.",
        ),
        "conflict": Row(
            Kind.CONFLICT,
            "The bucket “{container}” already exists, in another project.",
            "Bucket names are unique across all of Google Cloud. Choose another.",
        ),
        "damaged": DAMAGED,
        "badName": Row(Kind.INVALID_KEY, "Google Cloud Storage cannot store the key “{key}”."),
        "noBucket": _BUCKET_MISSING,
        403: Row(
            Kind.DENIED,
            "“{who}” may not {verb} the bucket “{container}”.",
            "Give it the role {permission}, under Permissions of the bucket.",
        ),
        404: lambda failure, context: _BUCKET_MISSING if context.operation == "write" else None,
        412: _precondition_error,
    },
    aliases={
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
        304: 412,
        401: "authError",
        410: "upload_gone",
        413: "tooLarge",
        429: "rateLimitExceeded",
        503: "unavailable",
    },
)

translate = ERRORS.translate
