"""Errors of S3, each with its kind, reason and remedy.

Codes: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html.
"""

from __future__ import annotations

from dataclasses import dataclass

from dashboard.errors import Kind
from dashboard.storage.drivers.s3.key_rules import is_path_safe
from dashboard.storage.errors import OtherKey, Row, StorageError, Unsupported
from dashboard.storage.net import failures
from dashboard.storage.net.failures import BAD_KEY, DAMAGED, SLOW_DOWN, ErrorTable


@dataclass(frozen=True, slots=True)
class RequestFailure(failures.RequestFailure):
    """``region``: the one that the server expects. ``sse_error``: see :func:`classify_sse_error`."""

    region: str = ""
    sse_error: str = ""


@dataclass(frozen=True, slots=True)
class ErrorContext(failures.ErrorContext):
    """The place is the bucket."""

    region: str
    customer_key: bool = False
    """Whether the customer's key was sent."""


class NotConfigured(StorageError):
    """The bucket has no such setting. Never leaves the driver."""


_VERBS = {
    "read": ("read from", "s3:GetObject"),
    "stat": ("read from", "s3:GetObject"),
    "write": ("write to", "s3:PutObject"),
    "copy": ("copy within", "s3:GetObject and s3:PutObject"),
    "list": ("list", "s3:ListBucket"),
    "delete": ("delete from", "s3:DeleteObject"),
    "sweep": ("abort incomplete uploads in", "s3:ListBucketMultipartUploads and s3:AbortMultipartUpload"),
    "create bucket": ("create", "s3:CreateBucket"),
    "visibility": ("read permissions in", "s3:GetObjectAcl"),
    "set visibility": ("change permissions in", "s3:PutObjectAcl"),
    "versions": ("list versions in", "s3:ListBucketVersions and s3:GetBucketVersioning"),
    "restore": ("restore versions in", "s3:GetObjectVersion and s3:PutObject"),
    "tags": ("tag objects in", "s3:GetObjectTagging and s3:PutObjectTagging"),
    "tier": ("copy within", "s3:GetObject and s3:PutObject"),
    "list parts": ("list the parts of an upload to", "s3:ListMultipartUploadParts"),
    "look at CORS": ("read the CORS rules of", "s3:GetBucketCORS"),
    "change CORS": ("change the CORS rules of", "s3:PutBucketCORS"),
    "look at lifecycle": ("read the lifecycle rules of", "s3:GetLifecycleConfiguration"),
    "change lifecycle": ("change the lifecycle rules of", "s3:PutLifecycleConfiguration"),
    "authenticate": ("sign in to", "s3:ListBucket"),
}


_READS = frozenset({"read", "stat", "copy", "restore", "tier"})
_WRONG_REGION = frozenset(
    {
        "PermanentRedirect",
        "AuthorizationHeaderMalformed",
        "IllegalLocationConstraintException",
        "TemporaryRedirect",
    }
)


def _not_configured(failure: RequestFailure, context: ErrorContext) -> StorageError:
    return NotConfigured(Kind.NOT_FOUND, "There is no such setting.", operation=context.operation)


def _access_denied(failure: RequestFailure, context: ErrorContext) -> Row:
    remedy = "Add {permission} to what the key may do on “{container}”."
    if context.customer_key and context.operation not in _READS:
        # https://docs.aws.amazon.com/AmazonS3/latest/userguide/blocking-unblocking-s3-c-encryption-gpb.html
        remedy += " On AWS also allow SSE-C in the bucket's properties, under Default encryption."
    return Row(Kind.DENIED, "The key is right but may not {verb} this bucket.", remedy)


_NO_BUCKET = Row(
    Kind.NOT_FOUND,
    "There is no bucket “{container}” on {host}.",
    "Check the bucket's name and the endpoint, or create the bucket.",
)
ERRORS = ErrorTable[RequestFailure, ErrorContext](
    speaks="S3",
    redirect="Enter the endpoint the provider names for this bucket's region.",
    verbs=_VERBS,
    container_missing=_NO_BUCKET,
    rules={
        "InvalidAccessKeyId": Row(
            Kind.BAD_CREDENTIALS,
            "{host} does not know this access key ID.",
            "Copy the access key ID again and check that the key has not been deleted.",
        ),
        "SignatureDoesNotMatch": Row(
            Kind.BAD_CREDENTIALS,
            "The secret access key is wrong.",
            "Copy the secret again; it belongs to exactly this access key ID.",
        ),
        "ExpiredToken": Row(
            Kind.BAD_CREDENTIALS,
            "The session token has expired.",
            "Enter fresh temporary credentials, or a permanent key.",
        ),
        "InvalidToken": Row(
            Kind.BAD_CREDENTIALS,
            "The session token is not valid.",
            "Copy the session token again.",
        ),
        "Unauthorized": Row(
            Kind.BAD_CREDENTIALS,
            "{host} does not accept these credentials.",
            "Copy the access key ID and the secret again.",
        ),
        "AccountProblem": Row(
            Kind.DENIED,
            "There is a problem with the account at the provider.",
            "Sign in to the provider; often a bill is unpaid.",
        ),
        "RequestTimeTooSkewed": Row(
            Kind.BAD_CREDENTIALS,
            "This machine's clock and the server's differ too much.",
            "Set this machine's clock, ideally by NTP.",
        ),
        "SlowDown": SLOW_DOWN,
        "InvalidStorageClass": Row(
            Kind.UNSUPPORTED,
            "{host} does not know the storage class.",
            "Change or clear the storage class under Advanced.",
        ),
        "QuotaExceeded": Row(Kind.FULL, "The bucket's quota is used up.", "Raise the quota or make room."),
        "InsufficientStorage": Row(Kind.FULL, "{host} has no room left.", "Make room or add storage."),
        "EntityTooLarge": Row(
            Kind.TOO_LARGE,
            "The object is larger than {host} allows.",
            "Ask the provider for the largest object size.",
        ),
        "BucketAlreadyExists": Row(
            Kind.CONFLICT,
            "A bucket “{container}” already exists and belongs to another account.",
            "Choose another name.",
        ),
        "BucketAlreadyOwnedByYou": Row(Kind.CONFLICT, "The bucket “{container}” is already yours."),
        "InvalidBucketName": Row(
            Kind.UNSUPPORTED,
            "{host} does not accept “{container}” as a bucket name.",
            "Use 3 to 63 lowercase letters, digits and hyphens.",
        ),
        "InvalidObjectState": Row(
            Kind.DENIED,
            "“{key}” is archived and must be restored before it can be read.",
            "Restore it at the provider, then try again.",
        ),
        "AccessControlListNotSupported": Row(
            Kind.UNSUPPORTED,
            "The bucket “{container}” has its access control lists disabled.",
            "Open it with a bucket policy, or allow ACLs under Object Ownership.",
        ),
        "InvalidTag": Row(Kind.UNSUPPORTED, "{host} cannot store these tags.", "Use fewer and simpler tags."),
        "NotImplemented": Row(Kind.UNSUPPORTED, "{host} cannot do this."),
        "MethodNotAllowed": Row(Kind.UNSUPPORTED, "{host} does not allow this."),
        "ConditionalRequestConflict": Row(Kind.CHANGED, "Another client was writing “{key}”.", "Try again."),
        "BadDigest": DAMAGED,
        "NoSuchBucket": _NO_BUCKET,
        "NoSuchCORSConfiguration": _not_configured,
        "InvalidURI": BAD_KEY,
        400: lambda failure, context: None if is_path_safe(context.key) else BAD_KEY,
        403: _access_denied,
    },
    aliases={
        "InvalidDigest": "BadDigest",
        "XAmzContentSHA256Mismatch": "BadDigest",
        "IncompleteBody": "BadDigest",
        "ServiceUnavailable": "SlowDown",
        "TooManyRequests": "SlowDown",
        "RequestLimitExceeded": "SlowDown",
        "Throttling": "SlowDown",
        "ThrottlingException": "SlowDown",
        "AuthFailure": "Unauthorized",
        "InvalidSecurity": "Unauthorized",
        "TokenRefreshRequired": "ExpiredToken",
        "XMinioStorageFull": "InsufficientStorage",
        "XMinioAdminBucketQuotaExceeded": "QuotaExceeded",
        "StorageQuotaExceeded": "QuotaExceeded",
        "CapExceeded": "QuotaExceeded",
        "StorageCapExceeded": "QuotaExceeded",
        "NotSignedUp": "AccountProblem",
        "NoSuchLifecycleConfiguration": "NoSuchCORSConfiguration",
        "NoSuchTagSet": "NoSuchCORSConfiguration",
        "KeyTooLongError": "InvalidURI",
        "InvalidObjectName": "InvalidURI",
        "XMinioInvalidObjectName": "InvalidURI",
        "PreconditionFailed": 412,
        401: "Unauthorized",
        405: "MethodNotAllowed",
        413: "EntityTooLarge",
        429: "SlowDown",
        501: "NotImplemented",
        503: "SlowDown",
        507: "InsufficientStorage",
    },
)


def translate(failure: RequestFailure, context: ErrorContext) -> StorageError:
    """Return the error to raise for a failed request."""
    elsewhere = failure.status in (301, 307, 400) and failure.region not in ("", context.region)
    if failure.code in _WRONG_REGION or elsewhere:
        return _wrong_region_error(failure, context)
    if failure.sse_error and failure.status in (400, 403) and (error := _sse_error(failure, context)):
        return error
    return ERRORS.translate(failure, context)


def classify_sse_error(text: str) -> str:
    """Return what a server's message says about a key for server-side encryption: ``tls`` if it requires TLS
    for it, ``key`` for any other problem, else nothing. The error codes are too general to tell."""
    plainly = text.lower().replace("-", " ")
    if "server side encryption" not in plainly:
        return ""
    return "tls" if "secure connection" in plainly else "key"


def _sse_error(failure: RequestFailure, context: ErrorContext) -> StorageError | None:
    """Return the error of a server that requires or refuses the customer's key. Why a key does not decrypt
    an object, which servers report in too many ways, is up to ``CustomerKey``."""
    if not context.customer_key:
        if context.operation not in _READS:
            return None
        return OtherKey(
            context.key,
            f"“{context.key}” is encrypted with a customer key (SSE-C), and this backend has none.",
            operation=context.operation,
            remedy="Set up a backend with SSE-C and the key it was stored with. No other key can decrypt it.",
        )
    if failure.sse_error == "tls":
        error = Unsupported(
            context.operation, f"{context.host} accepts a key of your own (SSE-C) only over TLS."
        )
        error.remedy = "Use an endpoint that begins with https://."
        return error
    if context.operation in _READS:
        return None
    error = Unsupported(context.operation, f"{context.host} does not accept a key of your own (SSE-C).")
    error.remedy = "Ask the provider whether it supports SSE-C, or choose another server-side encryption."
    return error


def _wrong_region_error(failure: RequestFailure, context: ErrorContext) -> StorageError:
    if failure.region and failure.region != context.region:
        reason = f"The bucket is in region “{failure.region}”, not in “{context.region}”."
        remedy = f"Set the region to “{failure.region}”"
        remedy += (
            "; an endpoint that names the region changes too." if context.region in context.host else "."
        )
    else:
        reason = f"“{context.region}” is not the bucket's region."
        remedy = "Look up the bucket's region and endpoint at the provider."
    return StorageError(
        Kind.BAD_CREDENTIALS,
        reason,
        operation=context.operation,
        subject=context.container,
        remedy=remedy,
        retryable=False,
    )
