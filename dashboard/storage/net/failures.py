"""From a failed request to the error that says so, for every driver on HTTP.

A driver keeps a table of what the codes and statuses of its server mean. What all of them share is here: what
a bare status means, the error for a request without an answer, and how a sentence is filled in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
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
    """A failed request in neutral words, whichever client made it."""

    status: int = 0
    """0 when no answer came; then ``transport_code`` says why."""
    code: str = ""
    """The server's own, or a driver's for what the server tells in its sentence only."""
    transport_code: str = ""
    """A name in ``TRANSPORT_ERRORS``."""
    host: str = ""
    """Where it was not the context's."""


@dataclass(frozen=True, slots=True)
class ErrorContext:
    """What was being done to what, for the sentences. Drivers add what theirs name."""

    operation: str
    key: str
    container: str
    """The bucket, container, store or folder."""
    host: str

    @property
    def subject(self) -> str:
        """The key, or the container where there is none."""
        return self.key or self.container


F = TypeVar("F", bound=RequestFailure)
S = TypeVar("S", bound=ErrorContext)


Rule = Row | Callable[[F, S], Row | StorageError | None]
"""What to make of a failure, or how to find out; None where another rule should say."""

REFUSED = Row(Kind.UNSUPPORTED, "{host} refused the request with status {status}{code}.")
FAILED = Row(Kind.UNREACHABLE, "{host} failed inside (status {status}).", "Try again in a moment.")
BAD_KEY = Row(Kind.INVALID_KEY, "{host} cannot hold the key “{key}”.")
DAMAGED = Row(Kind.DAMAGED, "“{key}” was damaged on its way to {host}.", "Try again.")
SLOW_DOWN = Row(Kind.THROTTLED, "{host} asks to slow down.", "Use fewer workers, or try later.")

_NONE = RequestFailure()
_ABOUT_A_KEY = (Kind.INVALID_KEY, Kind.DAMAGED)
_CODE = re.compile(r"[A-Za-z0-9._-]{1,60}")


def exists_error(failure: RequestFailure, context: ErrorContext) -> StorageError:
    """Something is there that a create-only write was not to replace."""
    return Exists(context.key)


def precondition_error(failure: RequestFailure, context: ErrorContext) -> StorageError:
    """A condition that was sent along does not hold."""
    return (
        Exists(context.key)
        if context.operation == "write"
        else Changed(context.key, operation=context.operation)
    )


def _past_end(failure: RequestFailure, context: ErrorContext) -> StorageError | None:
    return RangeNotSatisfiable(context.key) if context.key else None


_BY_STATUS: Mapping[str | int, Rule[RequestFailure, ErrorContext]] = {
    408: FAILED,
    412: precondition_error,
    416: _past_end,
    "5xx": FAILED,
}


@dataclass(frozen=True)
class ErrorTable(Generic[F, S]):
    """The errors of one driver. Thread-safe.

    A failure's rule is looked up by its code, then by its status, then by the hundred of its status, such as
    ``5xx``: first in ``rules``, then among those that hold everywhere.
    """

    speaks: str
    """What the server speaks, in its sentences."""
    container_missing: Row
    """Nothing at all is there; of kind ``NOT_FOUND``."""
    rules: Mapping[str | int, Rule[F, S]]
    aliases: Mapping[str | int, str | int] = field(default_factory=dict)
    """Codes and statuses that mean what another one does."""
    verbs: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """For each operation the words for it and for the permission it takes."""
    redirect: str = "Enter the address it leads to."
    """What to do about an answer that leads elsewhere."""
    coded_statuses: Container[int] = frozenset(range(400, 500)) - {429}
    """Statuses that this server explains with a code; without one, while signing in, another server spoke."""

    def translate(self, failure: F, context: S) -> StorageError:
        """The error to raise for a failed request."""
        if failure.host:
            context = replace(context, host=failure.host)
        if failure.transport_code:
            return self.transport_error(failure.transport_code, context)
        if context.operation == "authenticate" and not failure.code and failure.status in self.coded_statuses:
            return self.transport_error("unreadable", context)
        names = (failure.code, failure.status, f"{failure.status // 100}xx")
        for rules in (self.rules, _BY_STATUS):
            for name in names:
                if found := self._ruled(rules.get(self.aliases.get(name, name)), failure, context):
                    return found
        if failure.status in (404, 410):
            return self.missing_error(context)
        if 300 <= failure.status < 400:
            return self.transport_error("redirect", context)
        return self.from_row(REFUSED, context, failure)

    def missing_error(self, context: S) -> StorageError:
        """The object is not there, or the container, where the context has no object."""
        if context.key:
            return NotFound(context.key, operation=context.operation)
        return self.from_row(self.container_missing, context)

    def transport_error(self, code: str, context: S) -> StorageError:
        """The error for a request without a usable response; ``code`` is one of ``TRANSPORT_ERRORS``."""
        row = CUT_SHORT if code == "cut" and not context.key else TRANSPORT_ERRORS[code]
        return self.from_row(row, context)

    def from_row(self, row: Row, context: S, failure: RequestFailure = _NONE) -> StorageError:
        """The error that a row stands for. In its braces may stand every field of the context, ``subject``,
        ``status``, ``code`` (in brackets), and the operation's ``verb`` and ``permission``."""
        verb, permission = self.verbs.get(context.operation, ("use", ""))
        words: dict[str, Any] = {each.name: getattr(context, each.name) for each in fields(context)}
        words |= {
            "subject": context.subject,
            "status": failure.status,
            "verb": verb,
            "permission": permission,
        }
        words |= {"speaks": self.speaks, "redirect": self.redirect, "seconds": f"{CONNECT_SECONDS:.0f}"}
        words["code"] = f" ({failure.code})" if _CODE.fullmatch(failure.code) else ""
        reason, remedy = row.reason.format_map(words), row.remedy.format_map(words)
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
        """The error for a page of a listing that makes no sense; ``first`` where no other came before it."""
        if first and isinstance(error, WrongProtocol):
            return self.transport_error("unreadable", context)
        return StorageError(
            Kind.DAMAGED,
            f"{context.host} did not list everything: {error}.",
            operation=context.operation,
            subject=context.container,
            remedy="Try again; if it stays so, ask whoever runs the server.",
        )

    @contextmanager
    def translate_transport_errors(self, context: S) -> Iterator[None]:
        """Around requests: what goes wrong on the way raises its error."""
        try:
            yield
        except TransportError as error:
            raise self.transport_error(error.code, context) from error

    @contextmanager
    def translate_parse_errors(self, context: S) -> Iterator[None]:
        """Around looking into an answer: one that is not of the expected form raises its error."""
        try:
            yield
        except (ValueError, OverflowError, KeyError, TypeError, AttributeError) as error:
            raise self.transport_error("unreadable", context) from error

    def _ruled(self, rule: Rule[F, S] | None, failure: F, context: S) -> StorageError | None:
        found = rule(failure, context) if rule is not None and not isinstance(rule, Row) else rule
        if isinstance(found, Row):
            about_nothing = found.kind in _ABOUT_A_KEY and not context.key
            return None if about_nothing else self.from_row(found, context, failure)
        return found
