"""A migration of the embedded runner, whose databases are on a server that is killed in the middle."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

import pytest

from dashboard.app import open_services
from dashboard.children import command
from dashboard.errors import StowageError
from dashboard.jobs.child import Supervisor
from dashboard.migration.types import Outcome, Spec, State
from dashboard.services.services import Services
from dashboard.settings import Settings
from tests.migration.ledgers import all_rows, assert_exact_rows
from tests.migration.scenario import contents, leftovers, some_objects
from tests.servers.postgresql import postgresql_server
from tests.servers.processes import wait_until
from tests.services.composed import add_local
from tests.services.console import ADMIN, PASSWORD

COUNT = 400
OUTAGES = 2
SECONDS = 240


class _Runner:
    """The runner's process, started and watched as ``stowage run`` does, and what it says."""

    def __init__(self, settings: Settings) -> None:
        self.lines: list[str] = []
        self._supervisor = Supervisor(self._note, command=command("runner", settings), cwd=Path.cwd())

    def _note(self, line: str) -> None:
        sys.stderr.write(f"{line}\n")
        self.lines.append(line)

    def await_noticed(self, outage: int) -> None:
        """Wait until it has said so that many times."""

        def noticed() -> bool:
            return sum("waits for the database server" in line for line in self.lines) >= outage

        wait_until(noticed, seconds=SECONDS, what="the runner that notices")

    def __enter__(self) -> _Runner:
        self._supervisor.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._supervisor.stop()


def _copied(services: Services, number: int) -> int:
    with suppress(StowageError):
        return services.migrations.progress(number).counters.copied
    return 0


def _await_more(services: Services, number: int) -> None:
    before = _copied(services, number)
    wait_until(lambda: _copied(services, number) > before + 20, seconds=SECONDS, what="some copies")


def _is_final(services: Services, number: int) -> bool:
    with suppress(StowageError):
        return services.migrations.progress(number).state.final
    return False


@pytest.mark.parametrize("carriers", [pytest.param(1, marks=pytest.mark.torture), 2])
def test_a_migration_goes_on_by_itself_after_its_databases_were_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, carriers: int
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for key, content in some_objects(COUNT).items():
        (here / key).parent.mkdir(parents=True, exist_ok=True)
        (here / key).write_bytes(content)
    with postgresql_server() as server:
        monkeypatch.setenv("STOWAGE_DATABASE_URL", server.url(server.create()))
        settings = Settings.from_env(instance=tmp_path / "instance")
        services = open_services(settings)
        services.setup.complete(services.setup.issue_code(), "ada", PASSWORD)
        for root in (here, there):
            add_local(services, root.name, root)
        with _Runner(settings) as runner:
            spec = Spec(workers=8, carriers=carriers, objects_per_second="60")
            number = services.migrations.create(ADMIN, "here", "there", spec, approve=True)
            for outage in range(1, OUTAGES + 1):
                _await_more(services, number)
                server.stop()
                runner.await_noticed(outage)
                server.start()
            wait_until(lambda: _is_final(services, number), seconds=SECONDS, what="the end")
        progress = services.migrations.progress(number)
        rows = all_rows(services.database, number)
        services.close()
    assert (progress.state, progress.outcome) == (State.FINISHED, Outcome.CLEAN), progress.message
    assert contents(there) == contents(here)
    assert leftovers(there) == []
    assert sorted(row.key for row in rows) == sorted(some_objects(COUNT))
    assert_exact_rows(rows, progress.counters)
    assert not [line for line in runner.lines if "Traceback" in line], runner.lines
