"""One table from everything that can go wrong with S3 to a kind, a sentence and a next step.

Codes: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html. What the vendor's client
says travels only as the chained cause: its text may hold signatures.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from dashboard.errors import Kind
from dashboard.storage.drivers.s3.keys import plain
from dashboard.storage.errors import (
    Changed,
    Damaged,
    Exists,
    InvalidKey,
    NotFound,
    OtherKey,
    PlaceMissing,
    StorageError,
    Unsupported,
)
from dashboard.storage.net.ranges import PastEnd
from dashboard.storage.net.troubles import wire_error


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed request in neutral words, whichever client made it.

    ``status`` is 0 when no answer came; then ``trouble`` names what happened on the wire.
    ``region`` is the one the server said it wants. ``sealed``: see :func:`about_encryption`.
    """

    status: int = 0
    code: str = ""
    region: str = ""
    trouble: str = ""
    sealed: str = ""


@dataclass(frozen=True, slots=True)
class Scene:
    """What was being done to what, for the sentences."""

    operation: str
    key: str
    bucket: str
    host: str
    region: str
    own_key: bool = False
    """Whether the customer's key was sent."""


_ACTIONS = {
    "read": ("read from", "s3:GetObject"),
    "stat": ("read from", "s3:GetObject"),
    "write": ("write to", "s3:PutObject"),
    "copy": ("copy within", "s3:GetObject and s3:PutObject"),
    "list": ("list", "s3:ListBucket"),
    "delete": ("delete from", "s3:DeleteObject"),
    "sweep": ("tidy up unfinished uploads in", "s3:ListBucketMultipartUploads and s3:AbortMultipartUpload"),
    "create bucket": ("create", "s3:CreateBucket"),
    "visibility": ("look at permissions in", "s3:GetObjectAcl"),
    "set visibility": ("change permissions in", "s3:PutObjectAcl"),
    "versions": ("list versions in", "s3:ListBucketVersions and s3:GetBucketVersioning"),
    "restore": ("restore versions in", "s3:GetObjectVersion and s3:PutObject"),
    "tags": ("tag objects in", "s3:GetObjectTagging and s3:PutObjectTagging"),
    "tier": ("copy within", "s3:GetObject and s3:PutObject"),
    "look at CORS": ("look at the CORS rules of", "s3:GetBucketCORS"),
    "change CORS": ("change the CORS rules of", "s3:PutBucketCORS"),
    "look at lifecycle": ("look at the lifecycle rules of", "s3:GetLifecycleConfiguration"),
    "change lifecycle": ("change the lifecycle rules of", "s3:PutLifecycleConfiguration"),
    "authenticate": ("sign in to", "s3:ListBucket"),
}

_CREDENTIALS = "Copy the access key ID and the secret again."
_CODES: dict[str, tuple[Kind, str, str]] = {
    "InvalidAccessKeyId": (
        Kind.BAD_CREDENTIALS,
        "{host} does not know this access key ID.",
        "Copy the access key ID again and check that the key has not been deleted.",
    ),
    "SignatureDoesNotMatch": (
        Kind.BAD_CREDENTIALS,
        "The secret access key is wrong.",
        "Copy the secret again; it belongs to exactly this access key ID.",
    ),
    "ExpiredToken": (
        Kind.BAD_CREDENTIALS,
        "The session token has expired.",
        "Enter fresh temporary credentials, or a key that lasts.",
    ),
    "InvalidToken": (
        Kind.BAD_CREDENTIALS,
        "The session token is not valid.",
        "Copy the session token again.",
    ),
    "Unauthorized": (Kind.BAD_CREDENTIALS, "{host} does not accept these credentials.", _CREDENTIALS),
    "AuthFailure": (Kind.BAD_CREDENTIALS, "{host} does not accept these credentials.", _CREDENTIALS),
    "InvalidSecurity": (Kind.BAD_CREDENTIALS, "{host} does not accept these credentials.", _CREDENTIALS),
    "AccountProblem": (
        Kind.DENIED,
        "There is a problem with the account at the provider.",
        "Sign in to the provider; often a bill is unpaid.",
    ),
    "RequestTimeTooSkewed": (
        Kind.BAD_CREDENTIALS,
        "This machine's clock and the server's differ too much.",
        "Set this machine's clock, ideally by NTP.",
    ),
    "SlowDown": (Kind.THROTTLED, "{host} asks to slow down.", "Use fewer workers, or try later."),
    "InvalidStorageClass": (
        Kind.UNSUPPORTED,
        "{host} does not know the storage class.",
        "Change or clear the storage class under Advanced.",
    ),
    "QuotaExceeded": (Kind.FULL, "The bucket's quota is used up.", "Raise the quota or make room."),
    "InsufficientStorage": (Kind.FULL, "{host} has no room left.", "Make room or add storage."),
    "EntityTooLarge": (
        Kind.TOO_LARGE,
        "The object is larger than {host} allows.",
        "Ask the provider for the largest object size.",
    ),
    "BucketAlreadyExists": (
        Kind.CONFLICT,
        "A bucket “{bucket}” exists already and belongs to somebody else.",
        "Choose another name.",
    ),
    "BucketAlreadyOwnedByYou": (Kind.CONFLICT, "The bucket “{bucket}” is yours already.", ""),
    "InvalidBucketName": (
        Kind.UNSUPPORTED,
        "{host} does not accept “{bucket}” as a bucket name.",
        "Use 3 to 63 small letters, digits and hyphens.",
    ),
    "InvalidObjectState": (
        Kind.DENIED,
        "“{key}” is archived and must be restored before it can be read.",
        "Restore it at the provider, then try again.",
    ),
    "AccessControlListNotSupported": (
        Kind.UNSUPPORTED,
        "The bucket “{bucket}” has its access control lists switched off.",
        "Open it with a bucket policy, or allow ACLs under Object Ownership.",
    ),
    "InvalidTag": (Kind.UNSUPPORTED, "{host} cannot hold these tags.", "Use fewer and simpler tags."),
    "NotImplemented": (Kind.UNSUPPORTED, "{host} cannot do this.", ""),
    "MethodNotAllowed": (Kind.UNSUPPORTED, "{host} does not allow this.", ""),
    "ConditionalRequestConflict": (Kind.CHANGED, "Somebody else was writing “{key}”.", "Try again."),
    "BadDigest": (Kind.DAMAGED, "“{key}” was damaged on its way to {host}.", "Try again."),
}
_SAME_AS = {
    "InvalidDigest": "BadDigest",
    "XAmzContentSHA256Mismatch": "BadDigest",
    "IncompleteBody": "BadDigest",
    "ServiceUnavailable": "SlowDown",
    "TooManyRequests": "SlowDown",
    "RequestLimitExceeded": "SlowDown",
    "Throttling": "SlowDown",
    "ThrottlingException": "SlowDown",
    "TokenRefreshRequired": "ExpiredToken",
    "XMinioStorageFull": "InsufficientStorage",
    "XMinioAdminBucketQuotaExceeded": "QuotaExceeded",
    "StorageQuotaExceeded": "QuotaExceeded",
    "CapExceeded": "QuotaExceeded",
    "StorageCapExceeded": "QuotaExceeded",
    "NotSignedUp": "AccountProblem",
}
_BY_STATUS = {
    401: "Unauthorized",
    405: "MethodNotAllowed",
    413: "EntityTooLarge",
    429: "SlowDown",
    501: "NotImplemented",
    503: "SlowDown",
    507: "InsufficientStorage",
}
_WRONG_REGION = frozenset(
    {
        "PermanentRedirect",
        "AuthorizationHeaderMalformed",
        "IllegalLocationConstraintException",
        "TemporaryRedirect",
    }
)
_NOT_CONFIGURED = frozenset({"NoSuchCORSConfiguration", "NoSuchLifecycleConfiguration", "NoSuchTagSet"})
_IMPOSSIBLE_KEY = frozenset({"InvalidURI", "KeyTooLongError", "InvalidObjectName", "XMinioInvalidObjectName"})


class NothingConfigured(StorageError):
    """A setting was asked for that the bucket does not have. Never leaves the driver."""


def translate(failure: Failure, scene: Scene) -> StorageError:
    """The error to raise for a failed request."""
    if not failure.status:
        return _from_wire(failure, scene)
    if _foreign(failure, scene):
        return _from_wire(Failure(trouble="unreadable"), scene)
    return _special(failure, scene) or _by_code(failure, scene) or _by_status(failure, scene)


def _foreign(failure: Failure, scene: Scene) -> bool:
    """Whether a refusal while we sign in is none of S3's, which always names its code."""
    refused = 400 <= failure.status < 500 and failure.status != 429
    return scene.operation == "authenticate" and refused and not failure.code and not failure.region


def _by_code(failure: Failure, scene: Scene) -> StorageError | None:
    code = _SAME_AS.get(failure.code, failure.code)
    row = _CODES.get(code) or _CODES.get(_BY_STATUS.get(failure.status, ""))
    return _error(row, scene) if row else None


def _by_status(failure: Failure, scene: Scene) -> StorageError:
    if failure.status == 403:
        return _denied(scene)
    if failure.status >= 500:
        reason = f"{scene.host} failed inside (status {failure.status})."
        return StorageError(
            Kind.UNREACHABLE,
            reason,
            operation=scene.operation,
            subject=scene.key or scene.bucket,
            remedy="Try again in a moment.",
        )
    if failure.status == 400 and scene.key and not plain(scene.key):
        return _impossible(scene)
    if 300 <= failure.status < 400:
        return _from_wire(Failure(trouble="redirect"), scene)
    said = f" ({failure.code})" if re.fullmatch(r"[A-Za-z0-9.]{1,60}", failure.code) else ""
    refused = f"{scene.host} refused the request with status {failure.status}{said}."
    return StorageError(
        Kind.UNSUPPORTED, refused, operation=scene.operation, subject=scene.key or scene.bucket
    )


def _special(failure: Failure, scene: Scene) -> StorageError | None:
    """The answers that have their own class or need the scene."""
    code, status = failure.code, failure.status
    error: StorageError | None = None
    if code == "NoSuchBucket":
        error = _no_bucket(scene)
    elif code in _NOT_CONFIGURED:
        error = NothingConfigured(Kind.NOT_FOUND, "There is no such setting.", operation=scene.operation)
    elif code in _WRONG_REGION or (status in (301, 307, 400) and failure.region not in ("", scene.region)):
        error = _wrong_region(failure, scene)
    elif failure.sealed and status in (400, 403) and (sealed := _sealed(failure, scene)):
        error = sealed
    elif code in _IMPOSSIBLE_KEY:
        error = _impossible(scene)
    elif code == "AccessDenied" and status == 403:
        error = _denied(scene)
    elif status == 404:
        error = NotFound(scene.key, operation=scene.operation) if scene.key else _no_bucket(scene)
    elif status == 416 and scene.key:
        error = PastEnd(scene.key)
    elif status == 412 or code == "PreconditionFailed":
        error = _precondition(scene)
    return error


def about_encryption(text: str) -> str:
    """Whether a server's words are about keys for server-side encryption: ``key``, ``tls`` when it demands
    TLS for them, else nothing. Its codes for that are those of many other mistakes."""
    plainly = text.lower().replace("-", " ")
    if "server side encryption" not in plainly:
        return ""
    return "tls" if "secure connection" in plainly else "key"


_READS = frozenset({"read", "stat", "copy", "restore", "tier"})


def _sealed(failure: Failure, scene: Scene) -> StorageError | None:
    """What a server says that misses, refuses or does not need the customer's key. Why it does not open an
    object is asked elsewhere, since servers say that in too many ways."""
    if not scene.own_key:
        if scene.operation not in _READS:
            return None
        return OtherKey(
            scene.key,
            f"“{scene.key}” is encrypted with a customer's own key (SSE-C), and this backend has none.",
            operation=scene.operation,
            remedy="Set up a backend with SSE-C and the key it was stored with; nobody can read it without.",
        )
    if failure.sealed == "tls":
        error = Unsupported(scene.operation, f"{scene.host} takes a key of your own (SSE-C) only over TLS.")
        error.remedy = "Use an endpoint that begins with https://."
        return error
    if scene.operation in _READS:
        return None
    error = Unsupported(scene.operation, f"{scene.host} does not take a key of your own (SSE-C).")
    error.remedy = "Ask the provider whether SSE-C can be used, or choose another server-side encryption."
    return error


def _no_bucket(scene: Scene) -> PlaceMissing:
    return PlaceMissing(
        scene.bucket,
        f"There is no bucket “{scene.bucket}” on {scene.host}.",
        operation=scene.operation,
        remedy="Check the bucket's name and the endpoint, or create the bucket.",
    )


def _impossible(scene: Scene) -> InvalidKey:
    return InvalidKey(scene.key, f"{scene.host} cannot hold the key “{scene.key}”.")


def _precondition(scene: Scene) -> StorageError:
    if scene.operation == "write":
        return Exists(scene.key)
    return Changed(scene.key, operation=scene.operation)


def _wrong_region(failure: Failure, scene: Scene) -> StorageError:
    if failure.region and failure.region != scene.region:
        reason = f"The bucket is in region “{failure.region}”, not in “{scene.region}”."
        remedy = f"Set the region to “{failure.region}”"
        remedy += "; an endpoint that names the region changes too." if scene.region in scene.host else "."
    else:
        reason = f"“{scene.region}” is not the bucket's region."
        remedy = "Look up the bucket's region and endpoint at the provider."
    return StorageError(
        Kind.BAD_CREDENTIALS,
        reason,
        operation=scene.operation,
        subject=scene.bucket,
        remedy=remedy,
        retryable=False,
    )


def _denied(scene: Scene) -> StorageError:
    verb, action = _ACTIONS[scene.operation]
    remedy = f"Add {action} to what the key may do on “{scene.bucket}”."
    if scene.own_key and scene.operation not in _READS:
        # https://docs.aws.amazon.com/AmazonS3/latest/userguide/blocking-unblocking-s3-c-encryption-gpb.html
        remedy += " On AWS also allow SSE-C in the bucket's properties, under Default encryption."
    return StorageError(
        Kind.DENIED,
        f"The key is right but may not {verb} this bucket.",
        operation=scene.operation,
        subject=scene.key or scene.bucket,
        remedy=remedy,
    )


def _from_wire(failure: Failure, scene: Scene) -> StorageError:
    if failure.trouble == "region":
        return _wrong_region(failure, scene)
    return wire_error(
        failure.trouble,
        host=scene.host,
        operation=scene.operation,
        key=scene.key,
        place=scene.bucket,
        speaks="S3",
        redirect="Enter the endpoint the provider names for this bucket's region.",
    )


def _error(row: tuple[Kind, str, str], scene: Scene, *, retryable: bool | None = None) -> StorageError:
    kind, reason, remedy = row
    if kind is Kind.DAMAGED:
        return Damaged(scene.key, _filled(reason, scene), operation=scene.operation)
    if kind is Kind.UNSUPPORTED:
        error: StorageError = Unsupported(scene.operation, _filled(reason, scene))
        error.subject, error.remedy = scene.key or scene.bucket, remedy
        return error
    return StorageError(
        kind,
        _filled(reason, scene),
        operation=scene.operation,
        subject=scene.key or scene.bucket,
        remedy=remedy,
        retryable=retryable,
    )


def _filled(sentence: str, scene: Scene) -> str:
    return sentence.format(host=scene.host, bucket=scene.bucket, key=scene.key)
