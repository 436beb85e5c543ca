"""Links from a shell."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Cli


def test_a_link_is_printed_once_listed_and_revoked(console: Cli, files: Path) -> None:
    made = console("files", "link", "local-disk", "folder-1/file 1.txt", "--uses", "2")
    assert made.code == 0, made.err
    path = made.out.strip()
    assert path.startswith("/d/")
    assert "STOWAGE_PUBLIC_URL" in made.err
    listed = console("files", "links")
    assert "folder-1/file 1.txt" in listed.out
    assert "0 of 2" in listed.out
    assert path not in listed.out
    number = console("files", "links", "--json").document["links"][0]["id"]
    assert console("files", "unlink", str(number)).code == 0
    assert console("files", "links", "--open", "--json").document == {"links": []}
    assert console("files", "unlink", "999").code == 2


def test_the_url_begins_with_the_public_address(
    console: Cli, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STOWAGE_PUBLIC_URL", "https://stowage.example.com/")
    made = console("files", "link", "local-disk", "folder-1/file 1.txt", "--json").document
    assert made["url"] == f"https://stowage.example.com{made['path']}"
    monkeypatch.setenv("STOWAGE_PUBLIC_URL", "stowage.example.com")
    assert console("files", "links").code == 2


def test_a_file_that_does_not_exist_gets_no_link(console: Cli, files: Path) -> None:
    assert console("files", "link", "local-disk", "nothing").code == 1
    assert console("files", "link", "nowhere", "nothing").code == 2
    assert console("files", "link", "local-disk", "folder-1/file 1.txt", "--seconds", "0").code == 2
