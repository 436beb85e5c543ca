"""The measurement of uploads runs, with and without another server beside it. How fast anything is, is not
tested."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

pytest.importorskip("psutil", reason="the bench extra is not installed")

from bench import uploads


@pytest.mark.torture
def test_uploads_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    text = uploads.measure(uploads.arguments(["--quick"]), tmp_path)
    assert "16 MiB over tus" in text
    assert "\n| Stowage | " in text
    assert "could not be installed" in text
