"""What commands load. Not how long that takes: a module that loads once more is what makes a start slow."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dashboard.services.core_services import CoreServices, lazy
from tests.cli.conftest import Cli

ROOT = Path(__file__).resolve().parents[2]

PRINT_MODULES = "print('loaded:', *sorted(sys.modules), flush=True)"
RUN = f"""
import sys
from dashboard.__main__ import main
sys.argv[0] = "stowage"
try: main()
except SystemExit: pass
{PRINT_MODULES}
"""
MIGRATE = f"""
import os, sys
from dashboard.__main__ import main
def write(event, arguments):
    # A local file gets its name by a rename or a link.
    if event in ("os.rename", "os.link") and os.path.basename(os.fsdecode(arguments[1])) == "first.txt":
        {PRINT_MODULES}
        os._exit(0)
sys.addaudithook(write)
sys.argv[0] = "stowage"
main()
"""
WEB = {"flask", "flask_sqlalchemy", "jinja2", "werkzeug", "waitress", "babel", "dashboard.web"}
VENDORS = {
    "sqlalchemy.dialects.postgresql",
    "boto3",
    "botocore",
    "urllib3",
    "paramiko",
    "google.auth",
    "http.client",
    "requests",
}
PARTS = {
    "argon2",
    "alembic",
    "rich",
    "smtplib",
    "dashboard.cli.backend",
    "dashboard.media.pipeline",
    "dashboard.models.backups",
    "dashboard.models.consoles",
    "dashboard.models.every_table",
    "dashboard.models.notifications",
    "dashboard.models.schedules",
    "dashboard.models.waiting",
    "dashboard.services.attention.gathering",
    "dashboard.services.auditing.verifying",
    "dashboard.services.backups.backups",
    "dashboard.services.consoles.server_lock",
    "dashboard.services.environment.editor",
    "dashboard.services.environment.variables",
    "dashboard.services.fallback.waiting_store",
    "dashboard.services.fallback.write_back",
    "dashboard.services.files.uploads",
    "dashboard.services.history.history",
    "dashboard.services.notifications.notifications",
    "dashboard.services.people.accounts",
    "dashboard.services.schedules.schedule_services",
    "dashboard.services.usage.usage_services",
    "dashboard.storage.library.manager",
    "dashboard.storage.probe",
}


def loaded(code: str, instance: Path, *arguments: str) -> set[str]:
    command = [sys.executable, "-c", code, "--instance", str(instance), *arguments]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    lines = [line for line in ran.stdout.splitlines() if line.startswith("loaded:")]
    assert len(lines) == 1, ran.stderr
    return set(lines[0].split()[1:])


@pytest.fixture
def two_folders(cli: Cli, instance: Path, tmp_path: Path) -> Path:
    for name in ("here", "there"):
        folder = tmp_path / name
        folder.mkdir()
        assert cli("backend", "add", name, "--preset", "local", "--option", f"root={folder}").code == 0
    (tmp_path / "here" / "first.txt").write_bytes(b"1")
    return instance


def test_a_migration_copies_its_first_object_without_the_rest_of_the_console(two_folders: Path) -> None:
    found = loaded(MIGRATE, two_folders, "migrate", "here", "there", "--yes")
    assert "dashboard.migration.execute" in found
    assert found & (WEB | VENDORS | PARTS) == set()


def test_listing_files_loads_no_engine_and_no_other_commands(two_folders: Path) -> None:
    found = loaded(RUN, two_folders, "files", "ls", "here:")
    assert "dashboard.storage.drivers.local.driver" in found
    others = {"dashboard.migration.run", "dashboard.cli.migrate", "dashboard.cli.files.file_changing"}
    # The table it prints is drawn by rich.
    assert found & (WEB | VENDORS | PARTS | others) == {"rich"}


def test_a_command_loads_no_other_command(instance: Path) -> None:
    found = loaded(RUN, instance, "migrate", "--help")
    assert {name for name in found if name.startswith("dashboard.cli.")} == {
        f"dashboard.cli.{name}"
        for name in ("arguments", "follow", "formatting", "invocation", "migrate", "output")
    }
    assert "sqlalchemy" not in found


def test_there_is_one_of_each_service_however_many_threads_ask() -> None:
    from concurrent.futures import ThreadPoolExecutor
    from threading import Barrier, RLock

    both = Barrier(8)
    composed: list[object] = []

    class Services(CoreServices):
        def __init__(self) -> None:
            self.composing = RLock()

        @lazy
        def part(self) -> list[str]:
            composed.append(self)
            # Empty, as some services may be: that is no reason to compose it again.
            return []

    services = Services()

    def ask(_: int) -> list[str]:
        both.wait()
        return services.part

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(ask, range(8)))
    assert composed == [services]
    assert all(each is services.part for each in found)
    assert services.is_composed("part")
