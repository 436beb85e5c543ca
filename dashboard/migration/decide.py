"""What to do with one object, decided from its two listing entries alone."""

from __future__ import annotations

import re
from collections.abc import Callable

from dashboard.migration.ledger import ANYTHING, Planned, Reason
from dashboard.migration.reasons import (
    AGE_UNKNOWN,
    ALREADY_EXISTS,
    IMPOSSIBLE_SIZE,
    NOT_NEWER,
    SAME,
    SAME_SIZE,
    reason_for,
)
from dashboard.migration.types import MAX_OBJECT_BYTES, Action, OnConflict, Spec, Verify
from dashboard.storage.errors import InvalidKey
from dashboard.storage.types import Entry, ObjectInfo

_MD5 = re.compile(r"[0-9a-f]{32}\Z", re.IGNORECASE)


def decide(entry: Entry, found: Entry | None, spec: Spec, check_key: Callable[[str], None]) -> Planned:
    """Plan one source object; ``found`` is what the destination has under its key."""
    if not 0 <= entry.size <= MAX_OBJECT_BYTES:
        return Planned(entry.key, 0, Action.FAIL, entry.modified, entry.etag, IMPOSSIBLE_SIZE)
    try:
        check_key(entry.key)
    except InvalidKey as error:
        return _planned(entry, Action.FAIL, reason_for(error, entry.key))
    if found is None:
        return _planned(entry, Action.COPY)
    action, reason = _decide_existing(entry, found, spec)
    return Planned(entry.key, entry.size, action, entry.modified, entry.etag, reason, fingerprint(found))


def fingerprint(found: Entry) -> str:
    """Describe the object that the plan found at the destination, for :func:`matches_fingerprint`."""
    return f"{found.size} {found.modified or ''} {found.etag or ''}"


def matches_fingerprint(fingerprint: str, found: ObjectInfo) -> bool:
    """Whether this is the object that the plan found, as far as a listing shows. Every object matches
    ``ANYTHING``; none matches the empty string, which means that the plan found nothing."""
    if fingerprint == ANYTHING or not fingerprint:
        return fingerprint == ANYTHING
    size, modified, etag = fingerprint.split(" ", 2)
    if int(size) != found.size:
        return False
    if etag and found.etag:
        return etag == found.etag
    return not modified or found.modified is None or same_time(float(modified), found.modified)


def same_time(listed: float, reported: float) -> bool:
    """Whether a listed and a reported time agree, in seconds since the epoch: either may be in whole seconds,
    a listing in minutes."""
    if listed % 60 == 0 and 0 <= reported - listed < 60:
        return True
    return abs(listed - reported) < (1.0 if listed.is_integer() or reported.is_integer() else 0.001)


def _decide_existing(entry: Entry, found: Entry, spec: Spec) -> tuple[Action, Reason | None]:
    match spec.on_conflict:
        case OnConflict.SKIP_SAME:
            return _unless_identical(entry, found, spec, Action.REPLACE)
        case OnConflict.KEEP_BOTH:
            # Objects that may be the same are compared first: nobody wants the same photo twice.
            return _keep_both(entry, found)
        case OnConflict.NEWER:
            return _if_newer(entry, found)
        case OnConflict.OVERWRITE:
            return Action.REPLACE, None
        case OnConflict.FAIL:
            return Action.FAIL, ALREADY_EXISTS


def _unless_identical(
    entry: Entry, found: Entry, spec: Spec, otherwise: Action
) -> tuple[Action, Reason | None]:
    if entry.size != found.size:
        return otherwise, None
    known = same_checksum(entry.etag, found.etag)
    if known is not None:
        return (Action.SKIP, SAME) if known else (otherwise, None)
    if spec.verify is Verify.SIZE and _is_not_older(found, entry):
        return Action.SKIP, SAME_SIZE
    return Action.COMPARE, None


def _keep_both(entry: Entry, found: Entry) -> tuple[Action, Reason | None]:
    if entry.size == found.size and same_checksum(entry.etag, found.etag):
        return Action.SKIP, SAME
    return Action.KEEP_BOTH, None


def _if_newer(entry: Entry, found: Entry) -> tuple[Action, Reason | None]:
    if entry.modified is None or found.modified is None:
        return Action.FAIL, AGE_UNKNOWN
    return (Action.REPLACE, None) if entry.modified > found.modified else (Action.SKIP, NOT_NEWER)


def same_checksum(one: str | None, other: str | None) -> bool | None:
    """Whether two ETags that are both plain MD5 sums agree; None when they cannot be compared."""
    if one is None or other is None or not _MD5.match(one):
        return None
    if one == other:
        return True
    return one.lower() == other.lower() if _MD5.match(other) else None


def _is_not_older(found: Entry, entry: Entry) -> bool:
    return found.modified is not None and entry.modified is not None and found.modified >= entry.modified


def _planned(entry: Entry, action: Action, reason: Reason | None = None) -> Planned:
    return Planned(entry.key, entry.size, action, entry.modified, entry.etag, reason)
