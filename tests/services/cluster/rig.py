"""A cluster on one machine: Redis, PostgreSQL, runners and workers, as processes that can be killed."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from argon2 import PasswordHasher

from dashboard.errors import StowageError
from dashboard.migration.types import Progress, Spec, State
from dashboard.services.cluster.job_routes import keep_folder
from dashboard.services.database import Database, open_database, prepare_instance
from dashboard.services.people.passwords import Passwords
from dashboard.services.services import Services, compose
from dashboard.settings import Settings
from tests.servers.postgresql import PostgreSQL
from tests.servers.processes import ServerProcess, wait_until
from tests.servers.redis import RedisServer, running_redis
from tests.services.composed import add_local
from tests.services.console import ADMIN, PASSWORD

FAST = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


class Cluster:
    """A console that is set up, with the folders “here” and “there”, and what works for it."""

    def __init__(self, folder: Path, postgresql: PostgreSQL, redis: RedisServer) -> None:
        self.folder = folder
        self.postgresql = postgresql
        self.redis = redis
        self.settings = Settings(
            instance=folder / "instance",
            key_file=folder / "stowage.key",
            database_url=postgresql.url(postgresql.create()),
            broker_url=redis.url,
        )
        prepare_instance(self.settings)
        self.database: Database = open_database(self.settings)
        self.database.upgrade()
        self.services: Services = compose(self.settings, self.database, passwords=Passwords(FAST))
        self.services.setup.complete(self.services.setup.issue_code(), "ada", PASSWORD)
        keep_folder(self.database, self.settings.instance)
        self.here, self.there = folder / "here", folder / "there"
        for each in (self.here, self.there):
            each.mkdir()
            add_local(self.services, each.name, each)
        self.processes: dict[str, ServerProcess] = {}
        self.closing: list[Database] = []
        self.seen = 0

    def environment(self) -> dict[str, str]:
        """What a process of the cluster is started with."""
        assert self.settings.database_url
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("STOWAGE_")},
            "STOWAGE_INSTANCE": str(self.settings.instance),
            "STOWAGE_KEY_FILE": str(self.settings.key_file),
            "STOWAGE_DATABASE_URL": self.settings.database_url,
            "STOWAGE_BROKER_URL": self.redis.url,
        }

    def start(self, name: str, *arguments: str, **changes: str) -> ServerProcess:
        """Start a process of Stowage; its output is in a file of that name."""
        words = ["env", "-i", *(f"{key}={value}" for key, value in (self.environment() | changes).items())]
        command = [*words, sys.executable, "-m", "dashboard", *arguments]
        log = self.folder / f"{name}.log"
        self.processes[name] = ServerProcess(command, cwd=Path.cwd(), log=log)
        return self.processes[name]

    def kill(self, pid: int) -> bool:
        """Kill a process; return whether there was one."""
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return False
        return True

    def stop(self) -> None:
        """End everything."""
        for process in self.processes.values():
            process.stop()
        self.services.close()
        for database in self.closing:
            database.close()

    # ---- objects

    def fill(self, count: int, *, seed: int = 12) -> None:
        """Put that many small objects here."""
        chance = random.Random(seed)
        for number in range(count):
            path = self.here / f"{number % 37:02d}" / f"{number:05d}.bin"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(chance.randbytes(chance.randrange(1, 2048)))

    def lost(self) -> list[str]:
        """The names of objects that are not there, or not as they are here."""
        names = [path.relative_to(self.here) for path in self.here.rglob("*") if path.is_file()]
        return [
            str(name)
            for name in names
            if not (self.there / name).is_file()
            or (self.there / name).read_bytes() != (self.here / name).read_bytes()
        ]

    def another(self) -> Services:
        """What another console on the same database and folder works with."""
        database = open_database(self.settings)
        self.closing.append(database)
        return compose(self.settings, database, passwords=Passwords(FAST))

    def copied(self, number: int) -> int:
        """How many objects a migration has copied, as far as that can be known now."""
        with suppress(StowageError):
            self.seen = self.services.migrations.progress(number).counters.copied
        return self.seen

    def is_final(self, number: int) -> bool:
        """Whether a migration is known to have ended. Takes a moment, so that asking costs little."""
        time.sleep(0.2)
        with suppress(StowageError):
            return self.services.migrations.progress(number).state.final
        return False

    def migrate(self, spec: Spec | None = None) -> int:
        """Begin copying from here to there."""
        return self.services.migrations.create(ADMIN, "here", "there", spec or Spec(), approve=True)

    def await_final(self, number: int, *, seconds: float = 120) -> Progress:
        """Wait until a migration has ended."""
        wait_until(lambda: self.is_final(number), seconds=seconds, what=f"migration {number} ended")
        progress = self.services.migrations.progress(number)
        assert progress.state is State.FINISHED, (progress.message, progress.remedy)
        return progress


@contextmanager
def cluster(folder: Path, postgresql: PostgreSQL) -> Iterator[Cluster]:
    """Real servers, and nothing running on them yet. Skips where one is missing."""
    with ExitStack() as stack:
        redis = stack.enter_context(running_redis(folder, durable=True))
        found = Cluster(folder, postgresql, redis)
        stack.callback(found.stop)
        yield found
