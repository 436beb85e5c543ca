"""Deleting many objects with few requests, and one object under a condition that the server checks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from itertools import islice

from dashboard.errors import Kind
from dashboard.storage.errors import Changed, ContainerMissing, InvalidKey, NotFound, StorageError
from dashboard.storage.net.retries import backoff

_FATAL_KINDS = frozenset({Kind.BAD_CREDENTIALS, Kind.SEALED})
_RETRYABLE_KINDS = frozenset({Kind.THROTTLED, Kind.UNREACHABLE})
_ATTEMPTS = 4


def delete_in_batches(
    keys: Iterable[str],
    *,
    batch_size: int,
    check: Callable[[str], None],
    delete_batch: Callable[[list[str]], Mapping[str, StorageError]],
    delete_one: Callable[[str], None],
    fits: Callable[[str], bool] = lambda _: True,
) -> dict[str, StorageError]:
    """The keys that are still there and why, see ``DeletesMany``.

    ``delete_batch`` sends at most ``batch_size`` keys in one request and returns those that still exist, with
    the error; ``Unsupported`` from it means that the server has no such request. ``delete_one`` deletes one
    key, in that case and for keys that do not ``fit`` into such a request. ``check`` raises ``InvalidKey``.
    """
    failed: dict[str, StorageError] = {}
    left = iter(keys)
    while batch := list(islice(left, batch_size)):
        valid = []
        for key in batch:
            try:
                check(key)
            except InvalidKey as error:
                failed[key] = error
            else:
                valid.append(key)
        fitting = list(dict.fromkeys(key for key in valid if fits(key)))
        failed |= _with_retries(fitting, delete_batch, delete_one) if fitting else {}
        failed |= delete_one_by_one((key for key in valid if not fits(key)), delete_one)
    return failed


def delete_one_by_one(keys: Iterable[str], delete_one: Callable[[str], None]) -> dict[str, StorageError]:
    """Delete each key by itself and return those that still exist, with the error; missing ones count as
    deleted."""
    failed = {}
    for key in keys:
        try:
            delete_one(key)
        except NotFound:
            continue
        except StorageError as error:
            if _is_fatal(error):
                raise
            failed[key] = error
    return failed


def _with_retries(
    keys: list[str],
    delete_batch: Callable[[list[str]], Mapping[str, StorageError]],
    delete_one: Callable[[str], None],
) -> dict[str, StorageError]:
    """Send the keys that a busy server deferred again, a few times."""
    failed: dict[str, StorageError] = {}
    left = keys
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            errors = delete_batch(left)
        except StorageError as error:
            if _is_fatal(error):
                raise
            if error.kind is Kind.UNSUPPORTED:
                return failed | delete_one_by_one(left, delete_one)
            return failed | dict.fromkeys(left, error)
        failed |= errors
        left = [key for key, error in errors.items() if error.kind in _RETRYABLE_KINDS]
        if not left:
            break
        if attempt < _ATTEMPTS:
            for key in left:
                del failed[key]
            backoff(attempt)
    return failed


def _is_fatal(error: StorageError) -> bool:
    """Whether the error concerns every key."""
    return error.kind in _FATAL_KINDS or isinstance(error, ContainerMissing)


def delete_unchanged(delete: Callable[[], None], check_exists: Callable[[], object]) -> None:
    """Call ``delete``, which deletes an object only in a certain version; a missing one counts as deleted.
    For a missing object servers say that the condition is not met, so ``check_exists`` tells the two
    apart."""
    with suppress(NotFound):
        try:
            delete()
        except Changed:
            check_exists()
            raise
