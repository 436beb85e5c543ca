"""The guide leads to everything: each item of the menu, page of the settings, command and variable."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dashboard.app import create_app
from dashboard.settings import Settings
from tests.docs.test_docs import ROOT, SETTINGS, commands

GUIDE = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")
TABS = (ROOT / "templates" / "parts" / "settings_tabs.html").read_text(encoding="utf-8")
HIDDEN = {"stowage runner"}
"""A part of `stowage run` that nobody starts but those who bring another web server."""


def test_every_menu_item_is_in_the_guide(tmp_path: Path) -> None:
    app = create_app(Settings(instance=tmp_path, key_file=tmp_path / "stowage.key"))
    names = [item.name for item in app.extensions["admin"][0].menu() if item.get_icon_value()]
    assert re.findall(r"^\| \*\*(.+)\*\* \|", GUIDE, re.MULTILINE) == names


def test_every_page_of_the_settings_is_in_the_guide() -> None:
    labels = [
        label for _, label, _ in re.findall(r'\("([a-z_.]+)", (?:_\()?"([^"]+)"\)?, "([a-z_]+)"\)', TABS)
    ]
    assert len(labels) >= 10
    assert [label for label in labels if f"Settings → {label}" not in GUIDE.replace("\n", " ")] == []


@pytest.mark.parametrize("name", [name for name, _ in commands() if name not in HIDDEN])
def test_every_command_is_in_the_guide(name: str) -> None:
    assert re.search(rf"\b{name}\b", GUIDE), f"docs/guide.md does not say what “{name}” is for"


def test_every_setting_is_in_the_guide() -> None:
    missing = {f"STOWAGE_{field.name.upper()}" for field in SETTINGS} - set(
        re.findall(r"STOWAGE_[A-Z_]+", GUIDE)
    )
    assert missing == set()
