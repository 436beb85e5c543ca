"""The measurement of open progress pages runs. How much they cost is not tested."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("psutil", reason="the bench extra is not installed")

from bench import watching
from tests.servers.seaweedfs import SeaweedFS


@pytest.mark.torture
def test_watching_is_measured(tmp_path: Path, seaweedfs: SeaweedFS) -> None:
    text = watching.measure(watching.arguments(["--quick"]), tmp_path, seaweedfs)
    assert "200 files of 16 KiB to s3" in text
    assert "3 pages cost" in text
