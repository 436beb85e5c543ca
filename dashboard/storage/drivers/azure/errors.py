"""The errors of Azure Blob Storage: kind, reason and remedy of each.

Codes: https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes
"""

from __future__ import annotations

from dataclasses import dataclass

from dashboard.errors import Kind
from dashboard.storage.errors import Row, StorageError
from dashboard.storage.net import failures
from dashboard.storage.net.failures import (
    BAD_KEY,
    DAMAGED,
    SLOW_DOWN,
    ErrorTable,
    RequestFailure,
    exists_error,
)


@dataclass(frozen=True, slots=True)
class ErrorContext(failures.ErrorContext):
    """The place is the container."""

    account: str


_VERBS = {
    "read": ("read from", "Read"),
    "stat": ("read from", "Read"),
    "write": ("write to", "Create and Write"),
    "copy": ("copy within", "Read and Write"),
    "list": ("list", "List"),
    "delete": ("delete from", "Delete"),
    "tags": ("read and write the tags of", "Tags"),
    "tier": ("write to", "Write"),
    "settings": ("read the account's settings for", "Read, on the service"),
    "change settings": ("change the account's settings for", "Write, on the service"),
    "create bucket": ("create", "Create, on the service"),
    "authenticate": ("list", "List"),
}


_CONTAINER_MISSING = Row(
    Kind.NOT_FOUND,
    "There is no container “{container}” in the account “{account}”.",
    "Check the container's name, or create the container.",
)
ERRORS = ErrorTable[RequestFailure, ErrorContext](
    speaks="Azure Blob Storage",
    verbs=_VERBS,
    container_missing=_CONTAINER_MISSING,
    rules={
        "AuthenticationFailed": Row(
            Kind.BAD_CREDENTIALS,
            "“{account}” does not accept this key or SAS token.",
            "Copy it again. A SAS token may have expired. Check the clock of this machine, too.",
        ),
        "KeyBasedAuthenticationNotPermitted": Row(
            Kind.DENIED,
            "The account “{account}” does not allow sign-in with a key.",
            "Use a SAS token, or allow “storage account key access” in the account's configuration.",
        ),
        "AccountIsDisabled": Row(
            Kind.DENIED, "The account “{account}” is disabled.", "Check the account in the Azure portal."
        ),
        "AuthorizationSourceIPMismatch": Row(
            Kind.DENIED,
            "The SAS token does not allow requests from this machine's IP address.",
            "Create a token that allows it.",
        ),
        "AuthorizationProtocolMismatch": Row(
            Kind.DENIED,
            "The SAS token only allows HTTPS.",
            "Enter an endpoint that begins with https://.",
        ),
        "ServerBusy": SLOW_DOWN,
        "OperationTimedOut": Row(Kind.TIMEOUT, "{host} took too long.", "Try again in a moment."),
        "BlobArchived": Row(
            Kind.DENIED,
            "“{key}” is archived and must be rehydrated before it can be read.",
            "Change its access tier to Hot or Cool and wait, then try again.",
        ),
        "BlobImmutableDueToPolicy": Row(
            Kind.DENIED,
            "“{key}” is protected by an immutability policy.",
            "Wait until the policy ends, or change it.",
        ),
        "LeaseIdMissing": Row(
            Kind.CONFLICT,
            "Another client holds a lease on “{key}”.",
            "Break the lease, or wait until it ends.",
        ),
        "ContainerBeingDeleted": Row(
            Kind.THROTTLED,
            "The container “{container}” is being deleted.",
            "Wait a minute, then try again.",
        ),
        "ContainerAlreadyExists": Row(Kind.CONFLICT, "The container “{container}” already exists."),
        "InvalidBlockList": Row(Kind.CHANGED, "Another client wrote “{key}” at the same time.", "Try again."),
        "BlobTypeMismatch": Row(
            Kind.CONFLICT,
            "“{key}” exists as another type of blob and cannot be replaced.",
            "Delete it first.",
        ),
        "Md5Mismatch": DAMAGED,
        "RequestBodyTooLarge": Row(Kind.TOO_LARGE, "“{key}” is larger than {host} accepts in one request."),
        "InsufficientStorage": Row(
            Kind.FULL, "The account “{account}” is full.", "Delete objects that are no longer needed."
        ),
        "AccessTierNotSupported": Row(
            Kind.UNSUPPORTED,
            "The account “{account}” does not support this access tier.",
            "Change the access tier under Advanced.",
        ),
        "ContainerNotFound": _CONTAINER_MISSING,
        "BlobAlreadyExists": exists_error,
        "InvalidUri": BAD_KEY,
        403: Row(
            Kind.DENIED,
            "The sign-in is right but may not {verb} the container “{container}”.",
            "Use a SAS token with the permission {permission}, or check the account's firewall.",
        ),
    },
    aliases={
        "InvalidAuthenticationInfo": "AuthenticationFailed",
        "NoAuthenticationInformation": "AuthenticationFailed",
        "AccountUnderMaintenance": "ServerBusy",
        "TooManyRequests": "ServerBusy",
        "BlobBeingRehydrated": "BlobArchived",
        "SnapshotsPresent": "BlobImmutableDueToPolicy",
        "LeaseIdMismatchWithBlobOperation": "LeaseIdMissing",
        "InvalidBlobType": "BlobTypeMismatch",
        "InvalidMd5": "Md5Mismatch",
        "AccessTierNotSupportedForBlobType": "AccessTierNotSupported",
        "InvalidBlobTier": "AccessTierNotSupported",
        "ContainerDisabled": "ContainerNotFound",
        "UnauthorizedBlobOverwrite": "BlobAlreadyExists",
        "InvalidResourceName": "InvalidUri",
        "OutOfRangeInput": "InvalidUri",
        "BlobNameTooLong": "InvalidUri",
        401: "AuthenticationFailed",
        413: "RequestBodyTooLarge",
        429: "ServerBusy",
        503: "ServerBusy",
        507: "InsufficientStorage",
    },
)


def translate(failure: RequestFailure, context: ErrorContext) -> StorageError:
    """The error to raise for a failed request."""
    error = ERRORS.translate(failure, context)
    if failure.transport_code == "dns" and context.host.startswith(f"{context.account}."):
        error.remedy = "Check the name of the storage account."
    return error
