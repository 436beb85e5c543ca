"""docs/media.md: its program runs, and its tables are those in the code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from dashboard.media.kinds import FileKind
from dashboard.media.policy import UploadPolicy
from dashboard.media.sandbox import close_shared_sandbox
from tests.media.samples import corners, encoded

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "media.md").read_text(encoding="utf-8")


@pytest.fixture
def _sandbox() -> Iterator[None]:
    yield
    close_shared_sandbox()


@pytest.mark.usefixtures("_sandbox")
def test_the_program_on_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "files").mkdir()
    (tmp_path / "photo.jpg").write_bytes(encoded(corners((640, 480)), "JPEG"))
    program: dict[str, object] = {}
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    for number, block in enumerate(blocks, start=1):
        exec(compile(block, f"docs/media.md, example {number}", "exec"), program)
    printed = capsys.readouterr().out
    assert "image/jpeg 640 480" in printed
    assert "150 112" in printed
    assert "photos/rome-150x150.jpg" in printed
    assert "a JPEG image" in printed
    assert "422 “broken.jpg” cannot be used" in printed
    assert (tmp_path / "files" / "photos" / "rome.webp").exists()


def test_every_field_of_a_policy_and_every_kind_is_on_the_page() -> None:
    rows = re.findall(r"^\| `([a-z_]+)` \| .* \| (.*) \|$", PAGE, re.MULTILINE)
    assert [name for name, _ in rows] == [field.name for field in fields(UploadPolicy)]
    assert re.findall(r"`([a-z]+)`", dict(rows)["kinds"]) == [kind.value for kind in FileKind]
