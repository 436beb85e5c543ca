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
from dashboard.storage.net.parsing import MalformedResponse, PaginationGuard

T = TypeVar("T")

_most_attempts: ContextVar[int | None] = ContextVar("most_attempts", default=None)


@contextmanager
def limit_attempts(most: int) -> Iterator[None]:
    """While in here, on this thread, a request is made at most so many times: for callers that come again
    themselves, because their patience and a driver's would multiply."""
    token = _most_attempts.set(most)
    try:
        yield
    finally:
        _most_attempts.reset(token)


def allowed_attempts(attempts: int) -> int:
    """So many attempts, or as few as ``limit_attempts`` allows."""
    return min(attempts, _most_attempts.get() or attempts)


def retry(call: Callable[[], T], attempts: int) -> T:
    """Its result; it is called again, so many times in all, while the connection breaks or the server is
    busy. For calls that may be repeated. Under ``limit_attempts`` fewer times."""
    attempts = allowed_attempts(attempts)
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
        backoff(attempt)
    raise AssertionError("unreachable")


def retry_parsing(
    ask: Callable[[], bytes], read: Callable[[bytes], T], attempts: int, body: bytes | None = None
) -> T:
    """What ``read`` makes of a document; it is asked for again, so many times in all, while ``read`` raises
    ``MalformedResponse`` or only half of it comes. ``body`` is the first one, where it is here already."""
    for attempt in range(1, allowed_attempts(attempts)):
        try:
            return read(ask() if body is None else body)
        except (MalformedResponse, Damaged):
            body = None
        backoff(attempt)
    return read(ask() if body is None else body)


def paginate(
    ask: Callable[[str], bytes],
    read: Callable[[bytes], tuple[Sequence[T], str]],
    mark: Callable[[T], tuple[str, str]],
    failed: Callable[[MalformedResponse, bool], StorageError],
    attempts: int,
) -> Iterator[T]:
    """Yield every row of a listing. ``ask`` fetches the page of a token, the first one for an empty token.
    ``read`` parses its rows and the next token, empty on the last page; if it raises ``MalformedResponse``,
    the page is requested again. ``mark`` returns a row's key and an identifier unique to the row. ``failed``
    makes the error; its second argument is whether the page was the first."""
    pages, token = PaginationGuard(), ""
    while True:
        try:
            rows, after = retry_parsing(partial(ask, token), read, attempts)
            marks = [mark(row) for row in rows]
            pages.take([key for key, _ in marks], after, first="\0".join(marks[0]) if marks else "")
        except MalformedResponse as error:
            raise failed(error, not token) from error
        yield from rows
        if not after:
            return
        token = after


def backoff(attempt: int) -> None:
    """Wait before the next try, longer after each, at most two seconds."""
    time.sleep(min(2.0, 0.1 * 2**attempt) * (0.5 + random.random() / 2))  # noqa: S311 - jitter
