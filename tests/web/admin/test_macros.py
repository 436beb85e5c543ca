"""One macro for each small piece of the pages: a second copy of its markup drifts apart from the first."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TEMPLATES = Path(__file__).resolve().parents[3] / "templates"
PIECES = {
    r'class="badge': "ui.badge",
    r'class="empty"': "ui.empty",
    r"data-copy=": "ui.copy",
    r'hx-trigger="every': "ui.polled",
    r'name="csrf_token"': "ui.token",
}


@pytest.mark.parametrize("markup", PIECES)
def test_a_piece_is_written_in_its_macro_only(markup: str) -> None:
    found = {
        path.relative_to(TEMPLATES).as_posix()
        for path in TEMPLATES.rglob("*.html")
        if re.search(markup, path.read_text(encoding="utf-8"))
    }
    assert found == {"parts/macros.html"}, f"use {PIECES[markup]}"
