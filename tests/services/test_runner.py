"""Jobs from the button to the end: planned, approved, paused, taken over, and reported truthfully."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from dashboard.errors import Kind, StowageError
from dashboard.jobs.types import LANES, RESTART_CODE, JobKind
from dashboard.migration import run as engine
from dashboard.migration.types import ObjectState, Outcome, Progress, Spec, State
from dashboard.models.migrations import Job
from dashboard.services.consoles.runner_locks import FolderLock
from dashboard.services.jobs import Jobs
from dashboard.services.services import Services
from tests.servers.faults import FaultProxy
from tests.servers.processes import wait_until
from tests.servers.seaweedfs import SeaweedFS
from tests.services.composed import add_local, add_s3, await_state, composed, digests, fill, running
from tests.services.console import ADMIN

FEW = {f"folder {n % 3}/file {n}.bin": 200 + n for n in range(40)}
MANY = {f"{n % 7}/{n}.bin": 300 for n in range(2500)}
SLOWLY = Spec(workers=4, objects_per_second="40")
"""``MANY`` last a minute, however fast the machine is: nothing ends before a test has interfered."""


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    """A console with the local backends “here” (to be filled) and “there” (empty)."""
    with composed(tmp_path / "instance") as services:
        add_local(services, "here", tmp_path / "here")
        add_local(services, "there", tmp_path / "there")
        yield services


def migration_jobs(services: Services) -> list[Job]:
    with services.database.read() as session:
        return list(session.scalars(select(Job).where(Job.kind == JobKind.MIGRATION)))


def await_copied(services: Services, number: int, objects: int) -> Progress:
    wait_until(
        lambda: services.migrations.progress(number).counters.copied >= objects,
        seconds=60,
        what=f"{objects} objects copied",
    )
    return services.migrations.progress(number)


def unlimited(services: Services, number: int) -> None:
    """Let a migration go on as fast as it can."""
    services.migration_limits.change(ADMIN, number, objects="off")


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests in which nothing hangs: a call that is slow on a busy machine is waited for."""
    monkeypatch.setattr(engine, "SHUTDOWN_SECONDS", 60.0)


def leftovers(root: Path, expected: int) -> list[Path]:
    """Files there are beyond the expected number; all of them when they do not fit."""
    # The runner may be removing its empty working folder at this moment, which os.walk passes over.
    files = [Path(folder, name) for folder, _, names in os.walk(root) for name in names]
    return [] if len(files) == expected else files


def assert_whole(services: Services, number: int, objects: int) -> None:
    """Everything arrived, once, and the books agree with reality."""
    progress = services.migrations.progress(number)
    assert (progress.state, progress.outcome) == (State.FINISHED, Outcome.CLEAN), progress.message
    assert digests(services, "there") == digests(services, "here")
    counters = progress.counters
    assert (counters.found, counters.copied, counters.verified) == (objects, objects, objects)
    rows = list(services.migrations.rows(number, limit=1000))
    while page := services.migrations.rows(number, after_id=rows[-1].id, limit=1000):
        rows += page
    assert {row.state for row in rows} == {ObjectState.VERIFIED}
    assert len(rows) == objects
    assert sum(row.size for row in rows) == counters.found_bytes == counters.copied_bytes
    assert progress.percent == 100.0
    assert progress.in_flight == ()


def test_a_migration_is_reviewed_and_then_copied(services: Services, tmp_path: Path) -> None:
    fill(tmp_path / "here", FEW)
    with running(services):
        number = services.migrations.create(ADMIN, "here", "there", Spec())
        progress = await_state(services, number, State.READY)
        assert (progress.counters.to_copy, progress.counters.listing_final) == (len(FEW), True)
        # Checks of the destination may be writing their test objects there at this moment.
        assert {path.name for path in (tmp_path / "there").iterdir()} <= {".stowage-tmp"}
        services.migrations.approve(ADMIN, number)
        await_state(services, number, State.FINISHED)
        wait_until(
            lambda: services.backends.get("there").status.objects == len(FEW),
            seconds=60,
            what="destination counted afterwards",
        )
        wait_until(
            lambda: services.backends.get("here").status.badge == "healthy", seconds=60, what="checked too"
        )
    assert_whole(services, number, len(FEW))
    assert services.migrations.progress(number).elapsed > 0
    actions = [(row.action, row.actor) for row in services.audit.rows(action="migration")]
    assert actions == [
        ("migration.finish", "runner"),
        ("migration.approve", "ada"),
        ("migration.start", "runner"),
        ("migration.create", "ada"),
    ]


def test_a_command_without_a_console_runs_its_migration_itself(services: Services, tmp_path: Path) -> None:
    fill(tmp_path / "here", FEW)
    number = services.migrations.create(ADMIN, "here", "there", Spec())
    seen: list[Progress] = []
    assert services.runner.run_job_until_final(number, seen.append).state is State.READY
    assert not services.runner.is_alive()
    services.migrations.approve(ADMIN, number)
    assert services.runner.run_job_until_final(number, seen.append).state is State.FINISHED
    assert_whole(services, number, len(FEW))
    assert seen[0].state is State.PLANNING


def test_a_command_beside_a_console_only_watches(services: Services, tmp_path: Path) -> None:
    fill(tmp_path / "here", FEW)
    with running(services), composed(tmp_path / "instance") as second:
        wait_until(second.runner.is_alive, seconds=60, what="runner alive")
        number = second.migrations.create(ADMIN, "here", "there", Spec(), approve=True)
        assert second.runner.run_job_until_final(number, lambda _: None).state is State.FINISHED
        assert second.runner.is_alive()
    assert len({job.owner for job in migration_jobs(services)}) == 1
    assert_whole(services, number, len(FEW))


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("wish", ["pause", "cancel"])
def test_pause_and_cancel_take_effect_before_the_end(services: Services, tmp_path: Path, wish: str) -> None:
    fill(tmp_path / "here", MANY)
    with running(services):
        number = services.migrations.create(ADMIN, "here", "there", SLOWLY, approve=True)
        await_copied(services, number, 40)
        getattr(services.migrations, wish)(ADMIN, number)
        state = State.PAUSED if wish == "pause" else State.CANCELLED
        progress = await_state(services, number, state)
        assert not progress.stopping
        done = progress.counters.copied
        assert 40 <= done < len(MANY)
        assert not leftovers(tmp_path / "there", done)
        wait_until(
            lambda: all(job.state == "done" for job in migration_jobs(services)), seconds=60, what="job done"
        )
        if wish == "pause":
            unlimited(services, number)
            services.migrations.resume(ADMIN, number)
            await_state(services, number, State.FINISHED)
    if wish == "pause":
        assert_whole(services, number, len(MANY))
        assert {row.attempts for row in services.migrations.rows(number, limit=1000)} == {1}


@pytest.mark.usefixtures("patient")
def test_a_stopped_runner_hands_the_migration_to_the_next(services: Services, tmp_path: Path) -> None:
    fill(tmp_path / "here", MANY)
    with running(services) as code:
        number = services.migrations.create(ADMIN, "here", "there", SLOWLY, approve=True)
        await_copied(services, number, 40)
    assert code == [0]
    progress = services.migrations.progress(number)
    assert (progress.state, progress.stopping) == (State.RUNNING, False)
    assert not leftovers(tmp_path / "there", progress.counters.copied)
    assert [job.state for job in migration_jobs(services)] == ["queued"]
    unlimited(services, number)
    with composed(tmp_path / "instance") as next_console, running(next_console):
        await_state(next_console, number, State.FINISHED)
    assert_whole(services, number, len(MANY))


def test_of_two_runners_on_one_database_the_stale_one_is_fenced_out(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "here", MANY)
    with running(services):
        number = services.migrations.create(ADMIN, "here", "there", SLOWLY, approve=True)
        await_copied(services, number, 40)
        first = migration_jobs(services)[0].fence
        # As if the lock did not work, on some network file system: the second takes everything over.
        with composed(tmp_path / "instance") as other:
            monkeypatch.setattr(other.runner, "_new_lock", lambda: FolderLock(tmp_path))
            with running(other):
                wait_until(
                    lambda: migration_jobs(services)[0].fence > first, seconds=60, what="the job taken over"
                )
                unlimited(other, number)
                await_state(other, number, State.FINISHED)
                wait_until(
                    lambda: all(job.state == "done" for job in migration_jobs(services)),
                    seconds=60,
                    what="job done",
                )
    assert migration_jobs(services)[0].fence > first
    assert_whole(services, number, len(MANY))


def test_a_migration_that_cannot_go_on_says_why_and_can_be_resumed(
    services: Services, tmp_path: Path
) -> None:
    fill(tmp_path / "here", FEW)
    (tmp_path / "here").rename(tmp_path / "away")
    with running(services):
        number = services.migrations.create(ADMIN, "here", "there", Spec(), approve=True)
        progress = await_state(services, number, State.FAILED)
        assert progress.message
        assert progress.remedy
        (tmp_path / "away").rename(tmp_path / "here")
        services.migrations.resume(ADMIN, number)
        await_state(services, number, State.FINISHED)
    assert_whole(services, number, len(FEW))
    assert services.audit.rows(action="migration.fail")[0].outcome == "failed"


def test_a_fault_of_ours_is_a_safe_sentence(
    services: Services, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("secret=hunter2")

    monkeypatch.setattr(engine, "run", broken)
    with running(services):
        number = services.migrations.create(ADMIN, "here", "there", Spec(), approve=True)
        progress = await_state(services, number, State.FAILED)
    assert "Something went wrong inside Stowage" in progress.message
    assert "hunter2" not in progress.message + progress.remedy
    assert progress.remedy


def test_a_sealed_console_does_nothing(services: Services, tmp_path: Path) -> None:
    fill(tmp_path / "here", FEW)
    services.settings.key_file.rename(tmp_path / "key")
    number = services.migrations.create(ADMIN, "here", "there", Spec(), approve=True)
    with pytest.raises(StowageError) as refusal:
        services.runner.run_job_until_final(number, lambda _: None)
    assert refusal.value.kind is Kind.SEALED
    with running(services):
        time.sleep(1.2)
        assert {job.state for job in migration_jobs(services)} == {"queued"}
        assert services.backends.get("here").status.checked_at is None
        (tmp_path / "key").rename(services.settings.key_file)
        await_state(services, number, State.FINISHED)


def test_a_move_empties_the_source_and_leaves_no_trace_of_its_precautions(
    services: Services, tmp_path: Path
) -> None:
    fill(tmp_path / "here", FEW)
    before = digests(services, "here")
    with running(services):
        number = services.migrations.create(ADMIN, "here", "there", Spec(delete_source=True), approve=True)
        progress = await_state(services, number, State.FINISHED)
    assert (progress.outcome, progress.counters.deleted) == (Outcome.CLEAN, len(FEW))
    assert digests(services, "there") == before
    assert digests(services, "here") == {}
    assert not leftovers(tmp_path / "there", len(FEW))


def test_one_bucket_under_two_addresses_is_not_emptied(
    services: Services, seaweedfs: SeaweedFS, fault_proxy: FaultProxy
) -> None:
    bucket = seaweedfs.new_bucket()
    add_s3(services, "front", seaweedfs.endpoint, bucket, seaweedfs.admin)
    add_s3(services, "side", fault_proxy.endpoint, bucket, seaweedfs.admin)
    services.backends.driver("front").put("precious", b"data")
    with running(services):
        number = services.migrations.create(ADMIN, "front", "side", Spec(delete_source=True), approve=True)
        progress = await_state(services, number, State.FAILED)
    assert "same place" in progress.message
    assert [entry.key for entry in services.backends.driver("front").list()] == ["precious"]


def test_threads_stuck_in_the_network_do_not_delay_a_pause_and_the_process_is_replaced(
    services: Services, seaweedfs: SeaweedFS, fault_proxy: FaultProxy, tmp_path: Path
) -> None:
    fill(tmp_path / "here", {f"{n}.bin": 1000 for n in range(20)})
    bucket = seaweedfs.new_bucket()
    add_s3(services, "hole", fault_proxy.endpoint, bucket, seaweedfs.admin)
    hole = fault_proxy.black_hole(method="PUT", key="7.bin")
    with running(services) as code:
        number = services.migrations.create(ADMIN, "here", "hole", Spec(workers=2), approve=True)
        wait_until(lambda: hole.hits > 0, seconds=60, what="a request in the hole")
        services.migrations.pause(ADMIN, number)
        # The hole keeps its request for ever: nobody waited for it.
        await_state(services, number, State.PAUSED)
        wait_until(lambda: bool(code), seconds=60, what="runner ended by itself")
    assert code == [RESTART_CODE]
    fault_proxy.clear()
    with composed(tmp_path / "instance") as fresh, running(fresh):
        wait_until(
            lambda: all(job.state == "done" for job in migration_jobs(fresh)), seconds=60, what="cleared up"
        )
        assert fresh.migrations.progress(number).state is State.PAUSED
        fresh.migrations.resume(ADMIN, number)
        assert await_state(fresh, number, State.FINISHED).outcome is Outcome.CLEAN
        assert digests(fresh, "hole") == digests(fresh, "here")


def test_taking_back_a_pause_before_it_took_effect_goes_on(services: Services, tmp_path: Path) -> None:
    fill(tmp_path / "here", MANY)
    with running(services):
        number = services.migrations.create(ADMIN, "here", "there", SLOWLY, approve=True)
        await_copied(services, number, 40)
        for _ in range(5):
            services.migrations.pause(ADMIN, number)
            services.migrations.resume(ADMIN, number)
        unlimited(services, number)
        await_state(services, number, State.FINISHED)
    assert_whole(services, number, len(MANY))


def test_leases_of_a_killed_runner_do_not_hold_up_the_next(services: Services, tmp_path: Path) -> None:
    fill(tmp_path / "here", FEW)
    number = services.migrations.create(ADMIN, "here", "there", Spec(), approve=True)
    assert Jobs(services.database).claim(frozenset({JobKind.MIGRATION}), "killed", 600)
    with running(services):
        # Long before the lease of ten minutes ends.
        await_state(services, number, State.FINISHED)
    assert_whole(services, number, len(FEW))


def test_every_kind_of_job_has_threads_of_exactly_one_lane(services: Services) -> None:
    """A kind without a lane would be queued and never run."""
    kinds = [kind for lane in LANES for kind in lane.kinds]
    assert sorted(kinds) == sorted(JobKind)
    assert set(services.runner.handlers()) == set(JobKind)
