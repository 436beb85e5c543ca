"""Tests of connections and channels that are followed from another console than the one that runs them.

Behind a load balancer each request may reach another one. A console alone on files keeps them in its memory
only.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.dialects.sqlite import insert

from dashboard.errors import StowageError
from dashboard.models.consoles import FollowedTest
from dashboard.services.consoles.console_processes import clock
from dashboard.services.database import Database

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class KeptTest:
    """A test as it was when its console last wrote it down. ``mark``: a digest of what is tested."""

    mark: str
    state: Mapping[str, Any]


class FollowedTests:
    """Tests of one kind, each forgotten ``seconds`` after it began. Thread-safe."""

    def __init__(self, database: Database, kind: str, seconds: float) -> None:
        self._database = database
        self._kind = kind
        self._seconds = seconds

    def keep(self, test_id: str, actor: str, state: Mapping[str, Any], mark: str = "") -> None:
        """Let others see the state of a test. Never raises: it goes on without them."""
        if not self._database.on_server:
            return
        now, changing = clock(self._database), {"state": dict(state)}
        values = {"id": test_id, "kind": self._kind, "actor": actor[:64], "at": now, "mark": mark}
        try:
            with self._database.write_one_row() as connection:
                statement = insert(FollowedTest).values(**values, **changing)
                connection.execute(statement.on_conflict_do_update(index_elements=["id"], set_=changing))
                connection.execute(delete(FollowedTest).where(FollowedTest.at < now - self._seconds))
        except StowageError as error:
            log.warning("A test cannot be followed from other consoles: %s", error.reason)

    def find(self, test_id: str, actor: str) -> KeptTest | None:
        """A test of this actor, wherever it runs; None if there is none."""
        if not self._database.on_server:
            return None
        known = (FollowedTest.id == test_id) & (FollowedTest.kind == self._kind)
        fresh = FollowedTest.at >= clock(self._database) - self._seconds
        with self._database.read() as session:
            row = session.scalar(select(FollowedTest).where(known, fresh, FollowedTest.actor == actor[:64]))
        return KeptTest(row.mark, row.state) if row is not None else None
