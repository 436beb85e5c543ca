"""What is found out about both sides of a migration before anything is copied, beside the plan itself.

That the destination takes files was tested by then: planning writes a marker there, and fails otherwise.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from difflib import get_close_matches
from itertools import islice
from typing import TypeVar

from sqlalchemy import select
from sqlalchemy.dialects.sqlite import insert as upsert

from dashboard.migration.types import Counters, Spec
from dashboard.models.work import facts, objects
from dashboard.services.database import Database
from dashboard.storage.driver import Driver
from dashboard.storage.errors import NotFound, StorageError
from dashboard.storage.inspection.listing import list_readable, without_markers
from dashboard.storage.net.timeouts import Cancelled, call_with_timeout

T = TypeVar("T")

SECONDS = 15.0
"""Time limit for each question to a server; without its answer the review says nothing about it."""
MAX_LISTED = 5_000
"""Objects that are looked at to find a prefix that exists."""
SAMPLES = 3
"""Objects of the source that are opened."""


@dataclass(frozen=True, slots=True)
class Review:
    """``unreadable``: why an object of the source could not be opened, with a remedy. ``suggestion``: a
    prefix that exists, like the one that matches nothing. ``free``: bytes that the destination can still
    store, None if it does not say. ``is_empty``: whether the destination holds nothing there; None if not
    known. ``write_tested``: false after a dry run, which writes nothing."""

    unreadable: str = ""
    remedy: str = ""
    suggestion: str = ""
    free: int | None = None
    is_empty: bool | None = None
    write_tested: bool = False

    def lacks(self, counters: Counters) -> int:
        """The bytes that certainly do not fit, or 0."""
        if self.free is None:
            return 0
        return max(0, counters.to_copy_bytes + counters.to_keep_both_bytes - self.free)


class Reviews:
    """The stored reviews, and how one is made. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, migration_id: int) -> Review | None:
        """The last review, or None before the first one."""
        with self._database.work_read() as connection:
            text = connection.scalar(select(facts.c.review).where(facts.c.migration_id == migration_id))
        return Review(**json.loads(text)) if text else None

    def make(
        self,
        migration_id: int,
        spec: Spec,
        ends: tuple[Driver, Driver],
        free: int | None,
        *,
        stop: Callable[[], bool],
    ) -> Review:
        """Look at source and destination, store what is found and return it. Takes at most a minute; what a
        server does not say in time is not known. Call it when both sides are listed."""
        source, destination = ends
        review = Review(free=free, write_tested=not spec.dry_run)
        with self._database.work_read() as connection:
            mine = objects.c.migration_id == migration_id
            # Rows without a size may be folders.
            query = select(objects.c.key).where(mine, objects.c.size > 0).order_by(objects.c.id)
            samples = list(connection.scalars(query.limit(SAMPLES)))
        if samples:
            unreadable, remedy = _asked(lambda: _open(source, samples), ("", ""), stop)
            review = replace(review, unreadable=unreadable, remedy=remedy)
        elif spec.prefix:
            review = replace(review, suggestion=_asked(lambda: suggest_prefix(source, spec.prefix), "", stop))
        empty = _asked(lambda: _is_empty(destination, spec.prefix), None, stop)
        review = replace(review, is_empty=empty)
        values = {"review": json.dumps(asdict(review))}
        with self._database.work_write() as connection:
            statement = upsert(facts).values(migration_id=migration_id, **values)
            connection.execute(statement.on_conflict_do_update(index_elements=["migration_id"], set_=values))
        return review


def _asked(question: Callable[[], T], unknown: T, stop: Callable[[], bool]) -> T:
    try:
        return call_with_timeout(question, SECONDS, stop)
    except (StorageError, Cancelled):
        return unknown


def _open(source: Driver, keys: Sequence[str]) -> tuple[str, str]:
    """Why the first bytes of an object could not be read, and the remedy; nothing if one of them could."""
    failure = "", ""
    for key in keys:
        try:
            with source.read(key) as reading:
                next(reading.chunks(), None)
        except NotFound:
            continue
        except StorageError as error:
            failure = error.reason, error.remedy
            continue
        return "", ""
    return failure


def _is_empty(destination: Driver, prefix: str) -> bool:
    entries = list_readable(destination, prefix, unreadable=lambda folder, error: None)
    return next(iter(without_markers(entries)), None) is None


def suggest_prefix(source: Driver, prefix: str) -> str:
    """The prefix of existing objects that is most like this one, or nothing. Looks at folders and objects
    where the prefix would be, or at its folder if that does not exist either."""
    folder = prefix.rstrip("/").rpartition("/")[0]
    folder = f"{folder}/" if folder else ""
    names = dict.fromkeys(_names(source, folder))
    found = get_close_matches(prefix, names, n=1) or get_close_matches(
        prefix.casefold(), {name.casefold() for name in names}, n=1
    )
    if found:
        return next((name for name in names if found[0] in (name, name.casefold())), "")
    return suggest_prefix(source, folder) if folder and not names else ""


def _names(source: Driver, folder: str) -> Iterator[str]:
    """The folders and objects in a folder, as prefixes."""
    deadline = time.monotonic() + SECONDS / 2
    after = ""
    for _ in range(MAX_LISTED):
        entries = source.list(folder, start_after=after) if after else source.list(folder)
        last = ""
        for entry in islice(without_markers(entries), MAX_LISTED):
            name, slash, _rest = entry.key.removeprefix(folder).partition("/")
            yield folder + name + slash
            last = folder + name + slash
            if slash and source.ordered:
                # The rest of this folder is passed over.
                break
        else:
            return
        after = last + "\U0010ffff"
        if time.monotonic() > deadline:
            return
