"""``stowage backup`` from the first backup to a restored console."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.conftest import Cli


def test_a_console_is_backed_up_and_put_back(cli: Cli, tmp_path: Path) -> None:
    assert cli("backup", "schedule").out.startswith("None are scheduled.")
    assert cli("backup", "schedule", "--every", "24", "--keep", "3").out.startswith("Every 24 hours to ")
    assert cli("backup", "schedule", "--off", "--keep", "3").code == 2
    wrong = cli("backup", "schedule", "--every", "7")
    assert (wrong.code, "1, 6, 12, 24 or 168" in wrong.err) == (2, True)
    made = json.loads(cli("backup", "create", "--json").out)["backup"]
    assert made["state"] == "done"
    assert made["key"] in cli("backup", "list").out
    (archive,) = tmp_path.rglob("stowage-*.tar.gz")
    assert cli("backup", "verify", str(archive)).out.startswith("Whole: of ")
    elsewhere = str(tmp_path / "elsewhere")
    refused = cli("backup", "restore", str(archive))
    assert (refused.code, "--replace" in refused.err) == (1, True)
    done = cli("--instance", elsewhere, "backup", "restore", str(archive))
    assert done.code == 0, done.err
    assert done.out.startswith(f"Restored into {elsewhere}")
    archive.write_bytes(archive.read_bytes()[:-100])
    assert "damaged" in cli("backup", "verify", str(archive)).err


def test_a_backup_that_fails_says_why(cli: Cli, tmp_path: Path) -> None:
    root = tmp_path / "away"
    root.mkdir()
    assert cli("backend", "add", "away", "--preset", "local", "--option", f"root={root}").code == 0
    assert cli("backup", "schedule", "--backend", "away").code == 0
    root.rmdir()
    failed = cli("backup", "create")
    assert failed.code == 1
    assert "away" in failed.err
