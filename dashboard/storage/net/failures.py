"""Translation of failed requests into errors, for every HTTP driver.

A driver has a table of what the codes and statuses of its server mean. This module has what they share:
the meaning of a bare status, the error for a request without a response, and how messages are filled in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Any, Generic, TypeVar

from dashboard.errors import Kind
from dashboard.storage.errors import (
    Changed,
    ContainerMissing,
    Damaged,
    Exists,
    InvalidKey,
    NotFound,
    Row,
    StorageError,
    Unsupported,
)
from dashboard.storage.net.connecting import CONNECT_SECONDS
from dashboard.storage.net.parsing import MalformedResponse, WrongProtocol
from dashboard.storage.net.ranges import RangeNotSatisfiable
from dashboard.storage.net.transport_errors import CUT_SHORT, TRANSPORT_ERRORS, TransportError


@dataclass(frozen=True, slots=True)
class RequestFailure:
    """A failed request, independent of the client that made it."""

    status: int = 0
    """0 without a response; then ``transport_code`` is the cause."""
    code: str = ""
    """The server's error code, or a driver's own for what the server says only in its message."""
    transport_code: str = ""
    """A key of ``TRANSPORT_ERRORS``."""
    host: str = ""
    """If it differs from the context's."""


@dataclass(frozen=True, slots=True)
class ErrorContext:
    """The operation that failed and its object, for error messages. Drivers add fields of their own."""

    operation: str
    key: str
    container: str
    """The bucket, container, store or folder."""
    host: str

    @property
    def subject(self) -> str:
        """The key, or the container if there is no key."""
        return self.key or self.container


F = TypeVar("F", bound=RequestFailure)
S = TypeVar("S", bound=ErrorContext)


Rule = Row | Callable[[F, S], Row | StorageError | None]
"""The error for a failure, or a function that finds it; None leaves the failure to the next rule."""

REFUSED = Row(Kind.UNSUPPORTED, "{host} refused the request with status {response}.")
FAILED = Row(Kind.UNREACHABLE, "{host} had an internal error (status {status}).", "Try again in a moment.")
BAD_KEY = Row(Kind.INVALID_KEY, "{host} cannot hold the key “{key}”.")
DAMAGED = Row(Kind.DAMAGED, "“{key}” was damaged on its way to {host}.", "Try again.")
SLOW_DOWN = Row(Kind.THROTTLED, "{host} is throttling requests.", "Use fewer workers, or try later.")

_NO_FAILURE = RequestFailure()
_KEY_KINDS = (Kind.INVALID_KEY, Kind.DAMAGED)
_CODE = re.compile(r"[A-Za-z0-9._-]{1,60}")


def exists_error(failure: RequestFailure, context: ErrorContext) -> StorageError:
    """A create-only write found an existing object."""
    return Exists(context.key)


def precondition_error(failure: RequestFailure, context: ErrorContext) -> StorageError:
    """A precondition of the request failed."""
    if context.operation == "write":
        return Exists(context.key)
    return Changed(context.key, operation=context.operation)


def _range_error(failure: RequestFailure, context: ErrorContext) -> StorageError | None:
    return RangeNotSatisfiable(context.key) if context.key else None


_BY_STATUS: Mapping[str | int, Rule[RequestFailure, ErrorContext]] = {
    408: FAILED,
    412: precondition_error,
    416: _range_error,
    "5xx": FAILED,
}


@dataclass(frozen=True)
class ErrorTable(Generic[F, S]):
    """The errors of one driver. Thread-safe.

    The rule for a failure is looked up by its code, then its status, then its status class such as ``5xx``:
    first in ``rules``, then in the rules common to all drivers.
    """

    speaks: str
    """The name of the protocol, for messages."""
    container_missing: Row
    """The error for a missing container; of kind ``NOT_FOUND``."""
    rules: Mapping[str | int, Rule[F, S]]
    aliases: Mapping[str | int, str | int] = field(default_factory=dict)
    """Codes and statuses with the same meaning as another one."""
    verbs: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """For each operation, its verb in messages and the permission it needs."""
    redirect: str = "Enter the address it leads to."
    """The remedy for a redirect."""
    coded_statuses: Container[int] = frozenset(range(400, 500)) - {429}
    """Statuses that this server always sends with a code. Without one, while authenticating, the response
    comes from another server."""

    def translate(self, failure: F, context: S) -> StorageError:
        """Return the error to raise for a failed request."""
        if failure.host:
            context = replace(context, host=failure.host)
        if failure.transport_code:
            return self.transport_error(failure.transport_code, context)
        if context.operation == "authenticate" and not failure.code and failure.status in self.coded_statuses:
            return self.transport_error("unreadable", context)
        names = (failure.code, failure.status, f"{failure.status // 100}xx")
        for rules in (self.rules, _BY_STATUS):
            for name in names:
                if found := self._apply_rule(rules.get(self.aliases.get(name, name)), failure, context):
                    return found
        if failure.status in (404, 410):
            return self.missing_error(context)
        if 300 <= failure.status < 400:
            return self.transport_error("redirect", context)
        return self.from_row(REFUSED, context, failure)

    def missing_error(self, context: S) -> StorageError:
        """The error for a missing object, or for a missing container if the context has no key."""
        if context.key:
            return NotFound(context.key, operation=context.operation)
        return self.from_row(self.container_missing, context)

    def transport_error(self, code: str, context: S) -> StorageError:
        """The error for a request without a usable response; ``code`` is one of ``TRANSPORT_ERRORS``."""
        row = CUT_SHORT if code == "cut" and not context.key else TRANSPORT_ERRORS[code]
        return self.from_row(row, context)

    def from_row(self, row: Row, context: S, failure: RequestFailure = _NO_FAILURE) -> StorageError:
        """Build the error of a row. Its placeholders may be any field of the context, ``subject``,
        ``status``, ``code`` (in brackets), and the operation's ``verb`` and ``permission``."""
        verb, permission = self.verbs.get(context.operation, ("use", ""))
        values: dict[str, Any] = {item.name: getattr(context, item.name) for item in fields(context)}
        values |= {
            "subject": context.subject,
            "status": failure.status,
            "verb": verb,
            "permission": permission,
        }
        values |= {"speaks": self.speaks, "redirect": self.redirect, "seconds": f"{CONNECT_SECONDS:.0f}"}
        values["code"] = f" ({failure.code})" if _CODE.fullmatch(failure.code) else ""
        values["response"] = f"{failure.status}{values['code']}"
        reason, remedy = row.reason.format_map(values), row.remedy.format_map(values)
        if row.kind is Kind.NOT_FOUND:
            return ContainerMissing(context.container, reason, operation=context.operation, remedy=remedy)
        if row.kind is Kind.DAMAGED:
            error: StorageError = Damaged(context.key, reason, operation=context.operation)
        elif row.kind is Kind.INVALID_KEY:
            error = InvalidKey(context.key, reason)
        elif row.kind is Kind.UNSUPPORTED:
            error = Unsupported(context.operation, reason)
        else:
            error = StorageError(row.kind, reason, operation=context.operation, retryable=row.retryable)
        error.subject, error.remedy = context.subject, remedy
        return error

    def incomplete_listing_error(
        self, context: S, error: MalformedResponse, first: bool = False
    ) -> StorageError:
        """The error for an invalid page of a listing; ``first`` is whether it is the first page."""
        if first and isinstance(error, WrongProtocol):
            return self.transport_error("unreadable", context)
        return StorageError(
            Kind.DAMAGED,
            f"{context.host} did not list everything: {error}.",
            operation=context.operation,
            subject=context.container,
            remedy="Try again; if it still fails, contact the server's administrator.",
        )

    def translate_transport_errors(self, context: S) -> AbstractContextManager[None]:
        """Translate errors of requests inside this context."""
        return _TransportErrors(partial(self._raise_transport_error, context))

    def _raise_transport_error(self, context: S, error: TransportError) -> None:
        raise self.transport_error(error.code, context) from error

    @contextmanager
    def translate_parse_errors(self, context: S) -> Iterator[None]:
        """Translate errors of parsing a response inside this context."""
        try:
            yield
        except (ValueError, OverflowError, KeyError, TypeError, AttributeError) as error:
            raise self.transport_error("unreadable", context) from error

    def _apply_rule(self, rule: Rule[F, S] | None, failure: F, context: S) -> StorageError | None:
        found = rule(failure, context) if rule is not None and not isinstance(rule, Row) else rule
        if isinstance(found, Row):
            has_no_key = found.kind in _KEY_KINDS and not context.key
            return None if has_no_key else self.from_row(found, context, failure)
        return found


# Entered for each request, where a generator costs four times as much.
class _TransportErrors:
    __slots__ = ("_translate",)

    def __init__(self, translate: Callable[[TransportError], None]) -> None:
        self._translate = translate

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, TransportError):
            self._translate(error)
