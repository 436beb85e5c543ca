"""A cluster in which everything is killed at random while a migration is under way: nothing is lost, and
nothing is copied twice but what was in flight."""

from __future__ import annotations

import random
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace

import pytest
from sqlalchemy import func, select

from dashboard.errors import StowageError
from dashboard.migration.types import Outcome, Spec
from dashboard.models.work import objects
from dashboard.services.workers.worker_values import Queue
from dashboard.worker import work
from tests.servers.postgresql import PostgreSQL
from tests.servers.processes import wait_until
from tests.services.cluster.rig import Cluster, cluster
from tests.services.console import ADMIN

SECONDS = 240
PUT_BACK = 64


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory, postgresql: PostgreSQL) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("cluster"), postgresql) as found:
        yield found


class ClusterKiller:
    """Kills at random, and starts again what does not start by itself. Everything that it does is counted."""

    def __init__(self, found: Cluster, *, workers: int, slots: int, seed: int) -> None:
        self._cluster = found
        self._random = random.Random(seed)
        self._workers = [f"worker-{number}" for number in range(workers)]
        self._slots = slots
        self.done: Counter[str] = Counter()
        for name in self._workers:
            self._start(name)

    def _start(self, name: str) -> None:
        self._cluster.start(name, "worker", "--queues", "migrations", "--concurrency", str(self._slots))

    def stop(self) -> None:
        for name in self._workers:
            self._cluster.processes[name].stop()

    def processes(self) -> list[int]:
        """The processes that carry for the migration or run it."""
        with suppress(StowageError):
            return [task.pid for each in self._cluster.services.workers.list() for task in each.tasks]
        return []

    def kill_process(self) -> None:
        """One that copies: its Celery worker starts another."""
        pids = self.processes()
        self._random.shuffle(pids)
        # One may just have ended by itself.
        self.done["process"] += any(map(self._cluster.kill, pids))

    def kill_worker(self) -> str:
        """A whole worker, as when its machine loses its power."""
        name = self._random.choice(self._workers)
        self._cluster.processes[name].stop()
        self.done["worker"] += 1
        return name

    def replace_worker(self) -> None:
        """The same, and it is started again."""
        self._start(self.kill_worker())

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
    found: Cluster,
    plan: list[Callable[[ClusterKiller], object]],
    *,
    count: int,
    slots: int,
    objects_per_second: str = "",
) -> Counter[str]:
    """``objects_per_second``: no more are copied before the last blow."""
    found.fill(count)
    stop = threading.Event()
    killer = ClusterKiller(found, workers=3, slots=slots, seed=20261122)
    consoles = _consoles(found, stop)
    try:
        number = found.migrate(Spec(workers=8, objects_per_second=objects_per_second))
        while plan:
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
            plan.pop(0)(killer)
        _lift_limit(found, number)
        progress = found.await_final(number, seconds=SECONDS)
    finally:
        stop.set()
        for thread in consoles:
            thread.join(120)
        killer.stop()
    assert progress.outcome is Outcome.CLEAN
    assert found.lost() == []
    counters = progress.counters
    assert (counters.found, counters.copied, counters.verified, counters.failed) == (count, count, count, 0)
    size = sum(path.stat().st_size for path in found.here.rglob("*") if path.is_file())
    assert (counters.found_bytes, counters.copied_bytes, counters.verified_bytes) == (size, size, size)
    # Only what was in flight when its process ended has been tried more than once. A carrier whose turn is
    # over on a slow machine puts the few objects back that it had begun.
    c = objects.c
    again = (c.migration_id == number) & (c.attempts > 1)
    with found.database.work_read() as connection:
        assert connection.scalar(select(func.count()).where(again, c.interrupted == 0)) <= PUT_BACK
    assert sorted(path for path in found.there.rglob("*") if ".stowage" in path.name) == []
    # That a process was killed is said in a sentence. What Celery says when Redis restarts is its own matter.
    logs = [path.read_text(errors="replace") for path in found.folder.glob("worker-*.log")]
    assert [text for text in logs if "WorkerLostError:" in text] == []
    return killer.done


def _lift_limit(found: Cluster, number: int) -> None:
    def lift() -> bool:
        # The server may only just be starting again.
        with suppress(StowageError):
            if not found.is_final(number):
                found.services.migration_limits.change(ADMIN, number, objects="off")
            return True
        return False

    wait_until(lift, seconds=SECONDS, what="the limit is lifted")


def test_a_cluster_survives_kills_and_restarts(found: Cluster) -> None:
    plan = [
        ClusterKiller.restart_redis,
        ClusterKiller.kill_process,
        ClusterKiller.restart_postgresql,
        ClusterKiller.kill_worker,
    ]
    done = _survive(found, plan, count=5000, slots=1, objects_per_second="150")
    assert done == {"redis": 1, "process": 1, "postgresql": 1, "worker": 1}


@pytest.mark.torture
@pytest.mark.timeout(3600)
def test_a_cluster_survives_two_hundred_kills(found: Cluster) -> None:
    chance = random.Random(12)
    kinds = [ClusterKiller.kill_process] * 8 + [
        ClusterKiller.replace_worker,
        ClusterKiller.restart_redis,
        ClusterKiller.restart_postgresql,
    ]
    plan = [chance.choice(kinds) for _ in range(200)]
    done = Counter[str]()
    while plan:
        # A fast machine copies them several times.
        shutil.rmtree(found.there)
        found.there.mkdir()
        done += _survive(found, plan, count=20_000, slots=2)
    print(done)


def test_a_worker_that_lacks_the_key_says_so_and_takes_nothing(found: Cluster) -> None:
    elsewhere, said = found.folder / "elsewhere.key", list[str]()
    with pytest.raises(
        StowageError, match=r"elsewhere\.key is missing, so the stored secrets cannot be opened"
    ):
        work(replace(found.settings, key_file=elsewhere), tuple(Queue), 1, said.append)
    [shown] = [each for each in found.services.workers.list() if each.message]
    assert (shown.queues, shown.state.value) == ((), "refused")
    assert "elsewhere.key is missing" in shown.message
    assert said == []
    assert not elsewhere.exists()


def test_a_worker_makes_nothing_in_a_database_without_a_console(found: Cluster) -> None:
    empty = found.postgresql.create()
    settings = replace(found.settings, database_url=found.postgresql.url(empty))
    with pytest.raises(StowageError, match="No console has used this database yet"):
        work(settings, tuple(Queue), 1, list[str]().append)
    with found.postgresql.connect(empty) as connection:
        made = connection.execute("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'stowage%'")
        assert made.fetchone() == (0,)
