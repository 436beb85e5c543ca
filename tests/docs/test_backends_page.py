"""docs/backends.md names every driver and leaves nothing open."""

from __future__ import annotations

from pathlib import Path

import pytest

from dashboard.storage.powers import POWERS
from dashboard.storage.registry import DRIVERS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "backends.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line[:1] == "|"
]


@pytest.mark.parametrize("driver", DRIVERS)
def test_every_driver_has_a_row_and_a_column(driver: str) -> None:
    assert any(row[0] == f"`{driver}`" for row in ROWS), "run: make contract"
    assert any(f"`{driver}`" in row[1:] for row in ROWS if row[0] == "behaviour")


def test_no_cell_is_empty_or_failed() -> None:
    assert len(ROWS) > 40
    for row in ROWS:
        assert all(row), row
        assert "FAIL" not in " ".join(row), row


def test_every_power_is_a_column() -> None:
    assert ROWS[0] == ["backend", *(power.label for power in POWERS.values())]


def test_every_note_is_there() -> None:
    notes = PAGE.partition("## Notes")[2]
    for row in ROWS:
        for cell in row:
            if "[" in cell:
                number = cell.partition("[")[2].partition("]")[0]
                assert f"\n{number}. " in notes
