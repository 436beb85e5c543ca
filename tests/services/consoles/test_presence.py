"""Consoles on one database find out at their start that they belong together."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import update

from dashboard.errors import Kind, StowageError
from dashboard.models.consoles import Process
from dashboard.services.cluster.job_routes import keep_folder, shares_files
from dashboard.services.consoles import console_processes as processes
from dashboard.services.consoles import presence, shared_folder
from dashboard.services.consoles.console_processes import Processes
from dashboard.services.consoles.presence import Presence
from dashboard.services.consoles.server_lock import ServerLock
from dashboard.services.database import Database, open_database
from dashboard.settings import Settings
from tests.servers.processes import wait_until


@pytest.fixture
def on_machine(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """What follows happens in a process of that machine."""

    def move(name: str) -> None:
        monkeypatch.setattr(processes, "this_process", lambda: f"boot-of-{name}/pid:[1]/7@9")
        monkeypatch.setattr(processes.socket, "gethostname", lambda: name)

    return move


def folder(path: Path) -> Path:
    path.mkdir()
    return path


def test_two_with_one_folder_serve_side_by_side(
    server: Database, tmp_path: Path, on_machine: Callable[[str], None]
) -> None:
    shared, turns = folder(tmp_path / "shared"), threading.Event()
    on_machine("web-1")
    first = Presence(shared, server).start("0.0.0.0:8080")
    on_machine("web-2")
    second = Presence(shared, server, each_second=turns.set).start("0.0.0.0:8081")
    assert [each.name for each in Processes(server).list()] == ["web-1:8080", "web-2:8081"]
    assert len(list((shared / shared_folder.FOLDER).iterdir())) == 2
    assert turns.wait(60)
    second.stop()
    second.stop()
    assert [each.name for each in Processes(server).list()] == ["web-1:8080"]
    on_machine("web-1")
    first.stop()
    assert list((shared / shared_folder.FOLDER).iterdir()) == []


def test_a_worker_with_a_copy_of_the_folder_does_not_share_it(server: Database, tmp_path: Path) -> None:
    shared, copy = folder(tmp_path / "shared"), tmp_path / "copy"
    keep_folder(server, shared)
    shutil.copytree(shared, copy)
    present = Presence(shared, server).start("0.0.0.0:8080")
    try:
        assert shares_files(server, shared)
        assert not shares_files(server, copy, wait=None)
    finally:
        present.stop()
    # Without a console there is only the id, which an empty folder does not have.
    assert shares_files(server, shared)
    assert not shares_files(server, folder(tmp_path / "other"))


def test_one_with_another_folder_is_refused_while_the_first_runs(
    server: Database,
    tmp_path: Path,
    on_machine: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shared_folder, "SEEN_SECONDS", 0.0)
    here, there = folder(tmp_path / "here"), folder(tmp_path / "there")
    on_machine("web-1")
    first = Presence(here, server).start("0.0.0.0:8080")
    on_machine("web-2")
    with pytest.raises(StowageError, match="web-1:8080") as refused:
        Presence(there, server).start("0.0.0.0:8080")
    assert refused.value.kind is Kind.CONFLICT
    assert str(there) in refused.value.reason
    assert "STOWAGE_INSTANCE" in refused.value.remedy
    # Nothing is left of it, and it runs no jobs either: what was uploaded is in the other folder.
    assert [each.name for each in Processes(server).list()] == ["web-1:8080"]
    assert list((there / shared_folder.FOLDER).iterdir()) == []
    assert not ServerLock(server, there).acquire()
    lock = ServerLock(server, here)
    assert lock.acquire()
    lock.release()
    # A copy of the folder is not the folder: what is put into one does not show in the other.
    on_machine("web-1")
    first.stop()
    on_machine("web-2")
    Presence(there, server).start("0.0.0.0:8080").stop()


def test_a_killed_console_is_in_nobodys_way_for_long(
    server: Database, tmp_path: Path, on_machine: Callable[[str], None]
) -> None:
    on_machine("web-1")
    Processes(server).beat("web", address="0.0.0.0:8080", marker="ab12", active=True)
    with server.write() as session:
        session.execute(update(Process).values(seen_at=Process.seen_at - processes.LATE_SECONDS - 1))
    on_machine("web-2")
    Presence(folder(tmp_path / "new"), server).start("0.0.0.0:8080").stop()


def test_a_marker_that_shows_up_late_counts(
    server: Database, tmp_path: Path, on_machine: Callable[[str], None]
) -> None:
    shared = folder(tmp_path / "shared")
    (shared / shared_folder.FOLDER).mkdir()
    on_machine("web-1")
    Processes(server).beat("web", address="0.0.0.0:8080", marker="ab12", active=True)
    looks: list[float] = []

    def wait(seconds: float) -> bool:
        looks.append(seconds)
        (shared / shared_folder.FOLDER / "ab12").touch()
        return False

    assert shared_folder.console_elsewhere(shared, Processes(server), wait=wait) is None
    assert len(looks) == 1


@pytest.mark.parametrize("marker", ["../../../etc/passwd", "", "ab/12"])
def test_a_marker_from_the_database_is_no_path(tmp_path: Path, marker: str) -> None:
    assert not shared_folder._has(tmp_path, marker)


@pytest.mark.parametrize("seconds", [-60.0, 60.0])
def test_a_wrong_clock_is_refused(
    server: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    clock = SimpleNamespace(time=lambda: time.time() + seconds, monotonic=time.monotonic)
    monkeypatch.setattr(presence, "time", clock)
    with pytest.raises(StowageError, match="clock") as refused:
        Presence(tmp_path, server).start("0.0.0.0:8080")
    assert "NTP" in refused.value.remedy
    assert Processes(server).list() == ()


def test_a_row_that_was_lost_comes_back(
    server: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "BEAT_SECONDS", 0.1)
    monkeypatch.setattr(presence, "TURN_SECONDS", 0.05)
    present = Presence(tmp_path, server).start("0.0.0.0:8080")
    Processes(server).leave()
    wait_until(lambda: bool(Processes(server).list()), seconds=120, what="a sign of life")
    present.stop()


def test_on_files_nothing_is_asked_or_stored(tmp_path: Path) -> None:
    settings = Settings.from_env({}, instance=tmp_path)
    alone = open_database(settings)
    alone.upgrade()
    Presence(tmp_path, alone).start("127.0.0.1:8080").stop()
    assert not (tmp_path / shared_folder.FOLDER).exists()
    assert Processes(alone).list() == ()
    alone.close()
