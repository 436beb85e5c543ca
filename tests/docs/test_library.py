"""docs/library.md: its program runs, its table of variables is the one in the code."""

from __future__ import annotations

import inspect
import os
import re
from pathlib import Path

import fsspec
import pytest

from dashboard.app import open_services
from dashboard.services.backends.backends import Draft
from dashboard.services.permissions import Actor, Role
from dashboard.settings import Settings
from dashboard.storage import Backend
from dashboard.storage.integrations.django import StowageStorage
from dashboard.storage.integrations.fsspec import StowageFileSystem
from dashboard.storage.library.environment_variables import SELECTORS, table

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "library.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def an_instance(folder: Path, files: Path) -> None:
    """A console whose active backend is a folder."""
    services = open_services(Settings.from_env({}, instance=folder))
    admin = Actor("ann", Role.ADMIN, "cli")
    services.backends.add(admin, Draft("files", "local", {"root": str(files)}, {}))
    services.activation.activate(admin, "files")
    services.close()


def test_the_program_on_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    (tmp_path / "shared").mkdir()
    an_instance(tmp_path / "instance", tmp_path / "shared")
    [toml] = blocks("toml")
    (tmp_path / "storage.toml").write_text(toml)
    # A wheel announces it; a checkout is not installed.
    fsspec.register_implementation("stowage", StowageFileSystem, clobber=True)
    program: dict[str, object] = {}
    for number, block in enumerate(blocks("python"), start=1):
        exec(compile(block, f"docs/library.md, example {number}", "exec"), program)
    assert (tmp_path / "shared" / "from-a-script.txt").read_text() == "Hello"


def test_the_table_of_variables_is_the_one_that_is_read() -> None:
    text = PAGE.partition("<!-- variables")[2].partition("<!-- end of variables")[0]
    rows = [
        tuple(cell.strip() for cell in line.strip("|").split("|")) for line in text.splitlines()[3:] if line
    ]
    assert rows == [(f"{family}_*", f"`{option}`", names) for family, option, names in table()]
    for selector in SELECTORS:
        assert f"`{selector}`" in PAGE


def test_every_call_is_on_the_page() -> None:
    public = {name for name in dir(Backend) if not name.startswith("_")} - {"driver"}
    documented = set(re.findall(r"`([a-z_]+)\(", PAGE))
    assert public <= documented


def test_every_option_for_django_is_on_the_page() -> None:
    parameters = inspect.signature(StowageStorage).parameters.values()
    named = {each.name for each in parameters if each.kind is inspect.Parameter.KEYWORD_ONLY}
    section = PAGE.partition("## With Django")[2].partition("\n## ")[0]
    assert named <= set(re.findall(r"`([a-z_]+)`", section))
