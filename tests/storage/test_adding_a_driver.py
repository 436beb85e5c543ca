"""docs/adding-a-driver.md is all there is to it: its package and its row, and the program knows it."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dashboard.errors import InvalidInput
from dashboard.services.migrations.spec import refuse_overlap
from dashboard.storage import drivers
from dashboard.storage.driver import Driver
from dashboard.storage.library.manager import Storage
from dashboard.storage.probe import ProbeRun, probe
from dashboard.storage.registry import (
    BUILT_IN,
    DRIVERS,
    PRESETS,
    build,
    check_options,
    find_preset,
    location,
    options_of,
    summary,
)
from dashboard.web.admin.backend_forms import fields, provider_picker
from tests.docs.test_backends_page import test_every_driver_has_a_row_and_a_column as backends_page_lists
from tests.docs.test_docs import test_every_provider_is_named as readme_lists_every_provider
from tests.storage import shelf

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "adding-a-driver.md").read_text(encoding="utf-8")
ROW, OPTIONS, TYPE = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(autouse=True)
def added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The package beside the others, and its row."""
    package = tmp_path / "site" / "shelf"
    package.mkdir(parents=True)
    for module, source in {"options": OPTIONS, "type": TYPE, "driver": shelf.SOURCE}.items():
        (package / f"{module}.py").write_text(source, encoding="utf-8")
    monkeypatch.setattr(drivers, "__path__", [*drivers.__path__, str(package.parent)])
    [(name, where)] = re.findall(r'"(\w+)": "([\w.]+:\w+)"', ROW)
    monkeypatch.setitem(BUILT_IN, name, where)
    yield
    for name in [name for name in sys.modules if name.startswith("dashboard.storage.drivers.shelf")]:
        del sys.modules[name]


@pytest.fixture
def options(tmp_path: Path) -> dict[str, str]:
    return dict(check_options("shelf", {"file": str(tmp_path / "a.shelf")}))


def test_it_is_offered_and_its_options_are_asked_for_and_checked() -> None:
    last = provider_picker.picker().groups[-1]
    assert [(card.name, card.label, card.icon) for card in last.cards] == [("shelf", "Shelf", "disk")]
    assert provider_picker.picker("shel").groups == (last,)
    assert [f.name for f in fields.form(find_preset("shelf")).plain] == ["option.file"]
    assert {"file", "read_only"} <= {option.name for option in options_of(PRESETS["shelf"])}
    with pytest.raises(InvalidInput, match="absolute"):
        check_options("shelf", {"file": "a.shelf"})


def test_it_says_what_and_where_its_backends_are(options: dict[str, str], tmp_path: Path) -> None:
    file = str(tmp_path / "a.shelf")
    assert summary("shelf", options) == f"shelf in {file}"
    assert location("shelf", options).server == file
    with pytest.raises(InvalidInput, match="same place"):
        refuse_overlap(("shelf", options), ("shelf", options | {"read_only": "true"}), "")
    refuse_overlap(("shelf", options), ("shelf", options | {"file": f"{file}.other"}), "")


def test_it_is_built_tested_and_used(options: dict[str, str]) -> None:
    driver = build("shelf", options)
    assert isinstance(driver, Driver)
    run = ProbeRun.of(driver)
    for step in probe(driver):
        run = run.with_step(step)
    assert (run.passed, run.noun) == (True, "shelf")
    storage = Storage()
    storage.configure("box", "shelf", file=options["file"])
    storage.backend("box").put("a", b"content")
    assert [entry.key for entry in driver.list()] == ["a"]


def test_the_pages_that_list_drivers_and_providers_ask_for_it() -> None:
    assert "shelf" in DRIVERS
    # The conformance suite runs over the same driver already, as one of another package.
    backends_page_lists("shelf")
    with pytest.raises(AssertionError, match="README"):
        readme_lists_every_provider()
