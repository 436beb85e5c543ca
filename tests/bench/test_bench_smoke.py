"""The bench runs, checks what it measured and keeps a report. How fast anything is, is not tested."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.servers.seaweedfs import SeaweedFS

pytest.importorskip("psutil", reason="the bench extra is not installed")

from bench.__main__ import arguments, measure_on
from bench.corpus import small
from bench.network.links import make_certificate


def test_every_tool_is_measured_and_its_copy_checked(seaweedfs: SeaweedFS, tmp_path: Path) -> None:
    given = ["--rounds", "1", "--objects", "30", "--results", str(tmp_path)]
    options = arguments([*given, "--only", "small,local-s3,20ms"])

    text = measure_on(seaweedfs, make_certificate(tmp_path), options)

    assert "speed against s5cmd" in text
    (kept,) = tmp_path.glob("*.json")
    summary = json.loads(kept.read_text())["summary"]
    assert {line["tool"] for line in summary} == {"loop", "engine", "stowage", "rclone", "s5cmd"}
    assert all(line["median"] > 0 and line["cpu"] > 0 and line["floor_cpu"] for line in summary)
    assert kept.with_suffix(".md").read_text() == text + "\n"


def test_the_objects_are_the_same_every_time(tmp_path: Path) -> None:
    corpus = small(40)
    for name in ("one", "two"):
        corpus.write(tmp_path / name)

    for key, size in corpus.sizes.items():
        content = (tmp_path / "one" / key).read_bytes()
        assert len(content) == size
        assert content == (tmp_path / "two" / key).read_bytes()
