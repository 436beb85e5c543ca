"""Retries: how many, how long between them, and those of the pages of a listing."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar, Token
from functools import partial
from typing import TypeVar

from dashboard.errors import Kind
from dashboard.storage.errors import Damaged, Exists, StorageError
from dashboard.storage.net.parsing import MalformedResponse, PaginationGuard

T = TypeVar("T")

_max_attempts: ContextVar[int | None] = ContextVar("max_attempts", default=None)


# Entered for each object, where a generator costs four times as much.
class _LimitedAttempts:
    __slots__ = ("_maximum", "_token")

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum

    def __enter__(self) -> None:
        self._token: Token[int | None] = _max_attempts.set(self._maximum)

    def __exit__(self, *_: object) -> None:
        _max_attempts.reset(self._token)


def limit_attempts(maximum: int) -> AbstractContextManager[None]:
    """Inside this context, on this thread, make each request at most ``maximum`` times. For callers that
    retry themselves, because their attempts and a driver's would multiply."""
    return _LimitedAttempts(maximum)


def allowed_attempts(attempts: int) -> int:
    """``attempts``, or fewer if :func:`limit_attempts` says so."""
    return min(attempts, _max_attempts.get() or attempts)


def retry(call: Callable[[], T], attempts: int) -> T:
    """Return the result of ``call``, made up to ``attempts`` times while the server is unreachable or
    throttling. For idempotent calls. Respects :func:`limit_attempts`."""
    attempts = allowed_attempts(attempts)
    for attempt in range(1, attempts + 1):
        try:
            return call()
        except Exists as error:
            error.perhaps_ours = attempt > 1
            raise
        except StorageError as error:
            # A timeout has taken long enough: the caller decides about another attempt.
            if not error.retryable or error.kind not in (Kind.UNREACHABLE, Kind.THROTTLED):
                raise
            if attempt == attempts:
                raise
        backoff(attempt)
    raise AssertionError("unreachable")


def retry_parsing(
    fetch: Callable[[], bytes], parse: Callable[[bytes], T], attempts: int, body: bytes | None = None
) -> T:
    """Return what ``parse`` returns for a document, fetched up to ``attempts`` times while it is malformed or
    incomplete. ``body`` is the first document if it has been fetched already."""
    for attempt in range(1, allowed_attempts(attempts)):
        try:
            return parse(fetch() if body is None else body)
        except (MalformedResponse, Damaged):
            body = None
        backoff(attempt)
    return parse(fetch() if body is None else body)


def paginate(
    fetch: Callable[[str], bytes],
    parse: Callable[[bytes], tuple[Sequence[T], str]],
    identify: Callable[[T], tuple[str, str]],
    to_error: Callable[[MalformedResponse, bool], StorageError],
    attempts: int,
) -> Iterator[T]:
    """Yield every row of a listing. ``fetch`` returns the page of a token, the first one for an empty token.
    ``parse`` returns its rows and the next token, empty on the last page; if it raises ``MalformedResponse``,
    the page is fetched again. ``identify`` returns a row's key and an identifier unique to the row.
    ``to_error`` makes the error; its second argument is whether the page was the first."""
    pages, token = PaginationGuard(), ""
    while True:
        try:
            rows, after = retry_parsing(partial(fetch, token), parse, attempts)
            identities = [identify(row) for row in rows]
            pages.check_page(
                [key for key, _ in identities], after, first="\0".join(identities[0]) if identities else ""
            )
        except MalformedResponse as error:
            raise to_error(error, not token) from error
        yield from rows
        if not after:
            return
        token = after


def backoff(attempt: int) -> None:
    """Wait before the next attempt: exponentially longer, with jitter, at most two seconds."""
    time.sleep(min(2.0, 0.1 * 2**attempt) * (0.5 + random.random() / 2))  # noqa: S311 - jitter
