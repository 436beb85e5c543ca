"""Files sent to another backend: exactly those, whatever is in their names."""

from __future__ import annotations

from pathlib import Path

import pytest

from dashboard.errors import InvalidInput, StowageError
from dashboard.migration.globs import compile_filter
from dashboard.migration.types import OnConflict, Outcome
from dashboard.services.files.changing.across import spec_for
from dashboard.services.files.changing.moving_objects import OnTaken
from tests.services.console import OPERATOR, VIEWER, ServiceConsole
from tests.services.files.places import add_local

KEYS = ("a/*.txt", "a/b.txt", "a/[x]", "a/x", "a/\\q", "a/q", "a/?", "a/d/1", "a/d/e/2", "a/d-1", "b")


@pytest.mark.parametrize(
    ("chosen", "found"),
    [
        (["a/*.txt"], {"a/*.txt"}),
        (["a/[x]", "a/\\q", "a/?"], {"a/[x]", "a/\\q", "a/?"}),
        (["a/d/"], {"a/d/1", "a/d/e/2"}),
        (["a/d/", "b"], {"a/d/1", "a/d/e/2", "b"}),
    ],
)
def test_a_spec_has_exactly_the_chosen_files(chosen: list[str], found: set[str]) -> None:
    spec = spec_for(chosen, move=False, on_taken=OnTaken.REFUSE)
    wanted = compile_filter(spec.include, spec.exclude)
    assert {key for key in KEYS if key.startswith(spec.prefix) and wanted.wants(key)} == found
    assert spec.on_conflict is OnConflict.FAIL


@pytest.mark.parametrize("keys", [[], ["/a"], ["a\nb"], ["a\udcff"], ["a"] * 101, ["*" * 600]])
def test_what_cannot_be_chosen(keys: list[str]) -> None:
    with pytest.raises(InvalidInput):
        spec_for(keys, move=False, on_taken=OnTaken.REFUSE)


def test_files_move_to_another_backend(console: ServiceConsole, tmp_path: Path) -> None:
    here, there = (add_local(console, tmp_path, name) for name in ("here", "there"))
    for name in ("d/1", "d/2", "d/e/3", "4"):
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_text(name)
    across = console.services.across
    number = across.begin(OPERATOR, "here", "there", ["d/1", "d/e/"], move=True)
    progress = console.services.runner.run_job_until_final(number, lambda progress: None)
    assert progress.outcome is Outcome.CLEAN
    assert sorted(p.name for p in there.rglob("*") if p.is_file()) == ["1", "3"]
    assert sorted(p.name for p in here.rglob("*") if p.is_file()) == ["2", "4"]
    with pytest.raises(StowageError):
        across.begin(VIEWER, "here", "there", ["4"])
