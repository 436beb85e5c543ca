"""The settings file on disk: nothing hostile is read, and nothing is ever half."""

from __future__ import annotations

import errno
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from dashboard.envfile import store
from dashboard.envfile.backups import KEPT, Backups
from dashboard.envfile.store import MAX_BYTES, MISSING, EnvFile
from dashboard.errors import Kind, StowageError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "instance"
    folder.mkdir(mode=0o700)
    return folder / ".env"


def put(path: Path, data: bytes = b"A=1\n", mode: int = 0o600) -> EnvFile:
    path.write_bytes(data)
    path.chmod(mode)
    return EnvFile(path)


def refusal(path: Path) -> StowageError:
    with pytest.raises(StowageError) as caught:
        EnvFile(path).read()
    assert caught.value.kind is Kind.DENIED
    assert caught.value.remedy
    return caught.value


def test_a_missing_file_is_empty_and_appears_with_its_first_change(path: Path) -> None:
    file = EnvFile(path)
    assert (file.read().version, file.read().exists) == (MISSING, False)
    with file.changing() as change:
        change.replace(b"A=1\n")
    assert file.read().document.values == {"A": "1"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert EnvFile(path.parent / "none" / ".env").read().exists is False


def test_what_is_no_plain_file_of_ours_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = path.with_name("secret")
    put(target)
    path.symlink_to(target)
    assert "symbolic link" in refusal(path).reason
    with pytest.raises(StowageError, match="symbolic link"), EnvFile(path).changing():
        pass
    path.unlink()
    os.mkfifo(path)
    assert "not a regular file" in refusal(path).reason
    path.unlink()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path)[-100:] if len(str(path)) > 100 else str(path))
        refusal(path)
    path.unlink()
    path.mkdir()
    refusal(path)
    path.rmdir()
    put(path, b"x" * (MAX_BYTES + 1))
    assert "larger than" in refusal(path).reason
    put(path, "A=1\n".encode("utf-16"))
    assert "not a text file" in refusal(path).reason
    put(path, mode=0o622)
    assert "can be changed by others" in refusal(path).reason
    put(path)
    monkeypatch.setattr(os, "geteuid", lambda: 4_000_000)
    if os.getuid():
        assert "another" in refusal(path).reason or "others" in refusal(path).reason


def test_a_folder_that_others_may_change_is_refused(path: Path) -> None:
    put(path)
    path.parent.chmod(0o777)
    assert "others may change" in refusal(path).reason


def test_a_file_that_grows_while_it_is_read_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(path, b"#" * 10)
    monkeypatch.setattr(store, "MAX_BYTES", 4)
    with pytest.raises(StowageError, match="larger than"):
        EnvFile(path).read()


def test_mode_is_kept_and_a_readable_file_is_warned_about(path: Path) -> None:
    file = put(path, mode=0o640)
    with file.changing() as change:
        change.replace(b"A=2\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert "chmod 600" in file.read().warning
    path.chmod(0o600)
    assert file.read().warning == ""


def test_a_hard_link_is_not_broken(path: Path) -> None:
    file = put(path)
    os.link(path, path.with_name("other"))
    with pytest.raises(StowageError, match="second name"), file.changing() as change:
        change.replace(b"A=2\n")
    assert path.read_bytes() == b"A=1\n"


def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = put(path)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StowageError, match="No space left"), file.changing() as change:
        change.replace(b"A=2\n")
    assert path.read_bytes() == b"A=1\n"
    assert sorted(each.name for each in path.parent.iterdir()) == [".env", ".env.lock"]


def test_a_file_mounted_by_itself_says_what_to_do(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = put(path)

    def busy(*_: object, **__: object) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy")

    monkeypatch.setattr(os, "rename", busy)
    with pytest.raises(StowageError, match="mounted by itself"), file.changing() as change:
        change.replace(b"A=2\n")


def test_writers_wait_for_each_other_and_none_is_lost(path: Path) -> None:
    file = put(path, b"N=0\n")

    def count() -> None:
        for _ in range(10):
            with EnvFile(path).changing() as change:
                document = change.before.document
                change.replace(document.edit({"N": str(int(document.values["N"]) + 1)}).data)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert file.read().document.values == {"N": "40"}


def test_a_writer_that_does_not_finish_is_not_waited_for_forever(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = put(path)
    monkeypatch.setattr(store, "LOCK_SECONDS", 0.0)
    with file.changing(), pytest.raises(StowageError) as caught, EnvFile(path).changing():
        pass
    assert caught.value.kind is Kind.LOCKED


def test_backups_are_private_bounded_and_checked(path: Path) -> None:
    file = put(path, b"N=0\n")
    backups = Backups(file)
    assert backups.list() == ()
    for number in range(KEPT + 3):
        with file.changing() as change:
            backups.add(change, by="ada", before=f"change {number}")
            change.replace(f"N={number + 1}\n".encode())
    found = backups.list()
    assert [each.before for each in found] == [f"change {n}" for n in range(KEPT + 2, 2, -1)]
    assert (found[0].by, backups.read(found[0].id).values) == ("ada", {"N": str(KEPT + 2)})
    assert stat.S_IMODE(backups.folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(each.stat().st_mode) for each in backups.folder.iterdir()} == {0o600}
    kept = backups.folder / f"{found[1].id}.env"
    kept.write_bytes(b"EVIL=1\n")
    with pytest.raises(StowageError, match="was changed since"):
        backups.read(found[1].id)
    kept.unlink()
    kept.symlink_to(path)
    with pytest.raises(StowageError):
        backups.read(found[1].id)
    for id in ("../../etc/passwd", "", "1", f"{found[0].id}\n"):
        with pytest.raises(StowageError, match="no such backup"):
            backups.read(id)


def test_a_folder_of_backups_that_is_a_link_is_refused(path: Path, tmp_path: Path) -> None:
    file = put(path)
    (path.parent / "env-backups").symlink_to(tmp_path)
    with pytest.raises(StowageError), file.changing() as change:
        Backups(file).add(change, by="ada", before="x")
    assert path.read_bytes() == b"A=1\n"


WRITER = """
import sys
from pathlib import Path
from dashboard.envfile.backups import Backups
from dashboard.envfile.store import EnvFile
file = EnvFile(Path(sys.argv[1]))
print("ready", flush=True)
for number in range(1, 1_000_000):
    with file.changing() as change:
        Backups(file).add(change, by="ada", before=str(number))
        change.replace((f"N={number}\\n" + "# filling\\n" * 4000).encode())
"""


def kill_a_writer(path: Path, after: float) -> int:
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    assert writer.stdout.readline() == b"ready\n"
    threading.Event().wait(after)
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    writer.stdout.close()
    snapshot = EnvFile(path).read()
    number = int(snapshot.document.values["N"])
    assert snapshot.document.data == f"N={number}\n".encode() + b"# filling\n" * 4000
    for backup in Backups(EnvFile(path)).list():
        assert Backups(EnvFile(path)).read(backup.id).data.endswith(b"# filling\n")
    with EnvFile(path).changing() as change:
        change.replace(change.before.document.data)
    assert [name for name in os.listdir(path.parent) if ".new-" in name] == []
    return number


def first(path: Path) -> None:
    put(path, b"N=0\n" + b"# filling\n" * 4000)


def test_a_writer_killed_at_any_moment_leaves_a_whole_file(path: Path) -> None:
    first(path)
    for step in range(3):
        kill_a_writer(path, 0.011 * step)


@pytest.mark.torture
def test_a_writer_killed_at_a_hundred_moments_leaves_a_whole_file(path: Path) -> None:
    first(path)
    reached = [kill_a_writer(path, 0.003 * step) for step in range(100)]
    assert len(set(reached)) > 2
