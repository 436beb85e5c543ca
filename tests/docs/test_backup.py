"""The page about backups keeps its promises: its own commands are run."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from tests.cli.conftest import command_line, set_up

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "backup-and-restore.md").read_text(encoding="utf-8")


def test_a_copy_taken_while_it_runs_comes_back_with_the_recovery_key(tmp_path: Path) -> None:
    original = tmp_path / "original"
    console = set_up(command_line(original), tmp_path / "other")
    recovery_key = console("keys", "rotate", "--yes", "--json").document["recovery_key"]
    assert "stowage storage backup" in PAGE
    restored = tmp_path / "restored"
    # A connection that stays open keeps changes in the write-ahead log, as a running console does.
    with sqlite3.connect(original / "stowage.db") as running:
        running.execute("SELECT count(*) FROM sqlite_master").fetchone()
        assert console("user", "add", "bob", "--password-stdin", input="a long enough phrase\n").code == 0
        copied = console("storage", "backup", str(restored), "--json").document["files"]
    assert [Path(each["path"]).name for each in copied] == ["stowage.db", "work.db"]
    assert all(path.stat().st_mode & 0o77 == 0 for path in (restored, *restored.iterdir()))
    refused = console("storage", "backup", str(restored))
    assert (refused.code, "already holds" in refused.err) == (1, True), refused
    running.close()

    again = command_line(restored)
    assert again("keys", "show-state").code == 1
    assert again("keys", "restore", "--recovery-key-stdin", input=f"{recovery_key}\n").code == 0
    assert again("keys", "show-state").code == 0
    assert [user["username"] for user in again("user", "list", "--json").document["users"]] == ["ann", "bob"]
    names = [one["name"] for one in again("backend", "list", "--json").document["backends"]]
    assert names == ["local-disk", "other"]


def test_the_files_of_an_instance_are_the_ones_the_pages_name(tmp_path: Path) -> None:
    instance = tmp_path / "instance"
    set_up(command_line(instance), tmp_path / "other")
    found = {path.name for path in instance.iterdir() if not path.name.endswith(("-wal", "-shm"))}
    note = (ROOT / "instance" / "README.md").read_text(encoding="utf-8")
    for name in found:
        assert f"`{name}" in note, f"instance/README.md does not say what {name} is"
