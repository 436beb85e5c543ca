"""A migration between two folders, ready to be run, broken and looked at."""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from dashboard.errors import Kind
from dashboard.migration.carrying.carriers import Alone, Carriers
from dashboard.migration.ledger import Ledger
from dashboard.migration.run import MigrationJob, RunResult, run
from dashboard.migration.types import Control, LedgerRow, Outcome, Spec, State
from dashboard.services.migrations.carrying.embedded import EmbeddedCarriers, Process
from dashboard.services.migrations.carrying.run_ledger import RunLedger
from dashboard.storage.drivers.local.driver import LocalDriver
from dashboard.storage.errors import StorageError
from dashboard.storage.net.rate_limits import RateLimits
from tests.migration.failing_driver import FailingDriver
from tests.migration.ledgers import Ledgers, assert_exact

LARGE = 9 * 1024 * 1024
"""More than one request moves."""


class Scenario:
    """Two folders, drivers that can be made to fail, ledgers, and a person who may interfere."""

    def __init__(self, folder: Path, ledgers: Ledgers) -> None:
        self.here, self.there = folder / "here", folder / "there"
        self.here.mkdir()
        self.there.mkdir()
        self.source = FailingDriver(LocalDriver(str(self.here)))
        self.destination = FailingDriver(LocalDriver(str(self.there)))
        self.ledgers = ledgers
        self.approved = True
        self.control = Control.RUN
        self.control_seen = threading.Event()
        self.states: list[State] = []
        self.carriers: Callable[[Ledger], Carriers] = _carriers_of
        self.limits = RateLimits()

    def fill(self, objects: Mapping[str, bytes], *, there: bool = False) -> None:
        for key, content in objects.items():
            path = (self.there if there else self.here) / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def run(self, spec: Spec | None = None) -> RunResult:
        result = run(
            MigrationJob(1, spec or Spec(workers=4), lambda: self.approved, "old disk", limits=self.limits),
            self.source,
            self.destination,
            ledger := self.ledgers.open(),
            self._poll_control,
            on_state=self._on_state,
            random=random.Random(11),
            carriers=self.carriers(ledger),
        )
        assert_exact(self.ledgers)
        assert result.state is self.states[-1]
        return result

    def _poll_control(self) -> Control:
        if self.control is not Control.RUN:
            self.control_seen.set()
        return self.control

    def _on_state(self, state: State, outcome: Outcome | None, message: str, remedy: str) -> None:
        self.states.append(state)

    def rows(self) -> dict[str, LedgerRow]:
        return {row.key: row for row in self.ledgers.rows()}

    def assert_clean(self, result: RunResult) -> None:
        """Finished without a blemish, and both folders hold the same, byte for byte."""
        assert (result.state, result.outcome) == (State.FINISHED, Outcome.CLEAN), self.ledgers.failures()
        assert contents(self.there) == contents(self.here)
        assert leftovers(self.there) == []


def _carriers_of(ledger: Ledger) -> Carriers:
    """As the runner has them, without other processes."""
    if not isinstance(ledger, RunLedger):
        return Alone()
    return EmbeddedCarriers(ledger, most=1, start=_refuse, sweep=lambda stop: None)


def _refuse(number: int) -> Process:
    raise AssertionError("no process was asked for")


def contents(folder: Path) -> dict[str, str]:
    """SHA-256 of every file by its key."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".stowage-tmp" not in path.parts
    }


def leftovers(folder: Path) -> list[Path]:
    """Unfinished writes."""
    return [path for path in folder.rglob("*") if ".stowage-tmp" in path.parts and path.is_file()]


def some_objects(count: int, seed: int = 3) -> dict[str, bytes]:
    dice = random.Random(seed)
    return {f"f{n % 7}/object {n:04d}.bin": dice.randbytes(dice.randrange(3000)) for n in range(count)}


@dataclass(frozen=True, slots=True)
class ServerFault:
    """What a server does to every tenth object: ``times`` each, or always. The same for a run by itself and
    for one whose processes are elsewhere, which read it from a file."""

    kind: Kind
    verb: str
    times: int = 10**9

    @property
    def at_source(self) -> bool:
        """Whether it is the source's, or the destination's."""
        return self.verb in ("read", "chunk")

    @staticmethod
    def hits(key: str) -> bool:
        """Whether it meets this object."""
        return key.endswith("7.bin")

    def hook(self) -> FailingCalls:
        """For a driver."""
        return FailingCalls(self.kind, self.verb, self.hits, times=self.times)

    def to_file(self, path: Path) -> None:
        """Write it down."""
        path.write_text(f"{self.kind.value} {self.verb} {self.times}")

    @classmethod
    def from_file(cls, path: Path) -> Self | None:
        """The one that is written there, if one is."""
        if not path.exists():
            return None
        kind, verb, times = path.read_text().split()
        return cls(Kind(kind), verb, int(times))


PASSING = (
    ServerFault(Kind.UNREACHABLE, "read", 2),
    ServerFault(Kind.DAMAGED, "chunk", 2),
    ServerFault(Kind.THROTTLED, "put", 2),
    ServerFault(Kind.TIMEOUT, "put", 2),
    # The object is there, but the answer was lost.
    ServerFault(Kind.TIMEOUT, "stored", 2),
)


class FailingCalls:
    """Raises for chosen calls: ``times`` per key, or always."""

    def __init__(self, kind: Kind, verbs: str, keys: Callable[[str], bool], *, times: int = 10**9) -> None:
        self.kind, self.verbs, self.keys, self.times = kind, verbs.split(), keys, times
        self._met: dict[str, int] = {}
        self._lock = threading.Lock()

    def __call__(self, verb: str, key: str) -> None:
        if verb not in self.verbs or not self.keys(key):
            return
        with self._lock:
            self._met[key] = self._met.get(key, 0) + 1
            if self._met[key] > self.times:
                return
        raise StorageError(self.kind, f"The server said no to “{key}”.", remedy="Ask it nicely.")
