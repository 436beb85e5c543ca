"""Sources and destinations that others change while a migration goes on."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from dashboard.migration.types import ObjectState, OnConflict, Outcome, Spec, State, Verify
from dashboard.storage.driver import Driver
from dashboard.storage.drivers.local.driver import LocalDriver
from tests.migration.faults import FaultyDriver
from tests.migration.ledgers import SqlLedgers
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


def test_a_source_read_in_the_middle_of_a_write_is_read_once_more(rehearsal: Rehearsal) -> None:
    class MidWrite(LocalDriver):
        """The first read sees the first half of a write that had begun before it."""

        torn = True

        def read(self, key: str, *, if_version: str | None = None):  # type: ignore[no-untyped-def]
            reading = super().read(key, if_version=if_version)
            if self.torn and key == "torn":
                self.torn = False
                reading.read_all = lambda: b"new, old"  # type: ignore[method-assign]
            return reading

    rehearsal.fill({"torn": b"new, new", "quiet": b"new, new"})
    rehearsal.source = MidWrite(str(rehearsal.here))  # type: ignore[assignment]
    assert rehearsal.run(MOVE).outcome is Outcome.WITH_SKIPS
    assert contents(rehearsal.here).keys() == {"torn"}
    assert "not the same" in rehearsal.rows()["torn"].reason


def test_a_source_that_a_program_has_open_for_writing_is_kept(rehearsal: Rehearsal) -> None:
    rehearsal.fill({"quiet": b"a" * 50, "database": b"b" * 50})
    rehearsal.source = plain(rehearsal.here)  # type: ignore[assignment]
    with (rehearsal.here / "database").open("r+b"):
        assert rehearsal.run(MOVE).outcome is Outcome.WITH_SKIPS
    assert set(contents(rehearsal.here)) == {"database"}
    assert rehearsal.rows()["database"].kind == "changed"


def edit(path: Path, content: bytes, *, ago: float = 0.0) -> None:
    """Write a file anew, as somebody would have so many seconds ago."""
    path.write_bytes(content)
    moment = time.time() - ago
    os.utime(path, (moment, moment))


def plan_only(rehearsal: Rehearsal, spec: Spec) -> None:
    rehearsal.approved = False
    assert rehearsal.run(spec).state is State.READY
    rehearsal.approved = True


def test_newer_at_the_destination_is_not_overwritten_because_it_was_older_in_the_plan(
    rehearsal: Rehearsal,
) -> None:
    spec = Spec(workers=2, on_conflict=OnConflict.NEWER)
    for key in ("edited", "quiet"):
        edit(rehearsal.here / key, b"source", ago=100)
        edit(rehearsal.there / key, b"older one", ago=200)
    plan_only(rehearsal, spec)
    edit(rehearsal.there / "edited", b"edited while the plan waited")
    rehearsal.run(spec)
    assert (rehearsal.there / "edited").read_bytes() == b"edited while the plan waited"
    assert (rehearsal.there / "quiet").read_bytes() == b"source"
    row = rehearsal.rows()["edited"]
    assert (row.state, row.reason) == (ObjectState.SKIPPED, "The destination's object is as new or newer.")


@pytest.mark.parametrize("size", [6, 9], ids=["compared by content", "other size"])
def test_what_was_edited_after_the_plan_is_replaced_only_when_tried_again(tmp_path: Path, size: int) -> None:
    ledgers = SqlLedgers(tmp_path)
    rehearsal = Rehearsal(tmp_path, ledgers)
    for key in ("edited", "quiet"):
        edit(rehearsal.here / key, b"source")
        edit(rehearsal.there / key, b"x" * size, ago=100)
    plan_only(rehearsal, Spec())
    edit(rehearsal.there / "edited", b"y" * size)
    assert rehearsal.run(Spec()).outcome is Outcome.WITH_ERRORS
    assert (rehearsal.there / "edited").read_bytes() == b"y" * size
    assert (rehearsal.there / "quiet").read_bytes() == b"source"
    row = rehearsal.rows()["edited"]
    assert (row.state, row.kind) == (ObjectState.FAILED, "conflict")
    assert "Retry to replace it" in row.remedy
    assert ledgers.queries.retry_failed(ledgers.id) == 1
    rehearsal.assert_clean(rehearsal.run(Spec()))
    ledgers.close()


def test_what_was_edited_between_the_comparison_and_the_write_stays(rehearsal: Rehearsal) -> None:
    rehearsal.fill({"a": b"s" * LARGE})
    edit(rehearsal.there / "a", b"x" * LARGE, ago=100)

    def interfere(verb: str, key: str) -> None:
        if verb == "chunk":
            edit(rehearsal.there / "a", b"edited")

    rehearsal.destination.hook = lambda verb, key: (
        interfere(verb, key) if "write" in _verbs(rehearsal) else None
    )
    assert rehearsal.run(Spec()).outcome is Outcome.WITH_ERRORS
    assert (rehearsal.there / "a").read_bytes() == b"edited"


def _verbs(rehearsal: Rehearsal) -> set[str]:
    return {verb for verb, _ in rehearsal.destination.log}


@pytest.mark.parametrize("side", ["here", "there"])
def test_a_skip_is_looked_at_again_after_a_plan_has_waited(rehearsal: Rehearsal, side: str) -> None:
    for key in ("changed", "quiet", "same"):
        for folder in (rehearsal.here, rehearsal.there):
            edit(folder / key, b"same", ago=100)
    by_size = Spec(verify=Verify.SIZE)
    plan_only(rehearsal, by_size)
    assert {row.state for row in rehearsal.rows().values()} == {ObjectState.SKIPPED}
    changed = rehearsal.here if side == "here" else rehearsal.there
    edit(changed / "changed", b"new!", ago=50 if side == "here" else 150)
    edit(rehearsal.here / "same", b"same", ago=50)
    result = rehearsal.run(by_size)
    rows = rehearsal.rows()
    # What somebody edited at the destination was not in the plan: it stays.
    assert (rehearsal.there / "changed").read_bytes() == b"new!"
    expected = ObjectState.VERIFIED if side == "here" else ObjectState.FAILED
    assert rows["changed"].state is expected
    assert rows["quiet"].state is rows["same"].state is ObjectState.SKIPPED
    assert result.outcome is (Outcome.WITH_SKIPS if side == "here" else Outcome.WITH_ERRORS)


def test_a_skip_of_the_same_content_is_compared_again_where_a_side_changed(rehearsal: Rehearsal) -> None:
    for key in ("changed", "quiet"):
        for folder in (rehearsal.here, rehearsal.there):
            edit(folder / key, b"same", ago=100)

    def change_once(verb: str, key: str) -> None:
        if verb == "stat" and key == "quiet" and (rehearsal.here / "changed").read_bytes() == b"same":
            edit(rehearsal.here / "changed", b"new!")

    plan_only(rehearsal, Spec(workers=1))
    rehearsal.destination.hook = change_once
    rehearsal.run(Spec(workers=1))
    assert contents(rehearsal.there) == contents(rehearsal.here)
    assert rehearsal.rows()["changed"].state is ObjectState.VERIFIED
    assert rehearsal.rows()["quiet"].state is ObjectState.SKIPPED


def test_a_quick_run_lists_everything_once(rehearsal: Rehearsal) -> None:
    rehearsal.fill({"a": b"same"})
    rehearsal.fill({"a": b"same"}, there=True)
    rehearsal.run(Spec())
    # The first time only its first objects, to see whether the two places overlap.
    assert len(rehearsal.source.said("list")) == 2


def test_what_was_in_the_way_of_the_plan_and_is_gone_is_in_the_way_no_more(rehearsal: Rehearsal) -> None:
    spec = Spec(on_conflict=OnConflict.FAIL)
    rehearsal.fill({"freed": b"source", "taken": b"source"})
    rehearsal.fill({"freed": b"theirs", "taken": b"theirs"}, there=True)
    plan_only(rehearsal, spec)
    assert rehearsal.ledgers.counters().failed == 2
    (rehearsal.there / "freed").unlink()
    assert rehearsal.run(spec).outcome is Outcome.WITH_ERRORS
    assert (rehearsal.there / "freed").read_bytes() == b"source"
    assert (rehearsal.there / "taken").read_bytes() == b"theirs"
    assert [group.objects for group in rehearsal.ledgers.failures()] == [1]
