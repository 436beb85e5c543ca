"""Keys: made once, missed out loud, rotated under way, restored from paper."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import select, update

from dashboard.errors import InvalidInput, Kind, StowageError
from dashboard.models.backends import Backend, BackendSecret
from dashboard.models.console import Setting
from dashboard.services.backends.backends import Draft
from dashboard.services.sealed_rows import binding_of
from dashboard.storage.types import Secret
from dashboard.vault import tokens
from dashboard.vault.keyring import KeyFile
from dashboard.vault.keys import Key, Keyring, to_recovery
from tests.servers.processes import wait_until
from tests.services.console import ADMIN, OPERATOR, ServiceConsole, started

PLAIN = "s3cr3t-access-key-of-a-backend-{}"


def draft(name: str, secret: str) -> Draft:
    return Draft(
        name,
        "minio",
        {"endpoint": "http://127.0.0.1:9", "bucket": "files", "access_key_id": "me"},
        {"secret_access_key": Secret(secret)},
    )


def add(console: ServiceConsole, name: str) -> None:
    console.services.backends.add(ADMIN, draft(name, PLAIN.format(name)))


def opened(console: ServiceConsole, name: str) -> str:
    """The stored secret, opened as a driver would get it."""
    with console.database.read() as session:
        row = session.scalars(select(BackendSecret).join(Backend).where(Backend.name == name)).one()
        return console.services.keys.open(row.sealed, binding_of(row)).reveal()


def ids_in_use(console: ServiceConsole) -> set[str]:
    with console.database.read() as session:
        sealed = [*session.scalars(select(BackendSecret.sealed)), *session.scalars(select(Setting.sealed))]
    return {tokens.key_id_of(token) for token in sealed if token}


@pytest.fixture
def three(console: ServiceConsole) -> ServiceConsole:
    for name in ("one", "two", "three"):
        add(console, name)
    return console


def assert_whole(console: ServiceConsole) -> None:
    assert not console.services.keys.state().sealed
    for name in ("one", "two", "three"):
        assert opened(console, name) == PLAIN.format(name)


def test_a_ciphertext_moved_to_another_row_does_not_open(three: ServiceConsole) -> None:
    with three.database.write() as session:
        rows = {row.backend_id: row for row in session.scalars(select(BackendSecret))}
        first, second = list(rows.values())[:2]
        first.sealed, second.sealed = second.sealed, first.sealed
    for name in ("one", "two"):
        with pytest.raises(StowageError) as caught:
            three.services.backends.driver(name)
        assert caught.value.kind is Kind.DAMAGED
        assert not caught.value.retryable
    three.services.backends.driver("three")
    assert not three.services.keys.state().sealed


def test_a_missing_key_file_seals_the_console_and_makes_no_new_one(
    three: ServiceConsole, instance: Path
) -> None:
    three.settings.key_file.rename(instance / "elsewhere")
    with started(instance) as again:
        state = again.services.keys.state()
        assert state.sealed
        assert "missing" in state.reason
        assert "stowage keys restore" in state.remedy
        for deed in (
            lambda: again.services.backends.driver("one"),
            lambda: again.services.backends.draft_driver(draft("new", "x" * 20)),
            lambda: again.services.backends.add(ADMIN, draft("new", "x" * 20)),
            lambda: again.services.backends.refresh(ADMIN),
            lambda: again.services.keys.rotate(ADMIN),
            lambda: again.services.keys.recovery_key(),
            again.services.keys.require_unsealed,
        ):
            with pytest.raises(StowageError) as caught:
                deed()
            assert caught.value.kind is Kind.SEALED
            assert caught.value.remedy
        assert len(again.services.accounts.session_secret()) == 32
        assert not again.settings.key_file.exists()
        (instance / "elsewhere").rename(again.settings.key_file)
        assert_whole(again)


def test_a_foreign_key_file_seals_the_console_and_stays_as_it_is(
    three: ServiceConsole, instance: Path
) -> None:
    path = three.settings.key_file
    mine = path.read_text()
    path.unlink()
    foreign = Keyring(Key.new())
    KeyFile(path).create(foreign)
    with started(instance) as again:
        state = again.services.keys.state()
        assert state.sealed
        assert "not the one" in state.reason
        with pytest.raises(StowageError) as caught:
            again.services.backends.add(ADMIN, draft("new", "x" * 20))
        assert caught.value.kind is Kind.SEALED
        assert KeyFile(path).read() == foreign
        path.unlink()
        path.write_text(mine)
        path.chmod(0o400)
        assert_whole(again)


def test_a_key_file_open_to_others_seals_the_console_until_it_is_mended(three: ServiceConsole) -> None:
    three.settings.key_file.chmod(0o444)
    state = three.services.keys.state()
    assert state.sealed
    assert "chmod 400" in state.remedy
    three.settings.key_file.chmod(0o400)
    assert_whole(three)


def test_a_running_console_notices_that_the_key_went_away(three: ServiceConsole) -> None:
    three.settings.key_file.rename(three.settings.instance / "elsewhere")
    assert three.services.keys.state().sealed


def test_rotation_seals_everything_anew_and_drops_the_old_key(three: ServiceConsole) -> None:
    before = three.services.keys.state().key_id
    rotation = three.services.keys.rotate(ADMIN)
    assert rotation.rows == 6
    assert rotation.key_id != before
    assert rotation.recovery_key not in repr(rotation)
    assert ids_in_use(three) == {rotation.key_id}
    ring = KeyFile(three.settings.key_file).read()
    assert ring is not None
    assert ring.ids() == {rotation.key_id}
    assert to_recovery(ring.current) == rotation.recovery_key
    assert_whole(three)
    actions = [(row.action, row.outcome) for row in three.services.audit.rows(limit=2)]
    assert actions == [("keys.rotate", "done"), ("keys.rotate", "begun")]


def test_another_process_sees_a_rotation_at_once(three: ServiceConsole, instance: Path) -> None:
    with started(instance) as other:
        assert_whole(other)
        three.services.keys.rotate(ADMIN)
        assert_whole(other)
        add(other, "four")
        assert ids_in_use(other) == {three.services.keys.state().key_id}
        assert opened(three, "four") == PLAIN.format("four")


def test_secrets_sealed_while_a_rotation_runs_are_not_lost(three: ServiceConsole, instance: Path) -> None:
    """Many writers in other threads with key caches of their own, against rotation after rotation."""
    stop = threading.Event()
    added: list[str] = []
    errors: list[BaseException] = []

    def write(number: int) -> None:
        try:
            with started(instance) as other:
                while not stop.is_set():
                    name = f"w{number}-{len(added)}"
                    add(other, name)
                    added.append(name)
                    other.services.backends.driver(name)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(5):
            three.services.keys.rotate(ADMIN)
        wait_until(lambda: bool(errors) or len(added) > 10, seconds=60, what="ten more secrets")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not errors
    for name in added:
        assert opened(three, name) == PLAIN.format(name)
    assert_whole(three)


class _Killed(BaseException):
    """Stands for kill -9 at this very point."""


@pytest.mark.parametrize("at", range(1, 12))
def test_a_rotation_cut_short_at_any_step_can_be_run_again(
    three: ServiceConsole, instance: Path, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut before and after every change of the key file and every commit; 11 points in all."""
    points = 0

    def point() -> None:
        nonlocal points
        points += 1
        if points == at:
            raise _Killed

    replace, write = KeyFile.replace, type(three.database).write

    def counted_replace(self: KeyFile, ring: Keyring) -> None:
        point()
        replace(self, ring)
        point()

    @contextmanager
    def counted_write(self: object) -> Iterator[object]:
        with write(three.database) as session:
            yield session
        point()

    with monkeypatch.context() as patch:
        patch.setattr(KeyFile, "replace", counted_replace)
        patch.setattr(type(three.database), "write", counted_write)
        try:
            three.services.keys.rotate(ADMIN)
        except _Killed:
            pass
        else:
            assert points == at - 1 == 10, "there are as many points as this test is run for"
    with started(instance) as again:
        assert_whole(again)
        rotation = again.services.keys.rotate(ADMIN)
        assert_whole(again)
        assert ids_in_use(again) == {rotation.key_id}
        ring = KeyFile(again.settings.key_file).read()
        assert ring is not None
        assert ring.ids() == {rotation.key_id}


ROTATE_FOREVER = """
import sys
from pathlib import Path
from tests.services.console import ADMIN, started
with started(Path(sys.argv[1])) as console:
    print("ready", flush=True)
    while True:
        console.services.keys.rotate(ADMIN)
"""


def test_a_rotation_killed_with_sigkill_loses_nothing(three: ServiceConsole, instance: Path) -> None:
    rng = random.Random(20)
    for _ in range(8):
        child = subprocess.Popen(
            [sys.executable, "-c", ROTATE_FOREVER, str(instance)], stdout=subprocess.PIPE, cwd=Path.cwd()
        )
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        time.sleep(rng.uniform(0.0, 0.15))
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        with started(instance) as again:
            assert_whole(again)
    rotation = three.services.keys.rotate(ADMIN)
    assert ids_in_use(three) == {rotation.key_id}
    assert sorted(p.name for p in instance.glob("*key*")) == ["stowage.key"]


def test_a_damaged_secret_does_not_stop_the_others_from_rotating(three: ServiceConsole) -> None:
    with three.database.write() as session:
        row = session.scalars(select(BackendSecret)).first()
        assert row is not None
        broken_id = row.backend_id
        row.sealed = row.sealed[:-8] + "AAAAAAAA"
    with pytest.raises(StowageError) as caught:
        three.services.keys.rotate(ADMIN)
    assert caught.value.kind is Kind.DAMAGED
    # The secret is entered again; then the rotation ends and the old key goes.
    name = three.services.backends.name_of(broken_id)
    assert name is not None
    info = three.services.backends.get(name)
    again = draft(name, PLAIN.format(name))
    three.services.backends.edit(
        ADMIN, Draft(name, again.preset, dict(info.options), again.secrets, existing=name)
    )
    rotation = three.services.keys.rotate(ADMIN)
    assert ids_in_use(three) == {rotation.key_id}
    assert_whole(three)


def test_the_recovery_key_writes_a_lost_file_again(three: ServiceConsole) -> None:
    keys = three.services.keys
    recovery = keys.recovery_key()
    three.settings.key_file.unlink()
    assert keys.state().sealed
    state = keys.restore(ADMIN, recovery.text.lower())
    assert (state.sealed, state.key_id) == (False, recovery.key_id)
    assert_whole(three)
    assert keys.restore(ADMIN, recovery.text) == state


def test_a_recovery_key_that_opens_nothing_here_changes_nothing(three: ServiceConsole) -> None:
    before = three.settings.key_file.read_bytes()
    for text in (to_recovery(Key.new()), "", "AAAA-" * 14):
        with pytest.raises(InvalidInput) as caught:
            three.services.keys.restore(ADMIN, text)
        assert caught.value.subject == "recovery_key"
    assert three.settings.key_file.read_bytes() == before


def test_restoring_keeps_a_foreign_key_file_aside(three: ServiceConsole, instance: Path) -> None:
    recovery = three.services.keys.recovery_key()
    path = three.settings.key_file
    path.unlink()
    foreign = Keyring(Key.new())
    KeyFile(path).create(foreign)
    three.services.keys.restore(ADMIN, recovery.text)
    assert_whole(three)
    (aside,) = instance.glob("stowage.key.old-*")
    assert KeyFile(aside).read() == foreign


def test_after_a_rotation_cut_short_both_recovery_keys_are_needed_and_enough(three: ServiceConsole) -> None:
    old = three.services.keys.recovery_key()
    three.services.keys._add_key(ADMIN)
    new = three.services.keys.recovery_key()
    add(three, "four")
    three.settings.key_file.unlink()
    assert three.services.keys.restore(ADMIN, new.text).sealed
    assert not three.services.keys.restore(ADMIN, old.text).sealed
    three.services.keys.rotate(ADMIN)
    assert_whole(three)
    assert opened(three, "four") == PLAIN.format("four")


def test_only_administrators_touch_the_keys(three: ServiceConsole) -> None:
    for deed in (
        lambda actor: three.services.keys.rotate(actor),
        lambda actor: three.services.keys.restore(actor, "AAAA"),
    ):
        with pytest.raises(StowageError) as caught:
            deed(OPERATOR)
        assert caught.value.kind is Kind.FORBIDDEN


def test_a_key_file_that_was_there_before_the_first_run_is_used(tmp_path: Path) -> None:
    tmp_path.joinpath("instance").mkdir()
    ring = Keyring(Key.new())
    KeyFile(tmp_path / "instance" / "stowage.key").create(ring)
    with started(tmp_path / "instance") as console:
        assert console.services.keys.state().key_id == ring.current.id


def test_a_database_restored_without_its_key_is_sealed(three: ServiceConsole, tmp_path: Path) -> None:
    three.database.close()
    elsewhere = tmp_path / "restored"
    elsewhere.mkdir()
    for path in three.settings.instance.glob("*.db*"):
        shutil.copy(path, elsewhere)
    with started(elsewhere) as console:
        assert console.services.keys.state().sealed
        assert not console.settings.key_file.exists()
        assert os.listdir(elsewhere).count("stowage.key") == 0
    # Once more: a second start must not mistake itself for a first one either.
    with started(elsewhere) as console:
        assert console.services.keys.state().sealed


def test_text_in_place_of_a_token_damages_that_secret_only(three: ServiceConsole) -> None:
    with three.database.write() as session:
        session.execute(update(BackendSecret).where(BackendSecret.backend_id == 2).values(sealed="nonsense"))
    assert not three.services.keys.state().sealed
    with pytest.raises(StowageError) as caught:
        three.services.backends.driver("one")
    assert caught.value.kind is Kind.DAMAGED
