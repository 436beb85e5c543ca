"""The base error: what went wrong, with what, why, and what to do about it.

Nothing here knows HTTP; the one kind-to-status table lives in ``dashboard.web.errors``.
"""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """The kinds of errors. Storage drivers use the first group, the console the second."""

    NOT_FOUND = "not_found"
    DENIED = "denied"
    BAD_CREDENTIALS = "bad_credentials"
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    THROTTLED = "throttled"
    FULL = "full"
    TOO_LARGE = "too_large"
    CONFLICT = "conflict"
    CHANGED = "changed"
    UNSUPPORTED = "unsupported"
    INVALID_KEY = "invalid_key"
    DAMAGED = "damaged"

    INVALID = "invalid"
    OVER_LIMIT = "over_limit"
    WRONG_TYPE = "wrong_type"
    REFUSED = "refused"
    LOCKED = "locked"
    FORBIDDEN = "forbidden"
    GONE = "gone"
    SEALED = "sealed"
    INTERNAL = "internal"


RETRYABLE = frozenset(
    {Kind.UNREACHABLE, Kind.TIMEOUT, Kind.THROTTLED, Kind.CHANGED, Kind.DAMAGED, Kind.LOCKED}
)


class StowageError(Exception):
    """An error with a message for people and fields for programs.

    Parameters
    ----------
    kind: the kind of error.
    reason: one sentence for people; never holds a secret or a vendor's raw message.
    operation: the operation that failed, such as ``read`` or ``list``.
    subject: the key, backend or field concerned.
    remedy: what to do next, as a sentence; empty if there is no useful advice.
    retryable: whether the same call may succeed later; by default decided by the kind.

    The vendor's exception is chained as ``__cause__`` and never shown.
    """

    def __init__(
        self,
        kind: Kind,
        reason: str,
        *,
        operation: str = "",
        subject: str = "",
        remedy: str = "",
        retryable: bool | None = None,
    ) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason
        self.operation = operation
        self.subject = subject
        self.remedy = remedy
        self.retryable = kind in RETRYABLE if retryable is None else retryable

    def __str__(self) -> str:
        return self.reason

    def as_dict(self) -> dict[str, str | bool]:
        """The one JSON shape of an error."""
        return {
            "kind": self.kind.value,
            "reason": self.reason,
            "operation": self.operation,
            "subject": self.subject,
            "remedy": self.remedy,
            "retryable": self.retryable,
        }


class TooMany(StowageError):
    """A limit on concurrency or rate is exceeded. ``retry_after``: seconds until it is worth trying again."""

    def __init__(self, reason: str, *, operation: str, remedy: str, retry_after: float) -> None:
        super().__init__(Kind.THROTTLED, reason, operation=operation, remedy=remedy)
        self.retry_after = retry_after


class InvalidInput(StowageError):
    """User input cannot be used; ``subject`` names the field."""

    def __init__(self, field: str, reason: str, *, remedy: str = "") -> None:
        super().__init__(Kind.INVALID, reason, subject=field, remedy=remedy)


def lower_first(sentence: str) -> str:
    """Make a sentence fit after a colon."""
    return sentence[:1].lower() + sentence[1:]
