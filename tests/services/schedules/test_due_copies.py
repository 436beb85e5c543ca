"""Scheduled copies run when they are due, once, and say why if they do not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from dashboard.errors import InvalidInput, StowageError
from dashboard.jobs.timing import Timing
from dashboard.jobs.types import JobKind
from dashboard.migration.types import Spec
from dashboard.models.backends import BackendStatus
from dashboard.models.migrations import Job, Migration
from dashboard.models.schedules import CopyRun
from dashboard.services.schedules.copy_starts import RETRY_SECONDS, CopyStarts
from dashboard.services.schedules.copy_values import CopyPlan, RunState
from dashboard.services.services import Services
from tests.services.composed import add_local, fill
from tests.services.console import ADMIN, OPERATOR, VIEWER
from tests.services.schedules.conftest import START, Bench

HOUR, DAY = 3600.0, 86_400.0


def add(bench: Bench, when: str = "every 6 h", **more: object) -> int:
    return bench.copies.add(ADMIN, CopyPlan("work", "vault", Timing.parse(when), **more))  # type: ignore[arg-type]


def states(bench: Bench, number: int) -> list[RunState]:
    return [run.state for run in bench.copies.runs(number)]


def migrations(services: Services) -> int:
    with services.database.read() as session:
        return session.scalar(select(func.count()).select_from(Migration)) or 0


def set_status(services: Services, name: str, badge: str) -> None:
    number = services.backends.get(name).id
    with services.database.write() as session:
        row = update(BackendStatus).where(BackendStatus.backend_id == number)
        session.execute(row.values(badge=badge, message="The disk is gone.", remedy="Mount it."))


def test_nothing_begins_before_it_is_due_and_then_once(bench: Bench) -> None:
    number = add(bench)
    bench.tick(6 * HOUR - 1)
    assert migrations(bench.services) == 0
    bench.tick(1)
    bench.tick()
    assert migrations(bench.services) == 1
    (run,) = bench.copies.runs(number)
    assert (run.state, run.due_at) == (RunState.RUNNING, START + 6 * HOUR)
    assert bench.copies.get(number).next_run == START + 12 * HOUR


def test_what_was_missed_while_the_machine_was_off_runs_once(bench: Bench) -> None:
    number = add(bench)
    bench.tick(3 * DAY + 100)
    bench.tick()
    assert states(bench, number) == [RunState.RUNNING]
    assert bench.copies.get(number).next_run == START + 3 * DAY + 6 * HOUR


def test_a_run_that_is_still_under_way_is_not_disturbed(bench: Bench) -> None:
    number = add(bench)
    bench.tick(6 * HOUR)
    bench.tick(6 * HOUR)
    assert states(bench, number) == [RunState.SKIPPED, RunState.RUNNING]
    assert bench.copies.runs(number)[0].message == "The run before, migration 1, is still under way."
    with pytest.raises(StowageError, match="still under way"):
        bench.starts.run_now(ADMIN, number)
    bench.services.migrations.cancel(ADMIN, 1)
    bench.tick(6 * HOUR)
    assert states(bench, number) == [RunState.RUNNING, RunState.SKIPPED, RunState.CANCELLED]


@pytest.mark.parametrize("name", ["work", "vault"])
def test_a_backend_that_is_down_is_tried_again_soon(bench: Bench, name: str) -> None:
    number = add(bench)
    set_status(bench.services, name, "down")
    bench.tick(6 * HOUR)
    (run,) = bench.copies.runs(number)
    assert run.state is RunState.REFUSED
    assert run.message == f"The backend “{name}” is down: The disk is gone."
    assert run.remedy == "Mount it."
    bench.tick(RETRY_SECONDS)
    assert states(bench, number) == [RunState.REFUSED], "told once, however often it is tried"
    set_status(bench.services, name, "healthy")
    bench.tick(RETRY_SECONDS)
    assert states(bench, number) == [RunState.RUNNING, RunState.REFUSED]
    assert bench.copies.get(number).next_run == START + 6 * HOUR + 2 * RETRY_SECONDS + 6 * HOUR


def test_places_that_overlap_are_refused_when_it_is_added_and_when_it_runs(
    bench: Bench, tmp_path: Path
) -> None:
    add_local(bench.services, "inside", tmp_path / "work" / "inside")
    with pytest.raises(InvalidInput, match="inside the other"):
        bench.copies.add(ADMIN, CopyPlan("work", "inside", Timing.parse("daily 03:00")))
    with pytest.raises(InvalidInput, match="same place"):
        bench.copies.add(ADMIN, CopyPlan("work", "work", Timing.parse("daily 03:00")))
    number = add(bench)
    link = tmp_path / "work" / "x"
    link.mkdir(parents=True, exist_ok=True)
    edited = bench.services.backends.get("vault")
    assert edited.name == "vault"
    with bench.services.database.write() as session:
        from dashboard.models.backends import Backend

        row = session.get_one(Backend, edited.id)
        row.options = {**row.options, "root": str(link)}
    bench.tick(6 * HOUR)
    (run,) = bench.copies.runs(number)
    assert (run.state, run.migration) == (RunState.REFUSED, None)
    assert "inside the other" in run.message


def test_two_schedules_do_not_fight_over_one_place(bench: Bench, tmp_path: Path) -> None:
    add(bench, spec=Spec(prefix="a/"))
    add_local(bench.services, "other", tmp_path / "other")
    for source, destination, prefix in (("other", "vault", ""), ("vault", "work", "a/b")):
        with pytest.raises(InvalidInput):
            bench.copies.add(
                ADMIN, CopyPlan(source, destination, Timing.parse("daily 03:00"), Spec(prefix=prefix))
            )
    bench.copies.add(ADMIN, CopyPlan("other", "vault", Timing.parse("daily 03:00"), Spec(prefix="b/")))


def test_switched_off_and_removed_schedules_do_not_run(bench: Bench) -> None:
    number = add(bench)
    bench.copies.switch(ADMIN, number, enabled=False)
    bench.tick(DAY)
    assert migrations(bench.services) == 0
    assert bench.copies.get(number).next_run is None
    bench.copies.switch(ADMIN, number, enabled=True)
    assert bench.copies.get(number).next_run == bench.now + 6 * HOUR, "not at once"
    bench.copies.remove(ADMIN, number)
    bench.tick(DAY)
    assert migrations(bench.services) == 0
    with pytest.raises(StowageError, match="no scheduled copy"):
        bench.copies.get(number)


def test_a_removed_backend_is_named(bench: Bench) -> None:
    number = add(bench)
    bench.services.backends.remove(ADMIN, "vault")
    bench.tick(6 * HOUR)
    assert bench.copies.runs(number)[0].message == "The backend “vault” was removed."


def test_who_may_do_what(bench: Bench) -> None:
    number = add(bench)
    for actor in (OPERATOR, VIEWER):
        with pytest.raises(StowageError):
            bench.copies.switch(actor, number, enabled=False)
        with pytest.raises(StowageError):
            bench.copies.remove(actor, number)
    with pytest.raises(StowageError):
        bench.starts.run_now(VIEWER, number)
    with pytest.raises(StowageError):
        bench.starts.restore(VIEWER, number)
    assert bench.starts.run_now(OPERATOR, number) == 1


@pytest.mark.parametrize("place", ["enqueue", "record"])
def test_a_start_that_breaks_off_leaves_nothing_and_is_made_later(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """As if the process had died between “due” and “begun”."""
    number = add(bench)

    class Killed(BaseException):
        pass

    def die(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        if place == "enqueue":
            patch.setattr("dashboard.services.migrations.migrations.enqueue", die)
        else:
            patch.setattr(bench.services.audit, "record", die)
        with pytest.raises(Killed):
            bench.tick(6 * HOUR)
    assert (migrations(bench.services), bench.copies.runs(number)) == (0, ())
    bench.tick()
    assert migrations(bench.services) == 1
    assert states(bench, number) == [RunState.RUNNING]


_BEGIN = """
import sys, threading
from pathlib import Path
from dashboard.app import open_services
from dashboard.jobs.types import Job, JobContext, JobKind
from dashboard.services.schedules.copy_starts import CopyStarts
from dashboard.settings import Settings
services = open_services(Settings.from_env({}, instance=Path(sys.argv[1])))
starts = CopyStarts(services.database, services.audit, services.migrations, clock=lambda: float(sys.argv[2]))
context = JobContext(Job(1, JobKind.COPIES, 0, 1, 1, float("inf")), threading.Event())
print("ready", flush=True)
sys.stdin.readline()
starts.run(context)
print("begun", flush=True)
sys.stdin.readline()
"""


@pytest.mark.torture
@pytest.mark.timeout(600)
def test_twenty_kills_between_due_and_begun(bench: Bench) -> None:
    """Killed at any moment, a time that is due has one run and one queued job, or none and is made later."""
    fill(bench.work, {"a": 1})
    number = add(bench, "every 1 h")
    killed_before = killed_after = 0
    for turn in range(20):
        bench.now += HOUR
        child = subprocess.Popen(
            [sys.executable, "-c", _BEGIN, str(bench.services.settings.instance), str(bench.now)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert child.stdin
        assert child.stdout
        assert child.stdout.readline() == "ready\n"
        child.stdin.write("\n")
        child.stdin.flush()
        # A moment before, during or after the transaction, and some that are certainly after it.
        if turn < 15:
            time.sleep(turn * 0.01)
        else:
            assert child.stdout.readline() == "begun\n"
        os.kill(child.pid, signal.SIGKILL)
        child.communicate()
        runs = bench.copies.runs(number)
        due = [run for run in runs if run.due_at == START + (turn + 1) * HOUR]
        killed_before += not due
        killed_after += bool(due)
        bench.tick()
        runs = [
            run for run in bench.copies.runs(number, limit=500) if run.due_at == START + (turn + 1) * HOUR
        ]
        assert len(runs) == 1
        assert runs[0].migration == turn + 1
        with bench.services.database.read() as session:
            mine = (Job.kind == JobKind.MIGRATION.value) & (Job.subject_id == turn + 1)
            assert session.scalar(select(func.count()).select_from(Job).where(mine)) == 1
            assert session.scalar(select(func.count()).select_from(CopyRun)) == turn + 1
        bench.services.migrations.cancel(ADMIN, turn + 1)
    print(f"killed before it was begun: {killed_before}, after: {killed_after}")
    assert killed_before
    assert killed_after


def test_several_runners_begin_it_once(bench: Bench) -> None:
    import threading

    number = add(bench)
    bench.now += 6 * HOUR
    ready = threading.Barrier(4)

    def begin() -> None:
        starts = CopyStarts(
            bench.services.database, bench.services.audit, bench.services.migrations, clock=bench.clock
        )
        ready.wait()
        starts._run_due(number, START + 6 * HOUR)

    threads = [threading.Thread(target=begin) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert migrations(bench.services) == 1
    assert len(bench.copies.runs(number)) == 1
