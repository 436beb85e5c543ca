"""A cluster in which everything is killed at random while a migration is under way: nothing is lost, and
nothing is copied twice but what was in flight."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import func, select

from dashboard.errors import StowageError
from dashboard.migration.types import Outcome, Spec
from dashboard.models.work import objects
from dashboard.services.workers.workers import CARRIER
from tests.servers.postgresql import PostgreSQL
from tests.servers.processes import wait_until
from tests.services.cluster.rig import Cluster, cluster

SECONDS = 240


@pytest.fixture
def found(tmp_path: Path, postgresql: PostgreSQL) -> Iterator[Cluster]:
    with cluster(tmp_path, postgresql) as found:
        yield found


class ClusterKiller:
    """Kills at random, and starts again what does not start by itself. Everything that it does is counted."""

    def __init__(self, found: Cluster, *, workers: int, seed: int) -> None:
        self._cluster = found
        self._random = random.Random(seed)
        self._workers = [f"worker-{number}" for number in range(workers)]
        self.done: Counter[str] = Counter()
        for name in self._workers:
            self._start(name)

    def _start(self, name: str) -> None:
        self._cluster.start(name, "worker", "--queues", "migrations", "--concurrency", "2")

    def processes(self) -> list[int]:
        """The processes that carry for the migration or run it."""
        with suppress(StowageError):
            return [task.pid for each in self._cluster.services.workers.list() for task in each.tasks]
        return []

    def kill_process(self) -> None:
        """One that copies: its Celery worker starts another."""
        pids = self.processes()
        if pids and self._cluster.kill(self._random.choice(pids)):
            self.done["process"] += 1

    def kill_worker(self) -> None:
        """A whole worker, as when its machine loses its power."""
        name = self._random.choice(self._workers)
        self._cluster.processes[name].stop()
        self._start(name)
        self.done["worker"] += 1

    def restart_redis(self) -> None:
        self._cluster.redis.stop()
        self._cluster.redis.start()
        self.done["redis"] += 1

    def restart_postgresql(self) -> None:
        self._cluster.postgresql.stop()
        self._cluster.postgresql.start()
        self.done["postgresql"] += 1


def _consoles(found: Cluster, stop: threading.Event) -> list[threading.Thread]:
    """The runners of two consoles, of which one dispatches."""
    threads = [
        threading.Thread(target=services.runner.run_forever, args=(stop,), name="console", daemon=True)
        for services in (found.services, found.another())
    ]
    for thread in threads:
        thread.start()
    return threads


def _survive(
    found: Cluster, plan: list[Callable[[ClusterKiller], None]], *, count: int, workers: int
) -> Counter[str]:
    found.fill(count)
    stop = threading.Event()
    killer = ClusterKiller(found, workers=workers, seed=20261122)
    consoles = _consoles(found, stop)
    try:
        number = found.migrate(Spec(workers=8))
        for step in plan:
            copied = found.copied(number)
            # Something is under way, and something was done since the last blow.
            wait_until(
                lambda before=copied: (
                    found.is_final(number) or (bool(killer.processes()) and found.copied(number) > before)
                ),
                seconds=SECONDS,
                what="the migration goes on",
            )
            if found.is_final(number):
                break
            step(killer)
        progress = found.await_final(number, seconds=SECONDS)
    finally:
        stop.set()
        for thread in consoles:
            thread.join(30)
    assert progress.outcome is Outcome.CLEAN
    assert found.lost() == []
    counters = progress.counters
    assert (counters.found, counters.copied, counters.verified, counters.failed) == (count, count, count, 0)
    size = sum(path.stat().st_size for path in found.here.rglob("*") if path.is_file())
    assert (counters.found_bytes, counters.copied_bytes, counters.verified_bytes) == (size, size, size)
    # Only what was in flight when its process ended has been tried more than once.
    c = objects.c
    again = (c.migration_id == number) & (c.attempts > 1)
    with found.database.work_read() as connection:
        assert connection.scalar(select(func.count()).where(again, c.interrupted == 0)) == 0
    assert sorted(path for path in found.there.rglob("*") if ".stowage" in path.name) == []
    return killer.done


def test_a_cluster_survives_kills_and_restarts(found: Cluster) -> None:
    plan = [
        ClusterKiller.kill_process,
        ClusterKiller.restart_redis,
        ClusterKiller.kill_worker,
        ClusterKiller.restart_postgresql,
        ClusterKiller.kill_process,
    ]
    done = _survive(found, plan, count=5000, workers=3)
    assert done.total() >= 3, done


@pytest.mark.torture
@pytest.mark.timeout(3600)
def test_a_cluster_survives_two_hundred_kills(found: Cluster) -> None:
    chance = random.Random(12)
    kinds = [ClusterKiller.kill_process] * 8 + [
        ClusterKiller.kill_worker,
        ClusterKiller.restart_redis,
        ClusterKiller.restart_postgresql,
    ]
    plan = [chance.choice(kinds) for _ in range(200)]
    done = _survive(found, plan, count=60_000, workers=3)
    print(done)
    assert done.total() == 200, done


def test_a_worker_that_lacks_the_key_says_so_and_takes_nothing(found: Cluster) -> None:
    lacking = found.start("lacking", "worker", STOWAGE_KEY_FILE=str(found.folder / "elsewhere.key"))
    wait_until(lambda: lacking.ended, seconds=SECONDS, what="it gave up")
    said = lacking.log.read_text()
    assert "elsewhere.key is missing, so the stored secrets cannot be opened" in said
    [shown] = found.services.workers.list()
    assert (shown.queues, shown.state.value) == ((), "refused")
    assert "elsewhere.key is missing" in shown.message
    assert CARRIER not in said
    assert not (found.folder / "elsewhere.key").exists()
