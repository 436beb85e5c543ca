"""The first run happens once, for whoever holds the code."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

import pytest

from dashboard.errors import InvalidInput, Kind, StowageError
from dashboard.services.backends.status import Badge
from dashboard.services.permissions import Actor, Role
from dashboard.vault.keys import from_recovery
from tests.services.console import PASSWORD, ServiceConsole, started


def test_setup_makes_an_administrator_a_green_backend_and_a_recovery_key(fresh: ServiceConsole) -> None:
    services = fresh.services
    assert services.setup.needed()
    recovery = services.setup.complete(services.setup.issue_code(), "ada", PASSWORD)
    assert not services.setup.needed()
    assert from_recovery(recovery.text).id == services.keys.state().key_id == recovery.key_id
    assert recovery.text not in repr(recovery)
    (backend,) = services.backends.list()
    assert (backend.name, backend.active, backend.status.badge) == ("local-disk", True, Badge.HEALTHY)
    assert backend.options["root"] == str(fresh.settings.instance / "files")
    (user,) = services.accounts.list()
    assert (user.username, user.role) == ("ada", Role.ADMIN)
    assert [row.action for row in services.audit.rows()] == ["setup", "backend.add"]


def test_files_are_readable_by_their_owner_only(console: ServiceConsole) -> None:
    for path in (console.settings.database, console.settings.work_database):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(console.settings.key_file.stat().st_mode) == 0o400
    assert stat.S_IMODE((console.settings.instance / "files").stat().st_mode) == 0o700


def test_only_the_latest_code_works_and_only_its_hash_is_stored(
    fresh: ServiceConsole, instance: Path
) -> None:
    setup = fresh.services.setup
    older, latest = setup.issue_code(), setup.issue_code()
    with pytest.raises(InvalidInput) as caught:
        setup.check_code(older)
    assert caught.value.subject == "code"
    setup.check_code(latest)
    setup.check_code(latest.lower().replace("-", " "))
    for path in instance.iterdir():
        if path.is_file():
            assert latest.encode() not in path.read_bytes()


def test_a_second_setup_is_refused(console: ServiceConsole) -> None:
    setup = console.services.setup
    cli = Actor("root", Role.ADMIN, "cli")
    for attempt in (
        lambda: setup.complete(None, "eve", PASSWORD, actor=cli),
        lambda: setup.complete("AAAA-BBBB-CCCC", "eve", PASSWORD),
        setup.issue_code,
    ):
        with pytest.raises(StowageError) as caught:
            attempt()
        assert caught.value.kind is Kind.CONFLICT
    assert [user.username for user in console.services.accounts.list()] == ["ada"]


def test_of_many_at_once_one_succeeds(fresh: ServiceConsole) -> None:
    setup = fresh.services.setup
    code = setup.issue_code()
    outcomes: list[str] = []

    def run(name: str) -> None:
        try:
            setup.complete(code, name, PASSWORD)
            outcomes.append("done")
        except StowageError as error:
            outcomes.append(error.kind.value)

    threads = [threading.Thread(target=run, args=(f"user{n}",)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["conflict"] * 5 + ["done"]
    assert len(fresh.services.accounts.list()) == 1


def test_a_wrong_code_or_password_changes_nothing(fresh: ServiceConsole) -> None:
    setup = fresh.services.setup
    code = setup.issue_code()
    for arguments, field in (
        (("WRON-GCOD-EEEE", "ada", PASSWORD), "code"),
        ((None, "ada", PASSWORD), "code"),
        ((code, "Ada!", PASSWORD), "username"),
        ((code, "ada", "short"), "password"),
    ):
        with pytest.raises(InvalidInput) as caught:
            setup.complete(*arguments)  # type: ignore[arg-type]
        assert caught.value.subject == field
    assert setup.needed()
    assert fresh.services.backends.list() == ()
    setup.complete(code, "ada", PASSWORD)


def test_the_command_line_needs_no_code(fresh: ServiceConsole) -> None:
    actor = Actor("root", Role.ADMIN, "cli")
    fresh.services.setup.complete(None, "ada", PASSWORD, actor=actor)
    assert {row.via for row in fresh.services.audit.rows()} == {"cli"}


def test_a_restart_remembers(console: ServiceConsole, instance: Path) -> None:
    with started(instance) as again:
        assert not again.services.setup.needed()
        assert again.services.keys.state() == console.services.keys.state()
        assert again.services.accounts.session_secret() == console.services.accounts.session_secret()
