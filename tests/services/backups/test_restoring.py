"""The drill: back up, lose the machine, restore on another; and what a hostile or damaged archive does."""

from __future__ import annotations

import gzip
import io
import json
import random
import sqlite3
import tarfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from dashboard.errors import Kind, StowageError
from dashboard.jobs.lock import LOCK_FILE, RunnerLock
from dashboard.migration.types import Spec, State
from dashboard.services.backends.values import Draft
from dashboard.services.backups import restoring
from dashboard.services.backups.archive import MAX_MANIFEST, verify_archive
from dashboard.services.backups.restoring import restore
from dashboard.services.services import Services
from dashboard.settings import Settings
from dashboard.storage.types import Secret
from tests.services.backups.test_backups import context
from tests.services.composed import add_local, await_state, composed, fill, running
from tests.services.console import ADMIN, PASSWORD


def backed_up(services: Services) -> Path:
    services.backups.request(ADMIN)
    services.backups.run(context())
    return services.settings.instance / "backups" / services.backups.list()[0].key


def on(instance: Path) -> Settings:
    return Settings.from_env({}, instance=instance)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with composed(tmp_path_factory.mktemp("console") / "instance") as services:
        services.setup.complete(services.setup.issue_code(), ADMIN.name, PASSWORD)
        return backed_up(services)


def test_a_lost_machine_is_replaced(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    fill(tmp_path / "here", {f"{n}.bin": 100 for n in range(20)})
    with composed(first) as services:
        services.setup.complete(services.setup.issue_code(), ADMIN.name, PASSWORD)
        add_local(services, "here", tmp_path / "here")
        add_local(services, "there", tmp_path / "there")
        options = {"endpoint": "https://s3.example.com", "bucket": "media", "access_key_id": "AKIA"}
        services.backends.add(ADMIN, Draft("cloud", "s3", options, {"secret_access_key": Secret("s3cr3t")}))
        with running(services):
            number = services.migrations.create(ADMIN, "here", "there", Spec(), approve=True)
            await_state(services, number, State.FINISHED)
            before = services.migrations.progress(number)
            rows = services.migrations.rows(number, limit=100)
        saved = tmp_path / "elsewhere.tar.gz"
        backed_up(services).rename(saved)
        key = services.keys.recovery_key()
    # All that is left is the archive and the recovery key.
    first.rename(tmp_path / "gone")
    done = restore(on(second), saved)
    assert done.kept == ()
    assert sorted(path.name for path in second.iterdir()) == [LOCK_FILE, "stowage.db", "work.db"]
    with composed(second) as services:
        assert services.keys.state().sealed
        services.keys.restore(ADMIN, key.text)
    with composed(second) as services:
        assert not services.keys.state().sealed
        assert [row.name for row in services.backends.list()] == ["local-disk", "cloud", "here", "there"]
        assert services.backends.driver("cloud")
        progress = services.migrations.progress(number)
        assert (progress.state, progress.counters) == (before.state, before.counters)
        assert services.migrations.rows(number, limit=100) == rows
        assert services.accounts.sign_in(ADMIN.name, PASSWORD, "192.0.2.1")


def test_a_console_that_is_there_is_kept_under_another_name(archive: Path, tmp_path: Path) -> None:
    instance = tmp_path / "instance"
    with composed(instance) as services:
        add_local(services, "only-here", tmp_path / "files")
    with pytest.raises(StowageError) as refused:
        restore(on(instance), archive)
    assert refused.value.kind is Kind.CONFLICT
    assert "--replace" in refused.value.remedy
    kept = restore(on(instance), archive, replace=True).kept
    assert [path.name.partition(".before")[0] for path in kept] == ["stowage.db", "work.db"]
    with closing(sqlite3.connect(kept[0])) as connection:
        assert connection.execute("SELECT name FROM backends").fetchall() == [("only-here",)]
    with closing(sqlite3.connect(instance / "stowage.db")) as connection:
        assert connection.execute("SELECT name FROM backends").fetchall() == [("local-disk",)]


def test_a_running_console_is_not_pulled_from_under_its_runner(archive: Path, tmp_path: Path) -> None:
    lock = RunnerLock(tmp_path / LOCK_FILE)
    assert lock.acquire()
    with pytest.raises(StowageError) as refused:
        restore(on(tmp_path), archive, replace=True)
    assert (refused.value.kind, refused.value.remedy) == (Kind.CONFLICT, "Stop it first.")
    lock.release()


@pytest.mark.parametrize("step", range(4))
def test_killed_at_any_step_it_completes_when_run_again(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    instance = tmp_path / "instance"
    with composed(instance) as services:
        add_local(services, "only-here", tmp_path / "files")
    left = [step]

    class Killed(BaseException):
        pass

    def counted(move: Callable[[Path, Path], None]) -> Callable[[Path, Path], None]:
        def call(source: Path, target: Path) -> None:
            if not left[0]:
                raise Killed
            left[0] -= 1
            move(source, target)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(restoring.os, "rename", counted(restoring.os.rename))
        patch.setattr(restoring.os, "replace", counted(restoring.os.replace))
        with pytest.raises(Killed):
            restore(on(instance), archive, replace=True)
    restore(on(instance), archive, replace=True)
    with closing(sqlite3.connect(instance / "stowage.db")) as connection:
        assert connection.execute("SELECT name FROM backends").fetchall() == [("local-disk",)]
    old = []
    for path in instance.glob("stowage.db.before-restore-*"):
        with closing(sqlite3.connect(path)) as connection:
            old += connection.execute("SELECT name FROM backends").fetchall()
    assert ("only-here",) in old


def test_damage_is_found_wherever_it_is(archive: Path, tmp_path: Path) -> None:
    content, whole = archive.read_bytes(), verify_archive(archive)
    noise, found = random.Random(7), 0
    for place in [noise.randrange(20, len(content)) for _ in range(40)]:
        changed = bytearray(content)
        changed[place] ^= 1 << noise.randrange(8)
        (tmp_path / "damaged").write_bytes(changed)
        kind = None
        try:
            manifest_of_damaged = verify_archive(tmp_path / "damaged")
        except StowageError as error:
            kind = error.kind
        # Within a run of zeros another distance unpacks to the same bytes.
        assert kind is Kind.INVALID or manifest_of_damaged == whole
        found += kind is Kind.INVALID
    assert found > 30
    for length in (0, 10, 100, len(content) // 2, len(content) - 600):
        (tmp_path / "damaged").write_bytes(content[:length])
        with pytest.raises(StowageError) as error:
            restore(on(tmp_path / "instance"), tmp_path / "damaged")
        assert error.value.kind is Kind.INVALID
    assert not (tmp_path / "instance" / "stowage.db").exists()


def packed(*members: tuple[str, bytes, bytes]) -> bytes:
    """A gzipped tar of files, each with its name, type and content."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz", format=tarfile.GNU_FORMAT) as tar:
        for name, kind, content in members:
            header = tarfile.TarInfo(name)
            header.type, header.size, header.linkname = kind, len(content), "/etc/passwd"
            tar.addfile(header, io.BytesIO(content))
    return target.getvalue()


def manifest(*names: str, size: int = 1, **more: object) -> bytes:
    files = [{"name": name, "size": size, "sha256": "0" * 64} for name in names]
    whole = {"format": 1, "version": "1", "created_at": 1.0, "key_id": "", "files": files}
    return json.dumps(whole | more).encode()


WHOLE = manifest("stowage.db", "work.db")


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"no archive at all", Kind.INVALID),
        (gzip.compress(b"x" * 5000), Kind.INVALID),
        (packed(("../../evil", tarfile.REGTYPE, b"x")), Kind.INVALID),
        (packed(("manifest.json", tarfile.SYMTYPE, b"")), Kind.INVALID),
        (packed(("manifest.json", tarfile.REGTYPE, b"[" * 60_000)), Kind.INVALID),
        (packed(("manifest.json", tarfile.REGTYPE, b" " * (MAX_MANIFEST + 1))), Kind.INVALID),
        (packed(("manifest.json", tarfile.REGTYPE, b'{"format": 1}')), Kind.INVALID),
        (packed(("manifest.json", tarfile.REGTYPE, manifest("../../evil", "work.db"))), Kind.INVALID),
        (packed(("manifest.json", tarfile.REGTYPE, manifest("stowage.db"))), Kind.INVALID),
        (
            packed(("manifest.json", tarfile.REGTYPE, manifest("stowage.db", "work.db", size=-1))),
            Kind.INVALID,
        ),
        (
            packed(("manifest.json", tarfile.REGTYPE, manifest("stowage.db", "work.db", size=1 << 62))),
            Kind.FULL,
        ),
        (packed(("manifest.json", tarfile.REGTYPE, manifest(format=2))), Kind.CONFLICT),
        (packed(("manifest.json", tarfile.REGTYPE, WHOLE), ("../evil", tarfile.REGTYPE, b"x")), Kind.INVALID),
        (
            packed(("manifest.json", tarfile.REGTYPE, WHOLE), ("stowage.db", tarfile.SYMTYPE, b"")),
            Kind.INVALID,
        ),
        (
            packed(("manifest.json", tarfile.REGTYPE, WHOLE), ("stowage.db", tarfile.REGTYPE, b"x")),
            Kind.INVALID,
        ),
        (packed(("manifest.json", tarfile.REGTYPE, WHOLE)), Kind.INVALID),
        (packed(("manifest.json", b"x", b"1000000000 path=x\n")), Kind.INVALID),
    ],
    ids=[
        "no archive",
        "zip of no tar",
        "path outside",
        "manifest is a link",
        "deep manifest",
        "long manifest",
        "manifest without files",
        "manifest with a path outside",
        "manifest of one file",
        "negative size",
        "larger than the disk",
        "newer format",
        "file with a path outside",
        "file is a link",
        "other content",
        "file missing",
        "extended header",
    ],
)
def test_a_hostile_archive_is_refused_and_writes_nothing(tmp_path: Path, content: bytes, kind: Kind) -> None:
    (tmp_path / "archive").write_bytes(content)
    with pytest.raises(StowageError) as error:
        restore(on(tmp_path / "instance"), tmp_path / "archive")
    assert error.value.kind is kind, error.value.reason
    assert [path.name for path in (tmp_path / "instance").iterdir()] == [LOCK_FILE]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archive", "instance"]


def test_a_missing_archive_and_one_of_a_newer_version_are_sentences(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(StowageError) as error:
        restore(on(tmp_path / "instance"), tmp_path / "nowhere")
    assert error.value.kind is Kind.NOT_FOUND
    with composed(tmp_path / "newer") as services:
        with services.database.main.begin() as connection:
            connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
        newer = backed_up(services)
    with pytest.raises(StowageError) as error:
        restore(on(tmp_path / "instance"), newer)
    assert error.value.kind is Kind.CONFLICT
    assert not (tmp_path / "instance" / "stowage.db").exists()
