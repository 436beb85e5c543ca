"""``stowage schedule``: a scheduled copy from its first run to a restore, and the recurring jobs."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Cli


def test_a_copy_is_scheduled_run_and_restored(cli: Cli, tmp_path: Path) -> None:
    for name in ("work", "vault"):
        (tmp_path / name).mkdir()
        added = cli("backend", "add", name, "--preset", "local", "--option", f"root={tmp_path / name}")
        assert added.code == 0
    (tmp_path / "work" / "a").write_bytes(b"one")
    wrong = cli("schedule", "add-copy", "work", "vault", "--when", "at night")
    assert (wrong.code, "daily 03:00" in wrong.err) == (2, True)
    assert cli("schedule", "add-copy", "work", "vault", "--when", "weekly sun 04:00").out == "copy-1\n"
    assert cli("schedule", "set", "copy-1", "--when", "daily 03:00", "--keep-days", "7").code == 0
    done = cli("schedule", "run", "copy-1")
    assert done.code == 0, done.err
    assert (tmp_path / "vault" / "a").read_bytes() == b"one"
    (tmp_path / "work" / "a").write_bytes(b"ruined")
    assert cli("schedule", "run", "copy-1").code == 0
    listed = cli("schedule", "list", "--json").document
    (copy,) = listed["copies"]
    assert (copy["keep_days"], copy["last"]["state"], copy["last"]["replaced"]) == (7, "done", 1)
    assert [job["spec"]["name"] for job in listed["jobs"]][:2] == ["tests", "counts"]
    first = cli("schedule", "runs", "copy-1", "--json").document["runs"][-1]
    restored = cli("schedule", "restore", "copy-1", "--after-run", str(first["id"]), "--yes")
    assert restored.code == 0, restored.err
    assert (tmp_path / "work" / "a").read_bytes() == b"one"
    assert "restore" in cli("schedule", "runs", "copy-1").out
    for name in ("work", "vault"):
        assert (tmp_path / name / ".stowage-replaced").is_dir(), (
            "what was replaced is kept, and nowhere shown"
        )
        (tmp_path / name / ".stowage-uploads").mkdir()
        (tmp_path / name / ".stowage-uploads" / "1").write_bytes(b"not checked yet")
        listed = cli("files", "ls", "-r", f"{name}:", "--json").document
        assert [each["key"] for each in listed["entries"]] == ["a"]
    assert cli("schedule", "disable", "copy-1").code == 0
    assert "off" in cli("schedule", "list").out
    assert cli("schedule", "enable", "copy-1").code == 0
    assert cli("schedule", "remove", "copy-1").code == 0
    assert cli("schedule", "runs", "nothing").code == 2
    assert cli("schedule", "run", "copy-1").code == 2


def test_recurring_jobs_are_changed_within_limits(cli: Cli) -> None:
    assert cli("schedule", "set", "counts", "--when", "daily 03:30").code == 0
    assert "daily at 03:30" in cli("schedule", "list").out
    assert cli("schedule", "disable", "counts").code == 0
    refused = cli("schedule", "disable", "audit")
    assert (refused.code, "cannot be switched off" in refused.err) == (2, True)
    refused = cli("schedule", "set", "tests", "--when", "every 2 d")
    assert (refused.code, "every minute at most, and every day at least" in refused.err) == (2, True)
    queued = cli("schedule", "run", "counts")
    assert (queued.code, "stowage run" in queued.err) == (0, True)
    assert "There are: tests, counts" in cli("schedule", "run", "dreams").err
