"""Searching files and deleting old ones from a shell."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.cli.conftest import Cli


@pytest.fixture
def counted(console: Cli, files: Path) -> Path:
    """Files that the catalogue knows; two of them are old."""
    year_ago = time.time() - 365 * 86_400
    for name in ("old one.txt", "old two.JPG"):
        (files / name).write_text(name)
        os.utime(files / name, (year_ago, year_ago))
    assert console("backend", "count", "local-disk").code == 0
    return files


def test_files_are_found(console: Cli, counted: Path) -> None:
    assert "old one.txt" in console("files", "find", "OLD ONE").out
    found = console("files", "find", "--older", "30", "--sort", "size", "--json").document
    assert [file["key"] for file in found["files"]] == ["old one.txt", "old two.JPG"]
    assert found["files"][1]["kind"] == "image"
    assert found["more"] is False
    newer = console("files", "find", "--newer", "30", "--max-size", "1G", "--json").document["files"]
    assert newer
    assert all(not file["key"].startswith("old") for file in newer)
    first = console("files", "find", "old ", "--limit", "1", "--descending", "--json")
    assert ([file["key"] for file in first.document["files"]], first.document["more"]) == (
        ["old two.JPG"],
        True,
    )
    assert "more than 1" in first.err
    assert console("files", "find", "--kind", "video", "--json").document["files"] == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("--min-size", "many"),
        ("--checksum", "xyz"),
        ("--metadata", "no value"),
        ("--backend", "nowhere"),
        ("--kind", "cats"),
    ],
)
def test_a_filter_that_means_nothing_is_wrong_use(untouched: Cli, arguments: tuple[str, ...]) -> None:
    assert untouched("files", "find", *arguments).code == 2


def test_old_files_are_shown_and_deleted_only_for_their_number(
    console: Cli, counted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The test's files were made a moment ago.
    monkeypatch.setattr("dashboard.storage.drivers.local.versions._SETTLE_SECONDS", 0.0)
    shown = console("files", "old")
    assert "2 files" in shown.out
    assert "old two.JPG" in shown.out
    wrong = console("files", "old", "--delete", "--count", "3")
    assert wrong.code == 2
    assert "2 files would be deleted, not 3" in wrong.err
    assert console("files", "old", "--delete").code == 2, "there is no terminal to type it on"
    assert (counted / "old one.txt").exists()
    dry = console("storage", "cleanup", "--dry-run", "--json")
    assert (dry.code, dry.document["plan"]["files"], dry.document["deletion"]) == (0, 2, None)
    assert console("storage", "cleanup", "--count", "1").code == 2
    done = console("files", "old", "--days", "300", "--delete", "--count", "2", "--json")
    assert done.code == 0, done.err
    deletion = done.document["deletion"]
    assert (deletion["state"], deletion["deleted"], deletion["kept"]) == ("done", 2, 0)
    assert done.document["plan"]["files"] == 2
    assert not (counted / "old one.txt").exists()
    assert console("files", "find", "old one", "--json").document["files"] == []
    nothing = console("files", "old", "--delete", "--json")
    assert (nothing.code, nothing.document["deletion"]) == (0, None)
    assert console("files", "old", "--days", "0").code == 2
