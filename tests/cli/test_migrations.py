"""``stowage migrate`` and ``stowage migrations``, with and without a console."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import re
import select
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dashboard.migration.plan import plan
from dashboard.services.engines import PRAGMAS
from tests.cli.conftest import Cli
from tests.storage.locked import LOCKED, Locked

ROOT = Path(__file__).resolve().parents[2]
STOWAGE = (sys.executable, "-m", "dashboard")
SLOWLY = ("migrate", "local-disk", "other", "--yes", "--workers", "1", "--objects-per-second", "5")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_migrate_copies_everything_and_says_so(console: Cli, files: Path, tmp_path: Path) -> None:
    answer = console("migrate", "local-disk", "other", "--yes", "--json")
    assert answer.code == 0, answer.err
    done = answer.document
    assert (done["state"], done["outcome"], done["percent"]) == ("finished", "clean", 100.0)
    assert done["counters"]["verified"] == 30
    assert contents(tmp_path / "other") == contents(files)
    again = console("migrate", "local-disk", "other", "--yes")
    assert again.code == 0
    assert "with skips" in again.out
    assert re.search(r"skipped +30 objects", again.out)


def test_a_dry_run_copies_nothing(console: Cli, files: Path, tmp_path: Path) -> None:
    answer = console("migrate", "local-disk", "other", "--dry-run", "--include", "folder-1/**")
    assert answer.code == 0, answer.err
    assert re.search(r"copy +10 objects", answer.out)
    assert contents(tmp_path / "other") == {}
    assert len(contents(files)) == 30


def test_without_a_terminal_it_wants_a_yes_before_it_makes_anything(console: Cli, files: Path) -> None:
    assert files.exists()
    answer = console("migrate", "local-disk", "other")
    assert answer.code == 2
    assert "--yes" in answer.err
    assert console("migrations", "list", "--json").document == {"migrations": []}


def test_failed_objects_are_exit_code_1_and_can_be_retried(console: Cli, files: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "other" / "folder-0"
    blocked.write_text("a file where a folder is needed")
    answer = console("migrate", "local-disk", "other", "--yes", "--json")
    assert answer.code == 1
    done = answer.document
    assert done["outcome"] == "with_errors"
    assert done["counters"]["failed"] == 10
    assert sum(group["objects"] for group in done["failures"]) == 10
    assert "retry-failed 1" in answer.err
    blocked.unlink()
    retried = console("migrations", "retry-failed", "1", "--json")
    assert retried.code == 0, retried.err
    assert contents(tmp_path / "other") == contents(files)


@pytest.fixture
def work_database(instance: Path, console: Cli, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of the ledgers, with little patience of SQLite's own."""
    impatient = tuple(each.replace("5000", "300") for each in PRAGMAS)
    monkeypatch.setattr("dashboard.services.engines.PRAGMAS", impatient)
    assert console("backend", "list").code == 0
    return instance / "work.db"


@pytest.mark.parametrize("name", ["work.db", "stowage.db"])
def test_a_database_that_is_locked_for_a_while_is_waited_for(
    console: Cli, files: Path, work_database: Path, tmp_path: Path, name: str
) -> None:
    lock = sqlite3.connect(work_database.with_name(name), isolation_level=None, check_same_thread=False)
    hook: list[threading.Timer] = []

    def lock_for_a_while(*_: object) -> None:
        if not hook:
            lock.execute("BEGIN IMMEDIATE")
            hook.append(threading.Timer(0.6, lock.rollback))
            hook[0].start()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dashboard.migration.run.plan", _before(lock_for_a_while))
        answer = console("migrate", "local-disk", "other", "--yes")
    hook[0].join()
    lock.close()
    assert answer.code == 0, answer.err
    assert contents(tmp_path / "other") == contents(files)


def test_a_ledger_that_stays_locked_is_no_matter_of_disk_room(
    console: Cli, files: Path, work_database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert files.exists()
    monkeypatch.setattr("dashboard.services.engines.BUSY_SECONDS", 0.2)
    lock = sqlite3.connect(work_database, isolation_level=None, check_same_thread=False)
    monkeypatch.setattr("dashboard.migration.run.plan", _before(lambda: lock.execute("BEGIN IMMEDIATE")))
    answer = console("migrate", "local-disk", "other", "--yes")
    lock.close()
    assert answer.code == 1
    assert "work.db) locked" in answer.out
    assert "room" not in answer.out + answer.err
    monkeypatch.undo()
    assert console("migrations", "resume", "1").code == 0


def _before(first: Callable[[], object]) -> Callable[..., object]:
    def planned(*arguments: Any, **more: Any) -> object:
        first()
        return plan(*arguments, **more)

    return planned


def test_an_unreadable_folder_stops_nothing_else(
    console: Cli, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (files / LOCKED).mkdir()
    (files / LOCKED / "inside").write_bytes(b"x")
    lock = Locked(monkeypatch)
    counted = console("backend", "count", "local-disk")
    assert counted.code == 0
    assert "30 objects" in counted.out
    assert "1 folder could not be read" in counted.err
    assert "1 folder could not be read" in console("backend", "show", "local-disk").out
    answer = console("migrate", "local-disk", "other", "--yes")
    assert answer.code == 1
    assert f"For example: {LOCKED}/" in answer.err
    assert len(contents(tmp_path / "other")) == 30
    assert console("migrate", "local-disk", "other", "--yes", "--exclude", f"{LOCKED}/**").code == 0
    lock.release()
    retried = console("migrations", "retry-failed", "1")
    assert retried.code == 0, retried.err
    assert "1 object to retry" in retried.err
    assert contents(tmp_path / "other") == contents(files)
    assert "1 folder" not in console("backend", "count", "local-disk").err


def test_a_line_break_in_a_key_makes_no_line_of_its_own(console: Cli, files: Path, tmp_path: Path) -> None:
    (tmp_path / "other" / "blocked").write_text("a file where a folder is needed")
    (files / "blocked").mkdir()
    (files / "blocked" / "a\nmigration  99: clean\r").write_bytes(b"x")
    answer = console("migrate", "local-disk", "other", "--yes")
    assert answer.code == 1
    assert r"For example: blocked/a\nmigration  99: clean\r" in answer.err
    report = console("migrations", "report", "1").out
    assert r'"blocked/a\nmigration  99: clean\r","' in report
    assert report.count("\n") == 32
    objects = console("migrations", "report", "1", "--json").document["objects"]
    assert "blocked/a\nmigration  99: clean\r" in {one["key"] for one in objects}


def test_the_report_is_csv_or_one_document(console: Cli, files: Path, tmp_path: Path) -> None:
    assert console("migrate", "local-disk", "other", "--yes").code == 0
    rows = list(csv.DictReader(io.StringIO(console("migrations", "report", "1").out)))
    assert {row["key"] for row in rows} == contents(files).keys()
    objects = console("migrations", "report", "1", "--json").document["objects"]
    assert {one["key"] for one in objects} == contents(files).keys()
    path = tmp_path / "report.csv"
    assert console("migrations", "report", "1", "--output", str(path)).code == 0
    assert path.read_text(encoding="utf-8").count("\n") == 31
    unwritable = console("migrations", "report", "1", "--output", "/proc/nowhere/x")
    assert unwritable.code == 1
    assert "Traceback" not in unwritable.err


def test_list_and_show_tell_how_it_went(console: Cli, files: Path) -> None:
    assert files.exists()
    assert console("migrate", "local-disk", "other", "--prefix", "folder-2/", "--yes").code == 0
    assert "finished" in console("migrations", "list").out
    shown = console("migrations", "show", "1", "--json").document
    assert shown["command"] == "stowage migrate local-disk other --prefix folder-2/"
    assert shown["counters"]["found"] == 10
    assert "10 objects" in console("migrations", "show", "1").out


def test_a_finished_migration_cannot_be_steered(console: Cli, files: Path) -> None:
    assert files.exists()
    assert console("migrate", "local-disk", "other", "--yes").code == 0
    for deed in ("pause", "resume", "cancel", "retry-failed"):
        answer = console("migrations", deed, "1", "--json")
        assert answer.code == 1, deed
        assert answer.document["error"]["kind"] == "conflict"


def test_detach_needs_a_console(console: Cli, files: Path) -> None:
    assert files.exists()
    answer = console("migrations", "resume", "1", "--detach")
    assert answer.code == 2
    assert "stowage run" in answer.err


# ---- processes and terminals


class Terminal:
    """A command on a pseudo-terminal of its own."""

    def __init__(self, instance: Path, *arguments: str, **environ: str) -> None:
        self._screen, inner = pty.openpty()
        self.process = subprocess.Popen(
            [*STOWAGE, "--instance", str(instance), *arguments],
            cwd=ROOT,
            stdin=inner,
            stdout=inner,
            stderr=inner,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "160", **environ},
            start_new_session=True,
        )
        os.close(inner)
        self.seen = ""

    def until(self, pattern: str, seconds: float = 60.0) -> str:
        return self._read(lambda: re.search(pattern, self.seen) is not None, seconds, pattern)

    def end(self, seconds: float = 60.0) -> int:
        self._read(lambda: False, seconds, "end of output", or_end=True)
        return self.process.wait(seconds)

    def type(self, text: str) -> None:
        os.write(self._screen, text.encode())

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._screen)

    def _read(self, done: Callable[[], bool], seconds: float, what: str, *, or_end: bool = False) -> str:
        deadline = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < deadline, f"no {what!r} in:\n{self.seen}"
            if not select.select([self._screen], [], [], 0.5)[0]:
                continue
            try:
                piece = os.read(self._screen, 65536)
            except OSError:  # Linux says EIO when the other end is closed
                piece = b""
            if not piece:
                assert or_end or done(), f"ended without {what!r}:\n{self.seen}"
                break
            self.seen += piece.decode(errors="replace")
        return self.seen


@contextmanager
def terminal(instance: Path, *arguments: str, **environ: str) -> Iterator[Terminal]:
    opened = Terminal(instance, *arguments, **environ)
    try:
        yield opened
    finally:
        opened.close()


@pytest.fixture
def many(files: Path) -> Path:
    """So many objects that they last two minutes at the rate of ``SLOWLY``, however fast the machine is."""
    folder = files / "many"
    folder.mkdir()
    for number in range(570):
        (folder / f"{number:05}").write_bytes(b"%d" % number)
    return files


def test_on_a_terminal_the_plan_is_shown_and_yes_begins(
    console: Cli, files: Path, instance: Path, tmp_path: Path
) -> None:
    assert console("backend", "list").code == 0
    with terminal(instance, "migrate", "local-disk", "other") as screen:
        screen.until(r"Start\? \[y/N\]")
        assert re.search(r"copy +30 objects", screen.seen)
        screen.type("y\n")
        assert screen.end() == 0, screen.seen
    assert contents(tmp_path / "other") == contents(files)


def test_on_a_terminal_a_mistyped_prefix_is_not_begun(console: Cli, files: Path, instance: Path) -> None:
    assert console("backend", "list").code == 0
    assert files.exists()
    with terminal(instance, "migrate", "local-disk", "other", "--prefix", "nowhere/") as screen:
        screen.until("Cancelled: nothing was copied")
        assert screen.end() == 1
        assert "Nothing in local-disk under “nowhere/”." in screen.seen


def test_on_a_terminal_no_copies_nothing(console: Cli, files: Path, instance: Path, tmp_path: Path) -> None:
    assert files.exists()
    with terminal(instance, "migrate", "local-disk", "other") as screen:
        screen.until(r"Start\? \[y/N\]")
        screen.type("n\n")
        assert screen.end() == 1
    assert contents(tmp_path / "other") == {}
    assert console("migrations", "show", "1", "--json").document["state"] == "cancelled"


def test_ctrl_c_pauses_and_resume_goes_on(console: Cli, many: Path, instance: Path, tmp_path: Path) -> None:
    with terminal(instance, *SLOWLY, NO_COLOR="1") as screen:
        screen.until(r"running.*[1-9]\d* of \d")
        os.killpg(screen.process.pid, signal.SIGINT)
        assert screen.end() == 1, screen.seen
    assert "stowage migrations resume 1" in screen.seen
    assert "Traceback" not in screen.seen
    shown = console("migrations", "show", "1", "--json").document
    assert shown["state"] == "paused"
    assert shown["counters"]["copied"] < shown["counters"]["found"] or not shown["counters"]["listing_final"]
    assert console("migrations", "limit", "1", "--objects-per-second", "off").code == 0
    resumed = console("migrations", "resume", "1", "--json")
    assert resumed.code == 0, resumed.err
    assert contents(tmp_path / "other") == contents(many)


def test_after_a_kill_the_words_name_resume(console: Cli, many: Path, instance: Path, tmp_path: Path) -> None:
    with terminal(instance, *SLOWLY, NO_COLOR="1") as screen:
        screen.until(r"running.*[1-9]\d* of \d")
        os.killpg(screen.process.pid, signal.SIGKILL)
        screen.process.wait()
    assert "stowage migrations resume 1" in console("migrations", "show", "1").err
    again = console("migrate", "local-disk", "other", "--yes")
    assert again.code == 1
    assert "stowage migrations resume 1" in again.err
    assert console("migrations", "limit", "1", "--objects-per-second", "off").code == 0
    assert console("migrations", "resume", "1").code == 0
    assert "resume" not in console("migrations", "show", "1").err
    assert contents(tmp_path / "other") == contents(many)


def test_no_color_is_respected(console: Cli, files: Path, instance: Path) -> None:
    assert files.exists()
    assert console("backend", "list").code == 0
    with terminal(instance, "migrate", "local-disk", "other", "--yes", NO_COLOR="1") as screen:
        assert screen.end() == 0
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]", screen.seen)


@contextmanager
def running_console(instance: Path) -> Iterator[subprocess.Popen[str]]:
    """``stowage run`` on a free port, ready when it has said where it is."""
    process = subprocess.Popen(
        [*STOWAGE, "--instance", str(instance), "run", "--port", "0"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert "http://127.0.0.1:" in process.stdout.readline()
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=120)
    assert process.returncode == 0


def test_a_running_console_does_the_work_and_the_command_watches(
    console: Cli, files: Path, instance: Path, tmp_path: Path
) -> None:
    from dashboard.jobs.lock import RunnerLock
    from tests.servers.processes import wait_until

    with running_console(instance):
        lock = RunnerLock(instance / "runner.lock")
        wait_until(lock.held, seconds=60, what="the console's runner at work")
        holder = lock.holder()
        answer = console("migrate", "local-disk", "other", "--yes", "--json")
        assert answer.code == 0, answer.err
        assert lock.holder() == holder
        assert holder != os.getpid()
    assert contents(tmp_path / "other") == contents(files)
    assert json.loads(answer.out)["state"] == "finished"
