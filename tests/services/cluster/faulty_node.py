"""A Celery worker whose backends and processes fail as a test says.

``python -m tests.services.cluster.faulty_node FOLDER ...`` takes the further arguments of ``python -m
dashboard node``. In the folder a test says what is to happen: ``blow`` has one :class:`Blow`, for the first
process that gets there; ``fault`` a ``ServerFault`` of the scenarios; with ``apart`` each process is on a
machine of its own. Every write is noted in ``puts.log``.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from dashboard.jobs import child, process_identity, types
from dashboard.services.workers import worker_values
from tests.migration.failing_driver import FailingDriver
from tests.migration.scenario import ServerFault

if TYPE_CHECKING:
    from dashboard.services.migrations.carrying.ends import MigrationEnds
    from dashboard.storage.driver import Driver

RUN, CARRIER = "run", "carrier"
DELETING = "deleting"
KILL, SUSPEND, HOLD = "kill", "suspend", "hold"
LIFE_SECONDS = 3.0
"""Instead of 20: for so long a process may give no sign of life."""


def shorten_lives() -> None:
    """Before what uses them is imported. In the test's process, too: they have to agree."""
    worker_values.LIFE_SECONDS = LIFE_SECONDS
    worker_values.BEAT_SECONDS = worker_values.GRACE_SECONDS = LIFE_SECONDS / 6
    types.LEASE = 1.5 * LIFE_SECONDS


@dataclass(frozen=True, slots=True)
class Blow:
    """``who``, the run or another carrier, is killed, suspended or held up at its call number ``after`` of
    ``where``: a verb of ``FailingDriver``, “settling” in the transaction, “settled” after it, or “deleting”
    once it was decided that a source may be deleted."""

    who: str
    action: str
    where: str
    after: int = 1

    def ask_for(self, folder: Path) -> None:
        """Make it wait for the first that gets there."""
        words = folder / "blow.new"
        words.write_text(f"{self.who} {self.action} {self.where} {self.after}")
        words.rename(folder / "blow")

    @classmethod
    def asked_for(cls, folder: Path) -> Self | None:
        """The one that waits, if one does."""
        with suppress(FileNotFoundError):
            who, action, where, after = (folder / "blow").read_text().split()
            return cls(who, action, where, int(after))
        return None


def struck(folder: Path) -> int | None:
    """The process that got it."""
    return next((int(path.suffix[1:]) for path in folder.glob("struck.*")), None)


class Fate:
    """What befalls this process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._calls: dict[str, int] = {}
        self._sleeper = 0
        self._sleeper_deletes = False
        self._sleeper_is_done = threading.Event()
        self.who = RUN
        self.shared = threading.Event()
        """Set when the run has left some of its places to another carrier."""

    def meet(self, where: str) -> None:
        """Called wherever something may happen."""
        blow = Blow.asked_for(self._folder)
        if blow is None or (blow.who, blow.where) != (self.who, where):
            self._calls.clear()
            return
        self._calls[where] = self._calls.get(where, 0) + 1
        if self._calls[where] < blow.after:
            return
        with suppress(FileNotFoundError):
            # Of all that get here one can rename it.
            (self._folder / "blow").rename(self._folder / f"struck.{os.getpid()}")
            self._sleeper_deletes = where == DELETING
            self._suffer(blow.action)

    def leave_room(self) -> None:
        """Called by the run before a write: others get something to copy before they can meet their blow. Of
        its writes those end that hold the others' places, and nothing else, until it has fallen."""
        begun_before = not self.shared.is_set()
        while (blow := Blow.asked_for(self._folder)) and (self.who, blow.who) == (RUN, CARRIER):
            if begun_before and self.shared.is_set():
                return
            time.sleep(0.01)

    def _suffer(self, action: str) -> None:
        if action == HOLD:
            while not (self._folder / "go").exists():
                time.sleep(0.01)
        else:
            self._sleeper = threading.get_ident()
            # To this very thread: sent to the process it would stop a moment later.
            signal.pthread_kill(self._sleeper, signal.SIGKILL if action == KILL else signal.SIGSTOP)

    def done_deleting(self) -> None:
        """Called after a deletion, or what was to be one."""
        if threading.get_ident() == self._sleeper:
            self._sleeper_is_done.set()

    def end_process(self) -> None:
        """Instead of a process's way to end itself: one that woke up gets to the end of what it was in."""
        if (struck(self._folder), self._sleeper_deletes) == (os.getpid(), True):
            self._sleeper_is_done.wait(60)
        os.kill(os.getpid(), signal.SIGKILL)


def _wrap(driver: Driver, folder: Path, fate: Fate, *, at_source: bool) -> FailingDriver:
    log = os.open(folder / "puts.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fault = ServerFault.from_file(folder / "fault")
    fails = fault.hook() if fault and fault.at_source is at_source else None

    def hook(verb: str, key: str) -> None:
        if verb in ("put", "commit"):
            os.write(log, key.encode() + b"\n")
            fate.leave_room()
        fate.meet(verb)
        if fails:
            fails(verb, key)

    return FailingDriver(driver, hook)


def main(folder: Path, arguments: list[str]) -> None:
    shorten_lives()
    from dashboard.migration import retry_policy
    from dashboard.migration.final_phase import FinalPhase
    from dashboard.services.cluster.staying_alive import SignsOfLife
    from dashboard.services.cluster.worker_process import Work
    from dashboard.services.migrations.carrying import carrier_main, chunks, embedded
    from dashboard.services.migrations.carrying.carrier_ledger import CarrierLedger
    from dashboard.services.migrations.carrying.ends import MigrationEnds
    from dashboard.services.migrations.carrying.run_ledger import RunLedger
    from dashboard.services.postgresql import connections
    from dashboard.worker import run_celery

    retry_policy.BASE_DELAY_SECONDS, retry_policy.MAX_DELAY_SECONDS = 0.002, 0.02
    embedded.MEASURE_SECONDS = embedded.WORTHWHILE_SECONDS = 0.0
    chunks.MIN_ROWS = 10
    carrier_main.IDLE_SECONDS = 2.0
    connections.WRITER_IDLE_SECONDS = 2.0
    fate = Fate(folder)
    machine, open_ends = process_identity._machine, MigrationEnds.open
    carry, look, assign = Work.carry, Work.look_at_job, RunLedger.assign
    settle, settling = CarrierLedger.settle, CarrierLedger._close_finished
    decide, delete, begin_life = FinalPhase._reason_to_keep, FinalPhase._delete, SignsOfLife.__init__

    def own_machine() -> str:
        apart = (folder / "apart").exists()
        return f"machine of {os.getpid()}" if apart else machine()

    def opened(ends: MigrationEnds) -> tuple[FailingDriver, FailingDriver]:
        source, destination = open_ends(ends)
        return _wrap(source, folder, fate, at_source=True), _wrap(destination, folder, fate, at_source=False)

    def carries(*words: Any) -> bool:
        fate.who = CARRIER
        return carry(*words)

    def looks(*words: Any) -> bool:
        fate.who = RUN
        fate.shared.clear()
        return look(*words)

    def assigns(ledger: RunLedger, workers: Mapping[int, int], *rates: Any) -> None:
        assign(ledger, workers, *rates)
        if workers:
            fate.shared.set()

    def settles(ledger: CarrierLedger, results: Sequence[Any]) -> None:
        settle(ledger, results)
        if results:
            fate.meet("settled")

    def in_settling(ledger: CarrierLedger, connection: Any, settled: frozenset[int]) -> list[int]:
        closed = settling(ledger, connection, settled)
        if settled:
            fate.meet("settling")
        return closed

    def decides(phase: FinalPhase, row: Any) -> Any:
        reason = decide(phase, row)
        fate.meet(DELETING)
        return reason

    def deletes(phase: FinalPhase, row: Any) -> Any:
        try:
            return delete(phase, row)
        finally:
            fate.done_deleting()

    def begins_life(life: SignsOfLife, *words: Any, **more: Any) -> None:
        begin_life(life, *words, end_process=fate.end_process, **more)

    changes: dict[Any, dict[str, Any]] = {
        process_identity: {
            "_machine": own_machine,
            "_identity": process_identity._identity.__wrapped__,
        },
        MigrationEnds: {"open": opened},
        Work: {"carry": carries, "look_at_job": looks},
        RunLedger: {"assign": assigns},
        CarrierLedger: {"settle": settles, "_close_finished": in_settling},
        FinalPhase: {"_reason_to_keep": decides, "_delete": deletes},
        SignsOfLife: {"__init__": begins_life},
    }
    for owner, replaced in changes.items():
        for name, value in replaced.items():
            setattr(owner, name, value)
    child.end_with_parent(os.getppid())
    run_celery(arguments)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
