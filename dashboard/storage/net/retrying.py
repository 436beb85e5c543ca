"""Requests that are made again: how often, with which pauses, and the pages of a listing among them."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import TypeVar

from dashboard.errors import Kind
from dashboard.storage.errors import Damaged, Exists, StorageError
from dashboard.storage.net.parsing import Pages, Unreadable

T = TypeVar("T")

_most_attempts: ContextVar[int | None] = ContextVar("most_attempts", default=None)


@contextmanager
def few_attempts(most: int) -> Iterator[None]:
    """While in here, on this thread, a request is made at most so many times: for callers that come again
    themselves, because their patience and a driver's would multiply."""
    token = _most_attempts.set(most)
    try:
        yield
    finally:
        _most_attempts.reset(token)


def at_most(attempts: int) -> int:
    """So many attempts, or as few as ``few_attempts`` allows."""
    return min(attempts, _most_attempts.get() or attempts)


def patiently(call: Callable[[], T], attempts: int) -> T:
    """Its result; it is called again, so many times in all, while the connection breaks or the server is
    busy. For calls that may be repeated. Under ``few_attempts`` fewer times."""
    attempts = at_most(attempts)
    for attempt in range(1, attempts + 1):
        try:
            return call()
        except Exists as error:
            error.perhaps_ours = attempt > 1
            raise
        except StorageError as error:
            # A silent server has used up a long timeout already: the caller decides about another one.
            if not error.retryable or error.kind not in (Kind.UNREACHABLE, Kind.THROTTLED):
                raise
            if attempt == attempts:
                raise
        pause(attempt)
    raise AssertionError("unreachable")


def read_patiently(
    ask: Callable[[], bytes], read: Callable[[bytes], T], attempts: int, body: bytes | None = None
) -> T:
    """What ``read`` makes of a document; it is asked for again, so many times in all, while ``read`` raises
    ``Unreadable`` or only half of it comes. ``body`` is the first one, where it is here already."""
    for attempt in range(1, at_most(attempts)):
        try:
            return read(ask() if body is None else body)
        except (Unreadable, Damaged):
            body = None
        pause(attempt)
    return read(ask() if body is None else body)


def rows_of(
    ask: Callable[[str], bytes],
    read: Callable[[bytes], tuple[Sequence[T], str]],
    mark: Callable[[T], tuple[str, str]],
    failed: Callable[[Unreadable, bool], StorageError],
    attempts: int,
) -> Iterator[T]:
    """Every row of a listing. ``ask`` brings the page that a token names, the first one for an empty token;
    ``read`` tells its rows and the next token, empty on the last page, and raises ``Unreadable`` for what
    does not say so plainly; then the page is asked for again. ``mark`` tells a row's key, and beside it what
    tells the row from all others. ``failed`` makes the error, and is told whether the page was the first."""
    pages, token = Pages(), ""
    while True:
        try:
            rows, after = read_patiently(partial(ask, token), read, attempts)
            marks = [mark(row) for row in rows]
            pages.take([key for key, _ in marks], after, first="\0".join(marks[0]) if marks else "")
        except Unreadable as error:
            raise failed(error, not token) from error
        yield from rows
        if not after:
            return
        token = after


def pause(attempt: int) -> None:
    """Wait before the next try, longer after each, at most two seconds."""
    time.sleep(min(2.0, 0.1 * 2**attempt) * (0.5 + random.random() / 2))  # noqa: S311 - jitter
