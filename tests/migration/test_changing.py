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
from tests.migration.failing_driver import FailingDriver
from tests.migration.ledgers import SqlLedgers
from tests.migration.scenario import LARGE, Scenario, contents

MOVE = Spec(workers=4, delete_source=True)


def rewrite(path: Path, content: bytes) -> None:
    """As databases and ``rsync --inplace --times`` do: in place, with the time set back."""
    before = path.stat()
    assert before.st_size == len(content)
    with path.open("r+b") as file:
        file.write(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


class ByTimeAndSize(FailingDriver):
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
    scenario: Scenario, place: Callable[[Path], Driver]
) -> None:
    scenario.fill({"quiet": b"a" * 5000, "rewritten": b"b" * 5000})
    scenario.source = place(scenario.here)  # type: ignore[assignment]

    def interfere(verb: str, key: str) -> None:
        if verb == "list" and scenario.states[-1] is State.VERIFYING:
            rewrite(scenario.here / "rewritten", b"c" * 5000)

    scenario.destination.hook = interfere
    assert scenario.run(MOVE).outcome is Outcome.WITH_SKIPS
    assert (scenario.here / "rewritten").read_bytes() == b"c" * 5000
    assert set(contents(scenario.here)) == {"rewritten"}
    row = scenario.rows()["rewritten"]
    assert (row.state, row.deleted, row.kind) == (ObjectState.VERIFIED, False, "changed")
    assert "not deleted" in row.reason


def test_a_source_rewritten_in_place_during_its_copy_is_copied_anew(scenario: Scenario) -> None:
    scenario.fill({"large": b"a" * LARGE})
    times = []

    def interfere(verb: str, key: str) -> None:
        if verb == "chunk" and not times:
            times.append(key)
            rewrite(scenario.here / "large", b"b" * LARGE)

    scenario.destination.hook = interfere
    assert scenario.run(MOVE).outcome is Outcome.CLEAN
    assert times
    assert (scenario.there / "large").read_bytes() == b"b" * LARGE
    assert contents(scenario.here) == {}


def test_a_source_read_in_the_middle_of_a_write_is_read_once_more(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The write is taken for one that still goes on, however late the read comes.
    monkeypatch.setattr("dashboard.storage.drivers.local.versions._SETTLE_SECONDS", 3600.0)

    class MidWrite(LocalDriver):
        """The first read sees the first half of a write that had begun before it."""

        torn = True

        def read(self, key: str, *, if_version: str | None = None):  # type: ignore[no-untyped-def]
            reading = super().read(key, if_version=if_version)
            if self.torn and key == "torn":
                self.torn = False
                reading.read_all = lambda: b"new, old"  # type: ignore[method-assign]
            return reading

    scenario.fill({"torn": b"new, new", "quiet": b"new, new"})
    scenario.source = MidWrite(str(scenario.here))  # type: ignore[assignment]
    assert scenario.run(MOVE).outcome is Outcome.WITH_SKIPS
    assert contents(scenario.here).keys() == {"torn"}
    assert "not the same" in scenario.rows()["torn"].reason


def test_a_source_that_a_program_has_open_for_writing_is_kept(scenario: Scenario) -> None:
    scenario.fill({"quiet": b"a" * 50, "database": b"b" * 50})
    scenario.source = plain(scenario.here)  # type: ignore[assignment]
    with (scenario.here / "database").open("r+b"):
        assert scenario.run(MOVE).outcome is Outcome.WITH_SKIPS
    assert set(contents(scenario.here)) == {"database"}
    assert scenario.rows()["database"].kind == "changed"


def edit(path: Path, content: bytes, *, ago: float = 0.0) -> None:
    """Write a file anew, as somebody would have so many seconds ago."""
    path.write_bytes(content)
    moment = time.time() - ago
    os.utime(path, (moment, moment))


def plan_only(scenario: Scenario, spec: Spec) -> None:
    scenario.approved = False
    assert scenario.run(spec).state is State.READY
    scenario.approved = True


def test_newer_at_the_destination_is_not_overwritten_because_it_was_older_in_the_plan(
    scenario: Scenario,
) -> None:
    spec = Spec(workers=2, on_conflict=OnConflict.NEWER)
    for key in ("edited", "quiet"):
        edit(scenario.here / key, b"source", ago=100)
        edit(scenario.there / key, b"older one", ago=200)
    plan_only(scenario, spec)
    edit(scenario.there / "edited", b"edited while the plan waited")
    scenario.run(spec)
    assert (scenario.there / "edited").read_bytes() == b"edited while the plan waited"
    assert (scenario.there / "quiet").read_bytes() == b"source"
    row = scenario.rows()["edited"]
    assert (row.state, row.reason) == (ObjectState.SKIPPED, "The destination's object is as new or newer.")


@pytest.mark.parametrize("size", [6, 9], ids=["compared by content", "other size"])
def test_what_was_edited_after_the_plan_is_replaced_only_when_tried_again(tmp_path: Path, size: int) -> None:
    ledgers = SqlLedgers(tmp_path)
    scenario = Scenario(tmp_path, ledgers)
    for key in ("edited", "quiet"):
        edit(scenario.here / key, b"source")
        edit(scenario.there / key, b"x" * size, ago=100)
    plan_only(scenario, Spec())
    edit(scenario.there / "edited", b"y" * size)
    assert scenario.run(Spec()).outcome is Outcome.WITH_ERRORS
    assert (scenario.there / "edited").read_bytes() == b"y" * size
    assert (scenario.there / "quiet").read_bytes() == b"source"
    row = scenario.rows()["edited"]
    assert (row.state, row.kind) == (ObjectState.FAILED, "conflict")
    assert "Retry to replace it" in row.remedy
    assert ledgers.queries.retry_failed(ledgers.id) == 1
    scenario.assert_clean(scenario.run(Spec()))
    ledgers.close()


def test_what_was_edited_between_the_comparison_and_the_write_stays(scenario: Scenario) -> None:
    scenario.fill({"a": b"s" * LARGE})
    edit(scenario.there / "a", b"x" * LARGE, ago=100)

    def interfere(verb: str, key: str) -> None:
        if verb == "chunk":
            edit(scenario.there / "a", b"edited")

    scenario.destination.hook = lambda verb, key: (
        interfere(verb, key) if "write" in _verbs(scenario) else None
    )
    assert scenario.run(Spec()).outcome is Outcome.WITH_ERRORS
    assert (scenario.there / "a").read_bytes() == b"edited"


def _verbs(scenario: Scenario) -> set[str]:
    return {verb for verb, _ in scenario.destination.log}


@pytest.mark.parametrize("side", ["here", "there"])
def test_a_skip_is_looked_at_again_after_a_plan_has_waited(scenario: Scenario, side: str) -> None:
    for key in ("changed", "quiet", "same"):
        for folder in (scenario.here, scenario.there):
            edit(folder / key, b"same", ago=100)
    by_size = Spec(verify=Verify.SIZE)
    plan_only(scenario, by_size)
    assert {row.state for row in scenario.rows().values()} == {ObjectState.SKIPPED}
    changed = scenario.here if side == "here" else scenario.there
    edit(changed / "changed", b"new!", ago=50 if side == "here" else 150)
    edit(scenario.here / "same", b"same", ago=50)
    result = scenario.run(by_size)
    rows = scenario.rows()
    # What somebody edited at the destination was not in the plan: it stays.
    assert (scenario.there / "changed").read_bytes() == b"new!"
    expected = ObjectState.VERIFIED if side == "here" else ObjectState.FAILED
    assert rows["changed"].state is expected
    assert rows["quiet"].state is rows["same"].state is ObjectState.SKIPPED
    assert result.outcome is (Outcome.WITH_SKIPS if side == "here" else Outcome.WITH_ERRORS)


def test_a_skip_of_the_same_content_is_compared_again_where_a_side_changed(scenario: Scenario) -> None:
    for key in ("changed", "quiet"):
        for folder in (scenario.here, scenario.there):
            edit(folder / key, b"same", ago=100)

    def change_once(verb: str, key: str) -> None:
        if verb == "stat" and key == "quiet" and (scenario.here / "changed").read_bytes() == b"same":
            edit(scenario.here / "changed", b"new!")

    plan_only(scenario, Spec(workers=1))
    scenario.destination.hook = change_once
    scenario.run(Spec(workers=1))
    assert contents(scenario.there) == contents(scenario.here)
    assert scenario.rows()["changed"].state is ObjectState.VERIFIED
    assert scenario.rows()["quiet"].state is ObjectState.SKIPPED


def test_a_quick_run_lists_everything_once(scenario: Scenario) -> None:
    scenario.fill({"a": b"same"})
    scenario.fill({"a": b"same"}, there=True)
    scenario.run(Spec())
    # The first time only its first objects, to see whether the two places overlap.
    assert len(scenario.source.keys_of("list")) == 2


def test_what_was_in_the_way_of_the_plan_and_is_gone_is_in_the_way_no_more(scenario: Scenario) -> None:
    spec = Spec(on_conflict=OnConflict.FAIL)
    scenario.fill({"freed": b"source", "taken": b"source"})
    scenario.fill({"freed": b"theirs", "taken": b"theirs"}, there=True)
    plan_only(scenario, spec)
    assert scenario.ledgers.counters().failed == 2
    (scenario.there / "freed").unlink()
    assert scenario.run(spec).outcome is Outcome.WITH_ERRORS
    assert (scenario.there / "freed").read_bytes() == b"source"
    assert (scenario.there / "taken").read_bytes() == b"theirs"
    assert [group.objects for group in scenario.ledgers.failures()] == [1]
