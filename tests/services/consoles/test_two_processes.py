"""Two real consoles on one PostgreSQL server: one dies, the other takes over what both were there for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests

from dashboard.app import open_services
from dashboard.services.consoles.console_processes import RUNNER, WEB, Processes, ProcessInfo
from dashboard.services.database import Database, open_database
from dashboard.services.jobs import Jobs
from dashboard.settings import Settings
from tests.servers.console import ConsoleProcess
from tests.servers.postgresql import PostgreSQL
from tests.servers.processes import wait_until

pytestmark = pytest.mark.torture
PASSWORD = "a few unrelated words"


@pytest.fixture
def environ(postgresql: PostgreSQL) -> Iterator[dict[str, str]]:
    name = postgresql.create()
    yield {"STOWAGE_DATABASE_URL": postgresql.url(name)}
    postgresql.drop(name)


@pytest.fixture
def database(environ: dict[str, str], tmp_path: Path) -> Iterator[Database]:
    url = environ["STOWAGE_DATABASE_URL"]
    opened = open_database(Settings.from_env({}, instance=tmp_path, database_url=url))
    opened.upgrade()
    yield opened
    opened.close()


def runner(database: Database) -> ProcessInfo | None:
    found = [each for each in Processes(database).list() if each.role == RUNNER and each.active]
    return next((each for each in found if not each.late), None)


def form_token(session: requests.Session, address: str, path: str) -> str:
    page = session.get(f"{address}{path}", timeout=60)
    found = re.search(r'name="csrf-token" content="([^"]+)"', page.text)
    assert found, (page.status_code, page.url)
    return found[1]


def sign_in(session: requests.Session, address: str, password: str = PASSWORD) -> requests.Response:
    fields = {"username": "maria", "password": password}
    fields["csrf_token"] = form_token(session, address, "/sign-in")
    return session.post(f"{address}/sign-in", data=fields, allow_redirects=False, timeout=60)


def checks(database: Database) -> int:
    return max(
        (job.id for job in Jobs(database).list() if job.kind == "check" and job.finished_at), default=0
    )


def test_two_consoles_are_one_and_either_may_die(
    environ: dict[str, str], database: Database, tmp_path: Path
) -> None:
    instance = tmp_path / "instance"
    url = environ["STOWAGE_DATABASE_URL"]
    services = open_services(Settings.from_env({}, instance=instance, database_url=url))
    services.setup.complete(services.setup.issue_code(), "maria", PASSWORD)
    services.close()
    first = ConsoleProcess(instance, environ=environ)
    second = ConsoleProcess(instance, environ=environ)
    with ExitStack() as stack:
        stack.enter_context(first)
        stack.enter_context(second)
        wait_until(lambda: runner(database) is not None, seconds=60, what="a runner")
        webs = [each for each in Processes(database).list() if each.role == WEB]
        assert {each.address.rpartition(":")[2] for each in webs} == {
            console.address.rstrip("/").rpartition(":")[2] for console in (first, second)
        }
        # Signed in on one, at work on the other.
        here, there = first.address.rstrip("/"), second.address.rstrip("/")
        session = requests.Session()
        assert sign_in(session, here).status_code == 303
        token = form_token(session, there, "/settings/tokens")
        fields = {"csrf_token": token, "name": "CI", "scope": "view", "expires": "30"}
        page = session.post(f"{there}/settings/tokens", data=fields, timeout=60)
        [text] = re.findall(r"stw_[\w-]{43}", page.text)
        header = {"Authorization": f"Bearer {text}"}
        for address in (here, there):
            assert requests.get(f"{address}/api/v1/backends", headers=header, timeout=60).status_code == 200
        [number] = re.findall(r"/settings/tokens/(\d+)/revoke", page.text)
        session.post(f"{here}/settings/tokens/{number}/revoke", data={"csrf_token": token}, timeout=60)
        assert requests.get(f"{there}/api/v1/backends", headers=header, timeout=60).status_code == 401
        # Guesses count on both.
        other = requests.Session()
        seen = [sign_in(other, (here, there)[n % 2], "wrong").status_code for n in range(6)]
        assert seen == [401] * 5 + [429]
        # The console whose runner is at work is killed: the other one's follows, and goes on with the checks.
        at_work = runner(database)
        assert at_work is not None
        parents = {console: children(console.pid) for console in (first, second)}
        dying = next(console for console, pids in parents.items() if at_work.pid in pids)
        left = second if dying is first else first
        before = checks(database)
        dying.kill()
        wait_until(
            lambda: (now := runner(database)) is not None and now.pid in parents[left],
            seconds=120,
            what="the other runner",
        )
        wait_until(lambda: checks(database) > before, seconds=120, what="a check by it")
        assert session.get(f"{left.address.rstrip('/')}/backends", timeout=60).status_code == 200
        # And back again.
        dying.start()
        left.stop()
        pids = children(dying.pid)
        wait_until(
            lambda: (now := runner(database)) is not None and now.pid in pids, seconds=60, what="the first"
        )


def test_a_console_with_another_folder_says_so(
    environ: dict[str, str], database: Database, tmp_path: Path
) -> None:
    with ConsoleProcess(tmp_path / "instance", environ=environ):
        wrong = ConsoleProcess(tmp_path / "another", environ=environ)
        key = (tmp_path / "instance" / "stowage.key").read_bytes()
        (tmp_path / "another").mkdir()
        (tmp_path / "another" / "stowage.key").write_bytes(key)
        with pytest.raises(RuntimeError, match="another instance folder") as refused:
            wrong.start()
        assert "STOWAGE_INSTANCE" in str(refused.value)
        wrong.kill()


def children(pid: int) -> list[int]:
    """By whichever of its threads they were started."""
    texts = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    return [int(number) for text in texts for number in text.split()]
