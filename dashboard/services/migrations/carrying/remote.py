"""Carriers on other machines: workers that a run asks for by messages.

To the run each is a ``Process``, which it can neither start nor kill for certain: it sends a message, and
reads in the list of workers what became of it. A message that nobody takes is given up after a while. A
carrier counts as ended when its worker says so or its time is over; until then nothing that it holds is given
to others.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

from sqlalchemy.exc import SQLAlchemyError

from dashboard.jobs.types import JobKind
from dashboard.migration.carrying.carriers import STOP
from dashboard.migration.ledger import FencedOut
from dashboard.services.cluster.job_routes import Routes
from dashboard.services.cluster.messages import JobMessages
from dashboard.services.database import Database
from dashboard.services.migrations.carrying.run_ledger import RunLedger
from dashboard.services.workers.worker_values import GRACE_SECONDS, LIFE_SECONDS, Queue
from dashboard.services.workers.workers import Workers

LOOK_SECONDS = 0.2
"""For which what was read of the workers is used."""
UNTAKEN_SECONDS = 30.0
"""After which a message is given up that no worker has taken."""
GONE = -9
"""The exit code of a carrier whose time was over."""
MAX_CARRIERS = 64


class Remote:
    """Asks workers to carry. One for each process that runs migrations."""

    def __init__(self, database: Database, workers: Workers, messages: JobMessages) -> None:
        self._routes = Routes(database)
        self._workers = workers
        self._messages = messages

    def most(self, migration_id: int, wanted: int) -> int:
        """How many carriers a migration may have: those that were asked for, or all that there are."""
        local = self._routes.of(JobKind.MIGRATION, migration_id).local
        return min(MAX_CARRIERS, wanted or self._workers.slots(Queue.MIGRATIONS, with_files=local))

    def starter(self, ledger: RunLedger, migration_id: int) -> Callable[[int], RemoteCarrier]:
        """Return the function that asks for a carrier by its number."""
        queue = self._routes.of(JobKind.MIGRATION, migration_id).name
        view = _View(self._workers, migration_id)

        def start(number: int) -> RemoteCarrier:
            sent = self._messages.send_carry(migration_id, ledger.fence, number, ledger.parts, queue)
            return RemoteCarrier(ledger, view, number, untaken=UNTAKEN_SECONDS if sent else 0.0)

        return start

    def await_earlier(self, ledger: RunLedger, migration_id: int, wait: Callable[[float], bool]) -> None:
        """Wait until no carrier of an earlier run of the migration writes any more: they notice that the
        ledger is not theirs, or their time is over. ``wait`` sleeps, and returns whether to stop waiting."""
        deadline = time.monotonic() + LIFE_SECONDS + 2 * GRACE_SECONDS
        if self._earlier(ledger, migration_id):
            ledger.begin()
        while self._earlier(ledger, migration_id) and time.monotonic() < deadline:
            if wait(LOOK_SECONDS):
                raise FencedOut

    def await_all(self, migration_id: int) -> None:
        """Wait until no carrier of the migration writes any more. Its ledger has forgotten them."""
        deadline = time.monotonic() + LIFE_SECONDS + 2 * GRACE_SECONDS
        while self._workers.carrying(migration_id) and time.monotonic() < deadline:
            self._workers.bury_dead()
            time.sleep(LOOK_SECONDS)

    def _earlier(self, ledger: RunLedger, migration_id: int) -> bool:
        self._workers.bury_dead()
        return any(fence != ledger.given_fence for fence, _ in self._workers.carrying(migration_id))


class _View:
    """Which carriers of a migration are at work, read a few times a second."""

    def __init__(self, workers: Workers, migration_id: int) -> None:
        self._workers = workers
        self._id = migration_id
        self._read_at = float("-inf")
        self._found: dict[tuple[int, int], float] = {}

    def alive_until(self, fence: int, number: int) -> float | None:
        """Until when the carrier is at work for certain; None if it is not listed."""
        if time.monotonic() - self._read_at >= LOOK_SECONDS:
            self._found = self._workers.carrying(self._id)
            self._read_at = time.monotonic()
        return self._found.get((fence, number))


class RemoteCarrier:
    """See ``embedded.Process``."""

    def __init__(self, ledger: RunLedger, view: _View, number: int, *, untaken: float) -> None:
        self._ledger = ledger
        self._view = view
        self._number = number
        self._give_up_at = time.monotonic() + untaken
        self._seen = False

    def poll(self) -> int | None:
        """See ``Process.poll``."""
        until = self._view.alive_until(self._ledger.fence, self._number)
        if until is not None:
            self._seen = True
            return GONE if until + GRACE_SECONDS < time.time() else None
        if self._seen or time.monotonic() >= self._give_up_at:
            # A worker that takes the message later finds that its number is not registered.
            return 0
        return None

    def terminate(self) -> None:
        """See ``Process.terminate``."""
        self._give_up_at = 0.0
        # If the ledger is another run's, that run ends the carrier.
        with suppress(FencedOut, SQLAlchemyError):
            self._ledger.assign({self._number: STOP})

    def kill(self) -> bool:
        """Ask it to stop, and return whether it certainly has. See ``Process.kill``."""
        self.terminate()
        return self.poll() is not None
