"""A driver of another package in the console: used like any other, missed without harm when it goes."""

from __future__ import annotations

from pathlib import Path

import pytest

from dashboard.errors import InvalidInput
from tests.storage import shelf
from tests.web.conftest import Browser, WebConsole

PAGES = ("/", "/backends", "/backends/new", "/backend/box", "/migrations/new")


def test_its_backends_outlive_the_package(admin: Browser, console: WebConsole, tmp_path: Path) -> None:
    shelf.install(tmp_path / "site", "shelf", "stowage_shelf", shelf.SOURCE)
    try:
        assert "Shelf" in admin.get("/backends/new").text
        form = {"option.file": str(tmp_path / "box.shelf")}
        added = admin.post("/backends/new", preset="shelf", name="box", **form)
        assert added.status_code == 303
        console.services.backends.driver("box").put("a", b"x")
        for page in PAGES:
            assert admin.get(page).status_code == 200, page
    finally:
        shelf.uninstall(tmp_path / "site", "stowage_shelf")
    for page in PAGES:
        assert admin.get(page).status_code == 200, page
    with pytest.raises(InvalidInput, match="no driver “shelf”"):
        console.services.backends.driver("box", label="later")
    assert admin.get("/backend/box/edit").status_code == 400
    assert admin.get("/backend/box/remove").status_code == 200


def test_a_broken_package_is_one_sentence_in_the_console(admin: Browser, tmp_path: Path) -> None:
    shelf.install(tmp_path / "site", "odd", "odd_driver", "import not_there_at_all")
    try:
        page = admin.get("/backends/new?preset=odd")
        assert page.status_code == 200
        assert "cannot be loaded (ModuleNotFoundError)" in page.text
        refused = admin.post("/backends/new", preset="odd", name="odd")
        assert refused.status_code == 400
        assert "cannot be loaded" in refused.text
        assert admin.get("/backends").status_code == 200
    finally:
        shelf.uninstall(tmp_path / "site", "odd_driver")
