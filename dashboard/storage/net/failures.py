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
from dashboard.storage.net.answers import Foreign, Unreadable
from dashboard.storage.net.connecting import CONNECT_SECONDS
from dashboard.storage.net.ranges import PastEnd
from dashboard.storage.net.troubles import CUT_SHORT, TROUBLES, Broken


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed request in neutral words, whichever client made it."""

    status: int = 0
    """0 when no answer came; then ``trouble`` says why."""
    code: str = ""
    """The server's own, or a driver's for what the server tells in its sentence only."""
    trouble: str = ""
    """A name in ``TROUBLES``."""
    host: str = ""
    """Where it was not the scene's."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What was being done to what, for the sentences. Drivers add what theirs name."""

    operation: str
    key: str
    place: str
    """The bucket, container, store or folder."""
    host: str

    @property
    def subject(self) -> str:
        """The key, or the place where there is none."""
        return self.key or self.place


F = TypeVar("F", bound=Failure)
S = TypeVar("S", bound=Scene)


Rule = Row | Callable[[F, S], Row | StorageError | None]
"""What to make of a failure, or how to find out; None where another rule should say."""

REFUSED = Row(Kind.UNSUPPORTED, "{host} refused the request with status {status}{code}.")
FAILED = Row(Kind.UNREACHABLE, "{host} failed inside (status {status}).", "Try again in a moment.")
BAD_KEY = Row(Kind.INVALID_KEY, "{host} cannot hold the key “{key}”.")
DAMAGED = Row(Kind.DAMAGED, "“{key}” was damaged on its way to {host}.", "Try again.")
SLOW_DOWN = Row(Kind.THROTTLED, "{host} asks to slow down.", "Use fewer workers, or try later.")

_NONE = Failure()
_ABOUT_A_KEY = (Kind.INVALID_KEY, Kind.DAMAGED)
_CODE = re.compile(r"[A-Za-z0-9._-]{1,60}")


def taken(failure: Failure, scene: Scene) -> StorageError:
    """Something is there that a create-only write was not to replace."""
    return Exists(scene.key)


def unmet(failure: Failure, scene: Scene) -> StorageError:
    """A condition that was sent along does not hold."""
    return Exists(scene.key) if scene.operation == "write" else Changed(scene.key, operation=scene.operation)


def _past_end(failure: Failure, scene: Scene) -> StorageError | None:
    return PastEnd(scene.key) if scene.key else None


_BY_STATUS: Mapping[str | int, Rule[Failure, Scene]] = {
    408: FAILED,
    412: unmet,
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
    no_place: Row
    """Nothing at all is there; of kind ``NOT_FOUND``."""
    rules: Mapping[str | int, Rule[F, S]]
    same_as: Mapping[str | int, str | int] = field(default_factory=dict)
    """Codes and statuses that mean what another one does."""
    verbs: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """For each operation the words for it and for the permission it takes."""
    redirect: str = "Enter the address it leads to."
    """What to do about an answer that leads elsewhere."""
    names_its_code: Container[int] = frozenset(range(400, 500)) - {429}
    """Statuses that this server explains with a code; without one, while signing in, another server spoke."""

    def translate(self, failure: F, scene: S) -> StorageError:
        """The error to raise for a failed request."""
        if failure.host:
            scene = replace(scene, host=failure.host)
        if failure.trouble:
            return self.trouble(failure.trouble, scene)
        if scene.operation == "authenticate" and not failure.code and failure.status in self.names_its_code:
            return self.trouble("unreadable", scene)
        names = (failure.code, failure.status, f"{failure.status // 100}xx")
        for rules in (self.rules, _BY_STATUS):
            for name in names:
                if found := self._ruled(rules.get(self.same_as.get(name, name)), failure, scene):
                    return found
        if failure.status in (404, 410):
            return self.missing(scene)
        if 300 <= failure.status < 400:
            return self.trouble("redirect", scene)
        return self.of(REFUSED, scene, failure)

    def missing(self, scene: S) -> StorageError:
        """The object is not there, or the place, where the scene has no object."""
        if scene.key:
            return NotFound(scene.key, operation=scene.operation)
        return self.of(self.no_place, scene)

    def trouble(self, name: str, scene: S) -> StorageError:
        """The error for a request that got no answer it could use; ``name`` is one in ``TROUBLES``."""
        row = CUT_SHORT if name == "cut" and not scene.key else TROUBLES[name]
        return self.of(row, scene)

    def of(self, row: Row, scene: S, failure: Failure = _NONE) -> StorageError:
        """The error that a row stands for. In its braces may stand every field of the scene, ``subject``,
        ``status``, ``code`` (in brackets), and the operation's ``verb`` and ``permission``."""
        verb, permission = self.verbs.get(scene.operation, ("use", ""))
        words: dict[str, Any] = {each.name: getattr(scene, each.name) for each in fields(scene)}
        words |= {"subject": scene.subject, "status": failure.status, "verb": verb, "permission": permission}
        words |= {"speaks": self.speaks, "redirect": self.redirect, "seconds": f"{CONNECT_SECONDS:.0f}"}
        words["code"] = f" ({failure.code})" if _CODE.fullmatch(failure.code) else ""
        reason, remedy = row.reason.format_map(words), row.remedy.format_map(words)
        if row.kind is Kind.NOT_FOUND:
            return ContainerMissing(scene.place, reason, operation=scene.operation, remedy=remedy)
        if row.kind is Kind.DAMAGED:
            error: StorageError = Damaged(scene.key, reason, operation=scene.operation)
        elif row.kind is Kind.INVALID_KEY:
            error = InvalidKey(scene.key, reason)
        elif row.kind is Kind.UNSUPPORTED:
            error = Unsupported(scene.operation, reason)
        else:
            error = StorageError(row.kind, reason, operation=scene.operation, retryable=row.retryable)
        error.subject, error.remedy = scene.subject, remedy
        return error

    def unlisted(self, scene: S, error: Unreadable, first: bool = False) -> StorageError:
        """The error for a page of a listing that makes no sense; ``first`` where no other came before it."""
        if first and isinstance(error, Foreign):
            return self.trouble("unreadable", scene)
        return StorageError(
            Kind.DAMAGED,
            f"{scene.host} did not list everything: {error}.",
            operation=scene.operation,
            subject=scene.place,
            remedy="Try again; if it stays so, ask whoever runs the server.",
        )

    @contextmanager
    def asking(self, scene: S) -> Iterator[None]:
        """Around requests: what goes wrong on the way raises its error."""
        try:
            yield
        except Broken as error:
            raise self.trouble(error.trouble, scene) from error

    @contextmanager
    def reading(self, scene: S) -> Iterator[None]:
        """Around looking into an answer: one that is not of the expected form raises its error."""
        try:
            yield
        except (ValueError, OverflowError, KeyError, TypeError, AttributeError) as error:
            raise self.trouble("unreadable", scene) from error

    def _ruled(self, rule: Rule[F, S] | None, failure: F, scene: S) -> StorageError | None:
        found = rule(failure, scene) if rule is not None and not isinstance(rule, Row) else rule
        if isinstance(found, Row):
            about_nothing = found.kind in _ABOUT_A_KEY and not scene.key
            return None if about_nothing else self.of(found, scene, failure)
        return found
