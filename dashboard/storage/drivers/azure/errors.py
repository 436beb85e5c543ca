"""From Azure's error codes to a kind, a sentence and a next step.

Codes: https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes
"""

from __future__ import annotations

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
from dashboard.storage.net.ranges import PastEnd
from dashboard.storage.net.troubles import wire_error


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed request in neutral words. ``status`` is 0 when no answer came; then ``trouble`` says why."""

    status: int = 0
    code: str = ""
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Scene:
    """What was being done to what, for the sentences."""

    operation: str
    key: str
    container: str
    account: str
    host: str

    @property
    def subject(self) -> str:
        """The key, or the container where there is none."""
        return self.key or self.container


_VERBS = {
    "read": ("read from", "Read"),
    "stat": ("read from", "Read"),
    "write": ("write to", "Create and Write"),
    "copy": ("copy within", "Read and Write"),
    "list": ("list", "List"),
    "delete": ("delete from", "Delete"),
    "tags": ("read and write the tags of", "Tags"),
    "tier": ("write to", "Write"),
    "settings": ("look at the account's settings for", "Read, on the service"),
    "change settings": ("change the account's settings for", "Write, on the service"),
    "create bucket": ("create", "Create, on the service"),
    "authenticate": ("list", "List"),
}

_ROWS: dict[str, tuple[Kind, str, str]] = {
    "AuthenticationFailed": (
        Kind.BAD_CREDENTIALS,
        "“{account}” does not accept this key or SAS token.",
        "Copy it again. A SAS token may have expired; the clock of this machine must be right too.",
    ),
    "KeyBasedAuthenticationNotPermitted": (
        Kind.DENIED,
        "The account “{account}” does not allow sign-in with a key.",
        "Use a SAS token, or allow “storage account key access” in the account's configuration.",
    ),
    "AccountIsDisabled": (Kind.DENIED, "The account “{account}” is disabled.", "Look at it in the portal."),
    "AuthorizationSourceIPMismatch": (
        Kind.DENIED,
        "The SAS token may not be used from this machine's address.",
        "Make one that allows it.",
    ),
    "AuthorizationProtocolMismatch": (
        Kind.DENIED,
        "The SAS token may only be used over https.",
        "Write the endpoint with https://.",
    ),
    "ServerBusy": (Kind.THROTTLED, "{host} asks to slow down.", "Use fewer workers, or try later."),
    "OperationTimedOut": (Kind.TIMEOUT, "{host} took too long.", "Try again in a moment."),
    "BlobArchived": (
        Kind.DENIED,
        "“{key}” is archived and must be rehydrated before it can be read.",
        "Change its access tier to Hot or Cool and wait, then try again.",
    ),
    "BlobImmutableDueToPolicy": (
        Kind.DENIED,
        "“{key}” is protected by an immutability policy.",
        "Wait until the policy ends, or change it.",
    ),
    "LeaseIdMissing": (
        Kind.CONFLICT,
        "Somebody holds a lease on “{key}”.",
        "Break the lease, or wait until it ends.",
    ),
    "ContainerBeingDeleted": (
        Kind.THROTTLED,
        "The container “{container}” is just being deleted.",
        "Wait a minute, then try again.",
    ),
    "ContainerAlreadyExists": (Kind.CONFLICT, "The container “{container}” is there already.", ""),
    "InvalidBlockList": (Kind.CHANGED, "Somebody else was writing “{key}”.", "Try again."),
    "BlobTypeMismatch": (
        Kind.CONFLICT,
        "“{key}” is there as another type of blob and cannot be replaced.",
        "Delete it first.",
    ),
    "Md5Mismatch": (Kind.DAMAGED, "“{key}” was damaged on its way to {host}.", "Try again."),
    "RequestBodyTooLarge": (Kind.TOO_LARGE, "“{key}” is larger than {host} takes at once.", ""),
    "InsufficientStorage": (Kind.FULL, "The account “{account}” has no room left.", "Make room."),
    "AccessTierNotSupported": (
        Kind.UNSUPPORTED,
        "The account “{account}” does not know this access tier.",
        "Change the access tier under Advanced.",
    ),
}
_SAME_AS = {
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
}
_BY_STATUS = {
    401: "AuthenticationFailed",
    413: "RequestBodyTooLarge",
    429: "ServerBusy",
    503: "ServerBusy",
    507: "InsufficientStorage",
}
_IMPOSSIBLE = frozenset({"InvalidUri", "InvalidResourceName", "OutOfRangeInput", "BlobNameTooLong"})
_TAKEN = frozenset({"BlobAlreadyExists", "UnauthorizedBlobOverwrite"})


def translate(failure: Failure, scene: Scene) -> StorageError:
    """The error to raise for a failed request."""
    if not failure.status:
        return _from_wire(failure, scene)
    if scene.operation == "authenticate" and 400 <= failure.status < 500 and not failure.code:
        # Azure always names its code: somebody else answered.
        return _from_wire(Failure(trouble="unreadable"), scene)
    code = _SAME_AS.get(failure.code, failure.code)
    row = _ROWS.get(code) or (_ROWS.get(_BY_STATUS.get(failure.status, "")) if code not in _TAKEN else None)
    return _special(failure, scene) or (_error(row, scene) if row else _by_status(failure, scene))


def _special(failure: Failure, scene: Scene) -> StorageError | None:
    code, status = failure.code, failure.status
    error: StorageError | None = None
    if code in ("ContainerNotFound", "ContainerDisabled"):
        error = _no_container(scene)
    elif status == 404:
        error = NotFound(scene.key, operation=scene.operation) if scene.key else _no_container(scene)
    elif status == 416 and scene.key:
        error = PastEnd(scene.key)
    elif code in _TAKEN:
        error = Exists(scene.key)
    elif status == 412 and code in ("ConditionNotMet", "SourceConditionNotMet", "TargetConditionNotMet", ""):
        taken = scene.operation == "write"
        error = Exists(scene.key) if taken else Changed(scene.key, operation=scene.operation)
    elif code in _IMPOSSIBLE and scene.key:
        error = InvalidKey(scene.key, f"{scene.host} cannot hold the key “{scene.key}”.")
    return error


def _by_status(failure: Failure, scene: Scene) -> StorageError:
    if failure.status == 403:
        verb, permission = _VERBS[scene.operation]
        return StorageError(
            Kind.DENIED,
            f"The sign-in is right but may not {verb} the container “{scene.container}”.",
            operation=scene.operation,
            subject=scene.subject,
            remedy=f"Use a SAS token with the permission {permission}, or look at the account's firewall.",
        )
    if failure.status >= 500:
        return StorageError(
            Kind.UNREACHABLE,
            f"{scene.host} failed inside (status {failure.status}).",
            operation=scene.operation,
            subject=scene.subject,
            remedy="Try again in a moment.",
        )
    if 300 <= failure.status < 400:
        return _from_wire(Failure(trouble="redirect"), scene)
    said = f" ({failure.code})" if failure.code.isalnum() and len(failure.code) <= 60 else ""
    error = Unsupported(
        scene.operation, f"{scene.host} refused the request with status {failure.status}{said}."
    )
    error.subject = scene.subject
    return error


def _no_container(scene: Scene) -> PlaceMissing:
    return PlaceMissing(
        scene.container,
        f"There is no container “{scene.container}” in the account “{scene.account}”.",
        operation=scene.operation,
        remedy="Check the container's name, or create the container.",
    )


def _from_wire(failure: Failure, scene: Scene) -> StorageError:
    error = wire_error(
        failure.trouble,
        host=scene.host,
        operation=scene.operation,
        key=scene.key,
        place=scene.container,
        speaks="Azure Blob Storage",
    )
    if failure.trouble == "dns" and scene.host.startswith(f"{scene.account}."):
        error.remedy = "Check the name of the storage account."
    return error


def _error(row: tuple[Kind, str, str], scene: Scene) -> StorageError:
    kind, reason, remedy = row
    reason = reason.format(key=scene.key, container=scene.container, account=scene.account, host=scene.host)
    if kind is Kind.DAMAGED:
        return Damaged(scene.key, reason, operation=scene.operation)
    if kind is Kind.UNSUPPORTED:
        error: StorageError = Unsupported(scene.operation, reason)
        error.subject, error.remedy = scene.subject, remedy
        return error
    return StorageError(kind, reason, operation=scene.operation, subject=scene.subject, remedy=remedy)
