"""Sources and destinations that others change while a migration goes on."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from dashboard.migration.types import ObjectState, Outcome, Spec, State
from dashboard.storage.driver import Driver
from dashboard.storage.drivers.local import LocalDriver
from tests.migration.faults import FaultyDriver
from tests.migration.rehearsal import LARGE, Rehearsal, contents

MOVE = Spec(workers=4, delete_source=True)


def rewrite(path: Path, content: bytes) -> None:
    """As databases and ``rsync --inplace --times`` do: in place, with the time set back."""
    before = path.stat()
    assert before.st_size == len(content)
    with path.open("r+b") as file:
        file.write(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


class ByTimeAndSize(FaultyDriver):
    """A place that tells what a file server tells."""

    def stat(self, key: str):  # type: ignore[no-untyped-def]
        return _by_time_and_size(super().stat(key))

    def read(self, key: str, *, if_version: str | None = None):  # type: ignore[no-untyped-def]
        reading = super().read(key)
        reading.info = _by_time_and_size(reading.info)
        return reading


def _by_time_and_size(info):  # type: ignore[no-untyped-def]
    from dataclasses import replace

    return replace(info, version=f"{info.modified}-{info.size}")


def plain(folder: Path) -> Driver:
    return LocalDriver(str(folder))


def weak(folder: Path) -> Driver:
    return ByTimeAndSize(LocalDriver(str(folder)))


@pytest.mark.parametrize("place", [plain, weak])
def test_a_source_rewritten_in_place_after_its_copy_is_kept(
    rehearsal: Rehearsal, place: Callable[[Path], Driver]
) -> None:
    rehearsal.fill({"quiet": b"a" * 5000, "rewritten": b"b" * 5000})
    rehearsal.source = place(rehearsal.here)  # type: ignore[assignment]

    def interfere(verb: str, key: str) -> None:
        if verb == "list" and rehearsal.told[-1] is State.VERIFYING:
            rewrite(rehearsal.here / "rewritten", b"c" * 5000)

    rehearsal.destination.hook = interfere
    assert rehearsal.run(MOVE).outcome is Outcome.WITH_SKIPS
    assert (rehearsal.here / "rewritten").read_bytes() == b"c" * 5000
    assert set(contents(rehearsal.here)) == {"rewritten"}
    row = rehearsal.rows()["rewritten"]
    assert (row.state, row.deleted, row.kind) == (ObjectState.VERIFIED, False, "changed")
    assert "not deleted" in row.reason


def test_a_source_rewritten_in_place_during_its_copy_is_copied_anew(rehearsal: Rehearsal) -> None:
    rehearsal.fill({"large": b"a" * LARGE})
    times = []

    def interfere(verb: str, key: str) -> None:
        if verb == "chunk" and not times:
            times.append(key)
            rewrite(rehearsal.here / "large", b"b" * LARGE)

    rehearsal.destination.hook = interfere
    assert rehearsal.run(MOVE).outcome is Outcome.CLEAN
    assert times
    assert (rehearsal.there / "large").read_bytes() == b"b" * LARGE
    assert contents(rehearsal.here) == {}


def test_a_source_that_a_program_has_open_for_writing_is_kept(rehearsal: Rehearsal) -> None:
    rehearsal.fill({"quiet": b"a" * 50, "database": b"b" * 50})
    rehearsal.source = plain(rehearsal.here)  # type: ignore[assignment]
    with (rehearsal.here / "database").open("r+b"):
        assert rehearsal.run(MOVE).outcome is Outcome.WITH_SKIPS
    assert set(contents(rehearsal.here)) == {"database"}
    assert rehearsal.rows()["database"].kind == "changed"
