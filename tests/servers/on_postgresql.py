"""For a run of the tests in which every console has its databases on PostgreSQL: ``make test-postgres``."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dashboard.services.database import open_database
from dashboard.settings import Settings
from tests.servers.postgresql import PostgreSQL

ABOUT_FILES = {
    "tests/services/postgresql/": "files and servers of their own",
    "tests/services/keeping": "reads are kept until SQLite counts a change of a file",
    "test_a_change_of_another_process_is_on_the_next_page": "the other process writes to a file",
    "test_a_page_reads_little_while_nothing_changes": "reads are kept until SQLite counts a change of a file",
    "tests/services/test_upgrade.py": "steps of files",
    "tests/services/catalogue/test_files_by_day.py": "SQLite's triggers; on a server the files are counted",
    "test_files_are_read_again_only_after_one_has_changed": "SQLite's triggers say whether one has changed",
    "test_rows_of_earlier_versions_are_chained_by_the_upgrade": "a server's database is never that old",
    "test_endings_of_passwords_that_were_kept_once_are_forgotten": "a server's database is never that old",
    "test_an_older_database_that_is_put_back_is_found": "a file is put back",
    "test_a_database_restored_without_its_key_is_sealed": "files are put back",
    "test_the_runner_of_an_instance_in_files": "an instance in files",
    "test_carriers_of_the_runner_and_tasks_of_workers_are_told_once": "an instance in files",
    "test_on_files_nothing_is_asked_or_stored": "an instance in files",
    "test_a_broker_needs_a_database_that_others_can_use": "settings without an address",
    "tests/services/test_database.py": "SQLite's own errors",
    "tests/services/backups/test_restoring.py": "files that are put back",
    "tests/services/backups/test_backups.py": "files that are copied",
    "tests/services/upkeep/test_upkeep.py": "sizes of files",
    "tests/services/migrations/test_killed_files.py": "programs of their own, on files",
    "test_files_are_readable_by_their_owner_only": "modes of files",
    "test_no_page_sorts_what_it_examines": "SQLite's plan of a query",
    "index": "SQLite's plan of a query",
    "kill": "programs of their own, on files",
}
"""Parts of the names of tests that say nothing about a server, and why."""


def reason_to_skip(test: str) -> str:
    """Why a test is not run when every console is on a server; empty if it is."""
    return next((reason for part, reason in ABOUT_FILES.items() if part in test), "")


class Databases:
    """A database for each instance folder, made like a template when settings first name the folder."""

    def __init__(self, server: PostgreSQL) -> None:
        self._server = server
        self._of_folder: dict[Path, str] = {}
        self._template = server.create()
        template = Settings(Path("/none"), Path("/none/key"), database_url=server.url(self._template))
        database = open_database(template)
        database.upgrade()
        database.close()

    def url(self, folder: Path) -> str:
        """The address of the folder's database."""
        if folder not in self._of_folder:
            self._of_folder[folder] = self._server.create(self._template)
        return self._server.url(self._of_folder[folder])

    def drop_below(self, folder: Path) -> None:
        """Remove the databases of a test that is over."""
        for each in [path for path in self._of_folder if path.is_relative_to(folder)]:
            self._server.drop(self._of_folder.pop(each))


@contextlib.contextmanager
def every_console_on(server: PostgreSQL) -> Iterator[Databases]:
    """While it is entered, settings without an address have one."""
    databases = Databases(server)
    check = Settings.__post_init__

    def check_and_move(settings: Any) -> None:
        if settings.database_url is None:
            object.__setattr__(settings, "database_url", databases.url(settings.instance))
        check(settings)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Settings, "__post_init__", check_and_move)
        yield databases
