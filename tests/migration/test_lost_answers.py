"""Writes that arrived although nobody heard of it, and objects that others wrote: which is which."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dashboard.errors import Kind
from dashboard.migration.provenance import MARK
from dashboard.migration.types import ObjectState, Outcome, Spec, State
from dashboard.storage.drivers.local.driver import LocalDriver
from dashboard.storage.drivers.s3.driver import S3Driver
from tests.migration.ledgers import SqlLedgers
from tests.migration.round_trip import migrate
from tests.migration.scenario import LARGE, FailingCalls, Scenario, contents, some_objects
from tests.servers.drivers import s3_on
from tests.servers.faults import FaultProxy
from tests.servers.seaweedfs import SeaweedFS

MOVE = Spec(workers=4, delete_source=True)


@pytest.fixture(scope="module")
def proxy(seaweedfs: SeaweedFS) -> Iterator[FaultProxy]:
    with FaultProxy(seaweedfs.endpoint) as made:
        yield made


@pytest.fixture
def bucket(seaweedfs: SeaweedFS, proxy: FaultProxy) -> Iterator[S3Driver]:
    proxy.clear()
    driver = s3_on(seaweedfs, seaweedfs.new_bucket(), "", endpoint=proxy.endpoint)
    yield driver
    proxy.clear()
    driver.close()


@pytest.mark.parametrize("delete_source", [False, True])
def test_a_lost_answer_turns_no_copy_into_a_skip(
    tmp_path: Path, proxy: FaultProxy, bucket: S3Driver, delete_source: bool
) -> None:
    objects = some_objects(40) | {"large.bin": b"l" * LARGE * 2}
    here = tmp_path / "here"
    for key, content in objects.items():
        (here / key).parent.mkdir(parents=True, exist_ok=True)
        (here / key).write_bytes(content)
    # It has learnt that this server heeds If-None-Match before answers get lost.
    bucket.put("first", b"", create_only=True)
    bucket.delete("first")
    lost = proxy.lose_answer(key="object", times=15)
    completed = proxy.lose_answer(key="uploadId", method="POST")
    spec = Spec(workers=4, delete_source=delete_source)
    ledgers = migrate(tmp_path / "ledgers", LocalDriver(str(here)), bucket, spec)
    assert (lost.hits, completed.hits) == (15, 1)
    assert {row.state for row in ledgers.rows()} == {ObjectState.VERIFIED}
    assert all(row.deleted is delete_source for row in ledgers.rows())
    assert {entry.key for entry in bucket.list()} == set(objects)
    assert len(contents(here)) == (0 if delete_source else len(objects))
    marked = [MARK in bucket.stat(key).attributes.metadata for key in list(objects)[:3]]
    assert marked == [delete_source] * 3
    ledgers.close()


def test_what_others_wrote_is_never_taken_for_ours(
    tmp_path: Path, proxy: FaultProxy, bucket: S3Driver
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    for name in ("early", "late", "large"):
        (here / name).write_bytes(b"same" * (LARGE // 2 if name == "large" else 1))
    bucket.put("early", b"same")

    class Interfering(LocalDriver):
        def read(self, key: str, *, if_version: str | None = None):  # type: ignore[no-untyped-def]
            # Between the plan and the copy: as others would, without our mark.
            if key != "early" and key not in {entry.key for entry in bucket.list()}:
                size = (here / key).stat().st_size
                with bucket.write(key, size=size) as writing:
                    writing.write((here / key).read_bytes())
                    writing.commit()
                proxy.slow_down(key=f"/{key}", method="PUT", times=4)
                proxy.reset(key=f"/{key}", method="POST", times=4)
            return super().read(key, if_version=if_version)

    ledgers = migrate(tmp_path / "ledgers", Interfering(str(here)), bucket, MOVE)
    assert {row.key: row.state for row in ledgers.rows()} == dict.fromkeys(
        ("early", "late", "large"), ObjectState.SKIPPED
    )
    assert set(contents(here)) == {"early", "late", "large"}
    ledgers.close()


@pytest.mark.parametrize("verbs", ["stat", "read", "stat read"])
def test_a_skip_after_passing_faults_deletes_nothing(scenario: Scenario, verbs: str) -> None:
    objects = some_objects(20)
    scenario.fill(objects)
    scenario.fill(objects, there=True)
    scenario.destination.hook = FailingCalls(Kind.UNREACHABLE, verbs, lambda key: True, times=1)
    assert scenario.run(MOVE).outcome is Outcome.WITH_SKIPS
    assert {row.state for row in scenario.rows().values()} == {ObjectState.SKIPPED}
    assert set(contents(scenario.here)) == set(objects)


def test_a_lost_answer_of_a_disk_is_recognised_too(scenario: Scenario) -> None:
    scenario.fill(some_objects(20) | {"large": b"l" * LARGE})
    scenario.destination.hook = FailingCalls(Kind.UNREACHABLE, "stored", lambda key: True, times=1)
    assert scenario.run(MOVE).outcome is Outcome.CLEAN
    assert contents(scenario.here) == {}
    assert len(contents(scenario.there)) == 21


def test_after_a_kill_only_what_is_younger_than_its_row_is_ours(scenario: Scenario) -> None:
    scenario.fill({"ours": b"same", "theirs": b"same"})
    scenario.approved = False
    assert scenario.run(MOVE).state is State.READY
    scenario.fill({"theirs": b"same"}, there=True)
    time.sleep(0.1)
    killed = scenario.ledgers.open()
    killed.begin()
    killed.claim(10, time.time())
    scenario.destination.inner.put("ours", b"same")
    scenario.approved = True
    assert scenario.run(MOVE).outcome is Outcome.WITH_SKIPS
    assert set(contents(scenario.here)) == {"theirs"}
    states = {key: row.state for key, row in scenario.rows().items()}
    assert states == {"ours": ObjectState.VERIFIED, "theirs": ObjectState.SKIPPED}


def test_what_failed_after_its_last_answer_was_lost_is_ours_when_tried_again(tmp_path: Path) -> None:
    ledgers = SqlLedgers(tmp_path)
    scenario = Scenario(tmp_path, ledgers)
    scenario.fill({"a": b"same"})
    scenario.destination.hook = FailingCalls(Kind.DENIED, "stored", lambda key: True, times=1)
    assert scenario.run(MOVE).outcome is Outcome.WITH_ERRORS
    assert ledgers.queries.retry_failed(ledgers.id) == 1
    assert scenario.run(MOVE).outcome is Outcome.CLEAN
    assert contents(scenario.here) == {}
    ledgers.close()
