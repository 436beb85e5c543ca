"""Deleting: many objects with few requests, and one under a condition that the server compares."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from itertools import islice

from dashboard.errors import Kind
from dashboard.storage.errors import Changed, ContainerMissing, InvalidKey, NotFound, StorageError
from dashboard.storage.net.retrying import pause

_HOPELESS = frozenset({Kind.BAD_CREDENTIALS, Kind.SEALED})
_PASSING = frozenset({Kind.THROTTLED, Kind.UNREACHABLE})
_ROUNDS = 4


def delete_together(
    keys: Iterable[str],
    *,
    at_once: int,
    check: Callable[[str], None],
    together: Callable[[list[str]], Mapping[str, StorageError]],
    alone: Callable[[str], None],
    fits: Callable[[str], bool] = lambda _: True,
) -> dict[str, StorageError]:
    """The keys that are still there and why, see ``DeletesMany``.

    ``together`` sends at most ``at_once`` keys in one request and says which are still there; ``Unsupported``
    from it means that the server has no such request. ``alone`` deletes one key, for that case and for those
    that do not ``fit`` into such a request. ``check`` raises ``InvalidKey``.
    """
    failed: dict[str, StorageError] = {}
    left = iter(keys)
    while batch := list(islice(left, at_once)):
        valid = []
        for key in batch:
            try:
                check(key)
            except InvalidKey as error:
                failed[key] = error
            else:
                valid.append(key)
        fitting = list(dict.fromkeys(key for key in valid if fits(key)))
        failed |= _in_rounds(fitting, together, alone) if fitting else {}
        failed |= one_by_one((key for key in valid if not fits(key)), alone)
    return failed


def one_by_one(keys: Iterable[str], alone: Callable[[str], None]) -> dict[str, StorageError]:
    """The keys that are still there after each was deleted by itself; missing ones are success."""
    failed = {}
    for key in keys:
        try:
            alone(key)
        except NotFound:
            continue
        except StorageError as error:
            if _is_hopeless(error):
                raise
            failed[key] = error
    return failed


def _in_rounds(
    keys: list[str],
    together: Callable[[list[str]], Mapping[str, StorageError]],
    alone: Callable[[str], None],
) -> dict[str, StorageError]:
    """Those that a busy server put off are sent again, a few times."""
    failed: dict[str, StorageError] = {}
    left = keys
    for attempt in range(1, _ROUNDS + 1):
        try:
            told = together(left)
        except StorageError as error:
            if _is_hopeless(error):
                raise
            if error.kind is Kind.UNSUPPORTED:
                return failed | one_by_one(left, alone)
            return failed | dict.fromkeys(left, error)
        failed |= told
        left = [key for key, error in told.items() if error.kind in _PASSING]
        if not left:
            break
        if attempt < _ROUNDS:
            for key in left:
                del failed[key]
            pause(attempt)
    return failed


def _is_hopeless(error: StorageError) -> bool:
    """Whether it concerns every key."""
    return error.kind in _HOPELESS or isinstance(error, ContainerMissing)


def delete_unchanged(delete: Callable[[], None], look: Callable[[], object]) -> None:
    """``delete`` an object under the condition that it is still of some version; a missing one is success.
    Servers say of a missing one that the condition does not hold, so ``look`` tells the two apart."""
    with suppress(NotFound):
        try:
            delete()
        except Changed:
            look()
            raise
