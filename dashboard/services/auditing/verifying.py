"""Checks the chain of the audit log from its first row to its last, and says what is wrong with it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from sqlalchemy import Row
from sqlalchemy.orm import Session

from dashboard.models.console import AuditEntry, Setting
from dashboard.services.auditing.canonical import ROWS, Head, parse_detail, row_mac, same_code, sign
from dashboard.services.auditing.chain import AuditChain, Chained, load_head
from dashboard.services.auditing.newest_seen import Seen
from dashboard.services.database import Database

BATCH = 2000
MAX_PROBLEMS = 50
"""Problems that are described; all are counted."""
LAST_RESULT = "audit_verification"


class ProblemKind(StrEnum):
    """What is wrong."""

    ALTERED = "altered"
    MISSING = "missing"
    FOREIGN = "foreign"
    CUT = "cut"
    OLDER = "older"
    HEAD = "head"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, in a sentence; ``first`` and ``last`` are numbers of rows."""

    kind: ProblemKind
    first: int
    last: int
    sentence: str


@dataclass(frozen=True, slots=True)
class Verification:
    """What a check of the chain found. ``whole``: nobody changed, removed, added or reordered a row.

    ``later``: rows that were chained after they were written, so that nothing vouches for the time before.
    ``pending``: rows that have no code yet. ``head``: number and code of the newest row. ``removed``: rows
    that retention removed before the first. ``reason``: why nothing could be checked.
    """

    at: float
    entries: int = 0
    whole: bool = False
    problems: tuple[Problem, ...] = ()
    problem_count: int = 0
    later: int = 0
    pending: int = 0
    removed: int = 0
    head_id: int = 0
    head_mac: str = ""
    reason: str = ""

    @property
    def sentence(self) -> str:
        """The result in a sentence."""
        if self.reason:
            return self.reason
        count = f"{self.entries:,} {'entry' if self.entries == 1 else 'entries'}"
        if self.whole:
            return f"The chain of {count} is whole."
        places = "one place" if self.problem_count == 1 else f"{self.problem_count:,} places"
        return f"The chain of {count} is broken in {places}."


SEALED = (
    "The chain cannot be checked: this console is sealed. Put its key file back, or run: "
    "stowage keys restore."
)


def verify(
    database: Database, chain: AuditChain, *, stop: Callable[[], bool] = lambda: False
) -> Verification | None:
    """Check every row. Reads in small transactions, so that others can write meanwhile. Returns None if
    ``stop`` ended it early."""
    with database.read() as session:
        key = chain.key(session)
        if key is None:
            return Verification(time.time(), reason=SEALED)
        head, whole = load_head(session, key)
    check = _Check(key, chain.newest.read(key), head)
    while not stop():
        with database.read() as session:
            head, whole = load_head(session, key)
            rows = session.execute(
                ROWS.where(AuditEntry.id > check.last_id).order_by(AuditEntry.id).limit(BATCH)
            ).all()
        for row in rows:
            check.row(row, head)
        if len(rows) < BATCH:
            return check.end(head, head_whole=whole)
    return None


@dataclass
class _Check:
    key: bytes
    seen: Seen | None
    begin: Head
    last_id: int = -(2**63)
    entries: int = 0
    later: int = 0
    pending: int = 0
    chained_id: int = field(init=False)
    chained_mac: str = field(init=False)
    problems: list[Problem] = field(default_factory=list)
    problem_count: int = 0
    replaced: bool = False

    def __post_init__(self) -> None:
        self.chained_id, self.chained_mac = self.begin.start_id, self.begin.start_mac

    def row(self, row: Row[Any], head: Head) -> None:
        self.last_id = row.id
        self.entries += 1
        if row.mac == "" and row.id > head.last_id:
            self.pending += 1
            return
        if self.seen is not None and row.id == self.seen.entry_id and row.mac != self.seen.mac:
            self.replaced = True
        if not self._is_ours(row):
            linked = row.previous == self.chained_mac and row.id == self.chained_id + 1
            if linked and _is_code(row.mac):
                self._add(ProblemKind.ALTERED, row.id, row.id, f"Entry {row.id:,} was changed.")
                self.chained_id, self.chained_mac = row.id, row.mac
            else:
                sentence = f"Entry {row.id:,} was changed, or added by something other than this console."
                self._add(ProblemKind.FOREIGN, row.id, row.id, sentence)
                if _is_code(row.mac):
                    self.chained_id, self.chained_mac = row.id, row.mac
            return
        self.later += row.chained == Chained.LATER
        if row.chained == Chained.RESTARTED:
            sentence = f"Before entry {row.id:,} the end of the chain was missing or altered."
            self._add(ProblemKind.HEAD, row.id, row.id, sentence)
        elif row.previous not in (self.chained_mac, head.start_mac):
            self._add_gap(row)
        self.chained_id, self.chained_mac = row.id, row.mac

    def end(self, head: Head, *, head_whole: bool) -> Verification:
        seen = self.seen
        if not head_whole:
            self._add(ProblemKind.HEAD, 0, 0, "The record of the newest entry is missing or was altered.")
        if (head.last_id, head.last_mac) != (self.chained_id, self.chained_mac) and head_whole:
            self._add_cut(head)
        if seen is not None and (seen.entry_id > head.last_id or self.replaced):
            sentence = (
                f"This instance has written entry {seen.entry_id:,}, which this database does not have: an "
                "older copy was put back, or the end was cut off."
            )
            self._add(ProblemKind.OLDER, seen.entry_id, seen.entry_id, sentence)
        return Verification(
            time.time(),
            self.entries,
            self.problem_count == 0,
            tuple(self.problems),
            self.problem_count,
            self.later,
            self.pending,
            head.removed,
            head.last_id,
            head.last_mac,
        )

    def _is_ours(self, row: Row[Any]) -> bool:
        try:
            return same_code(row.mac, row_mac(self.key, row, parse_detail(row.detail)))
        except (TypeError, ValueError):
            return False

    def _add_gap(self, row: Row[Any]) -> None:
        first, last = self.chained_id + 1, row.id - 1
        if first > last:
            sentence = f"Entry {row.id:,} does not follow the one before it."
        elif first == last:
            sentence = f"Entry {first:,} is missing."
        else:
            sentence = f"Entries {first:,} to {last:,} are missing."
        self._add(ProblemKind.MISSING, min(first, row.id), max(last, row.id - 1), sentence)

    def _add_cut(self, head: Head) -> None:
        sentence = (
            f"The end is missing: the last entry was {head.last_id:,}, here it ends with {self.chained_id:,}."
            if head.last_id > self.chained_id
            else f"The entries after {head.last_id:,} do not belong to the chain."
        )
        self._add(ProblemKind.CUT, head.last_id, self.chained_id, sentence)

    def _add(self, kind: ProblemKind, first: int, last: int, sentence: str) -> None:
        self.problem_count += 1
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(Problem(kind, first, last, sentence))


def _is_code(value: object) -> bool:
    return isinstance(value, str) and len(value) == 64


def store_result(session: Session, key: bytes, result: Verification) -> None:
    """Keep the result for the page, signed, in the caller's transaction."""
    text = json.dumps(asdict(result), sort_keys=True)
    session.merge(Setting(key=LAST_RESULT, value=json.dumps([text, sign(key, "result", text)])))


def load_result(session: Session, key: bytes | None) -> Verification | None:
    """The last result; None if there is none, or one that this console did not write."""
    row = session.get(Setting, LAST_RESULT)
    if row is None or not row.value or key is None:
        return None
    try:
        text, signature = json.loads(row.value)
        if not same_code(signature, sign(key, "result", text)):
            return None
        values = json.loads(text)
    except (ValueError, TypeError):
        return None
    problems = tuple(Problem(**{**each, "kind": ProblemKind(each["kind"])}) for each in values["problems"])
    return Verification(**{**values, "problems": problems})
