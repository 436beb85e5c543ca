"""``stowage storage``: other frameworks' names for what the console does."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import command_line, set_up


def test_storage_commands_show_and_test_every_backend(tmp_path: Path) -> None:
    console = set_up(command_line(tmp_path / "instance"), tmp_path / "other")
    info = console("storage", "info", "--json").document
    assert (info["active"], [each["name"] for each in info["backends"]]) == (
        "local-disk",
        ["local-disk", "other"],
    )
    assert "New files go to: local-disk" in console("storage", "info").out
    console("backend", "count", "other")
    usage = console("storage", "usage", "--json").document
    assert (usage["objects"], usage["bytes"]) == (0, 0)
    assert {each["name"] for each in usage["backends"]} == {"local-disk", "other"}
    tested = console("storage", "test", "--json")
    assert (tested.code, tested.document) == (
        0,
        {"passed": True, "backends": {"local-disk": True, "other": True}},
    )
    (tmp_path / "other").rmdir()
    broken = console("storage", "test", "--backend", "other", "--json")
    assert (broken.code, broken.document["passed"]) == (1, False)


def test_a_link_leads_to_a_local_folder_and_replaces_nothing(tmp_path: Path) -> None:
    console = set_up(command_line(tmp_path / "instance"), tmp_path / "other")
    path = tmp_path / "public"
    for _ in range(2):
        assert console("storage", "link", str(path), "--backend", "other").code == 0
    assert path.readlink() == tmp_path / "other"
    refused = console("storage", "link", str(path))
    assert refused.code == 1
    assert "exists already" in refused.err
    console("backend", "edit", "other", "--option", "compress=*")
    assert "not a folder" in console("storage", "link", str(tmp_path / "else"), "--backend", "other").err
