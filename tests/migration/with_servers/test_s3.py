"""The same engine against a real S3 server, whose listing is ordered by folder and not by key."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest

from dashboard.migration.run import MigrationJob, run
from dashboard.migration.types import Action, Control, ObjectState, Outcome, Spec, State, Verify
from dashboard.storage.drivers.local.driver import LocalDriver
from dashboard.storage.types import Secret
from tests.migration.ledgers import SqlLedgers
from tests.migration.round_trip import migrate
from tests.migration.scenario import LARGE, contents, some_objects
from tests.servers.drivers import s3_on
from tests.servers.faults import FaultProxy
from tests.servers.seaweedfs import SeaweedFS

KEYS = tuple(Secret(base64.b64encode(bytes([n]) * 32).decode()) for n in (1, 2))


@pytest.mark.parametrize(
    ("verify", "keys"),
    [(Verify.CHECKSUM, (None, None)), (Verify.SIZE, (None, None)), (Verify.CHECKSUM, KEYS)],
    ids=["checksum", "size", "checksum, each with its own key"],
)
def test_there_and_across_and_back_again(
    tmp_path: Path, seaweedfs: SeaweedFS, verify: Verify, keys: tuple[Secret | None, ...]
) -> None:
    here, back = tmp_path / "here", tmp_path / "back"
    back.mkdir()
    objects = some_objects(60) | {
        "large.bin": os.urandom(LARGE * 2),
        "empty": b"",
        "a/x": b"1",
        "a-b": b"2",
        "ä ö/ü+%20&.txt": b"3",
    }
    for key, content in objects.items():
        path = here / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    one, two = (
        s3_on(seaweedfs, seaweedfs.new_bucket(), prefix, customer_key=key)
        for prefix, key in zip(("", "deep/er/"), keys, strict=True)
    )
    spec = Spec(workers=8, verify=verify)
    for step, (source, destination) in enumerate(
        [(LocalDriver(str(here)), one), (one, two), (two, LocalDriver(str(back)))]
    ):
        ledgers = migrate(tmp_path / f"step {step}", source, destination, spec)
        assert {row.state for row in ledgers.rows()} == {ObjectState.VERIFIED}
        assert {row.action for row in ledgers.rows()} == {Action.COPY}
        ledgers.close()
    assert contents(back) == contents(here)
    # Nothing differs any more: the second time, nothing moves.
    again = migrate(tmp_path / "again", LocalDriver(str(here)), one, spec)
    assert {row.state for row in again.rows()} == {ObjectState.SKIPPED}
    again.close()
    for driver in (one, two):
        driver.close()


def test_an_object_that_is_not_listed_under_its_name_is_no_copy(tmp_path: Path, seaweedfs: SeaweedFS) -> None:
    # SeaweedFS keeps “a\b” as “a/b” and hides “.uploads/”, and answers to both names.
    here = tmp_path / "here"
    for name in ("a\\b", ".uploads/x", "plain"):
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_bytes(b"precious")
    place = s3_on(seaweedfs, seaweedfs.new_bucket(), "")
    ledgers = migrate(
        tmp_path / "ledgers", LocalDriver(str(here)), place, Spec(delete_source=True), failing=True
    )
    rows = {row.key: row for row in ledgers.rows()}
    assert rows["plain"].deleted
    assert set(contents(here)) == {"a\\b", ".uploads/x"}
    for key in ("a\\b", ".uploads/x"):
        assert (rows[key].state, rows[key].kind) == (ObjectState.FAILED, "invalid_key")
        assert "does not list it" in rows[key].reason
        assert rows[key].remedy
    ledgers.close()
    place.close()


def test_an_object_that_a_server_never_takes_costs_few_requests(
    tmp_path: Path, seaweedfs: SeaweedFS, fault_proxy: FaultProxy
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    for number in range(30):
        (here / f"f{number}").write_bytes(b"%d" % number)
    (here / "never").write_bytes(b"x")
    (here / "never large").write_bytes(b"x" * LARGE)
    place = s3_on(seaweedfs, seaweedfs.new_bucket(), "", endpoint=fault_proxy.endpoint)
    busy = fault_proxy.slow_down(key="never", method="PUT", times=None)
    begun = fault_proxy.slow_down(key="never large?uploads", method="POST", times=None)
    ledgers = SqlLedgers(tmp_path)
    result = run(
        MigrationJob(1, Spec(workers=4), lambda: True, "source"),
        LocalDriver(str(here)),
        place,
        ledgers.open(),
        lambda: Control.RUN,
        on_state=lambda *state: None,
    )
    assert (result.state, result.outcome) == (State.FINISHED, Outcome.WITH_ERRORS)
    failed = [row for row in ledgers.rows() if row.state is ObjectState.FAILED]
    assert {(row.key, row.kind) for row in failed} == {("never", "throttled"), ("never large", "throttled")}
    assert (busy.hits, begun.hits) == (8, 8)
    ledgers.close()
    place.close()


def test_a_server_that_only_asks_for_patience_is_an_outage(
    tmp_path: Path, seaweedfs: SeaweedFS, fault_proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashboard.migration.retry_policy.MAX_OUTAGE_SECONDS", 0.5)
    here = tmp_path / "here"
    here.mkdir()
    for number in range(40):
        (here / f"f{number}").write_bytes(b"%d" % number)
    place = s3_on(seaweedfs, seaweedfs.new_bucket(), "", endpoint=fault_proxy.endpoint)
    busy = fault_proxy.slow_down(method="PUT", times=None)
    ledgers = SqlLedgers(tmp_path)
    result = run(
        MigrationJob(1, Spec(workers=4), lambda: True, "source"),
        LocalDriver(str(here)),
        place,
        ledgers.open(),
        lambda: Control.RUN,
        on_state=lambda *state: None,
    )
    assert result.state is State.FAILED
    assert "throttling" in result.message
    assert ledgers.counters().failed == 0
    assert busy.hits < 100
    ledgers.close()
    place.close()


@pytest.mark.parametrize("harm", ["refused aborts", "lost answer"])
def test_no_unfinished_upload_of_a_run_stays(
    tmp_path: Path, seaweedfs: SeaweedFS, fault_proxy: FaultProxy, harm: str
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (here / "large").write_bytes(b"x" * LARGE)
    (here / "there").write_bytes(b"y" * LARGE)
    bucket, s3 = seaweedfs.new_bucket(), seaweedfs.client()
    place = s3_on(seaweedfs, bucket, "p/", endpoint=fault_proxy.endpoint)
    with place.write("there", size=LARGE) as writing:
        writing.write(b"y" * LARGE)
        writing.commit()
    theirs = ("p/of others", "elsewhere", "p/there")
    for key in theirs:
        s3.create_multipart_upload(Bucket=bucket, Key=key)
    if harm == "lost answer":
        lost = fault_proxy.reset(key="large?uploads", method="POST", after=0)
    else:
        fault_proxy.slow_down(key="large?partNumber", method="PUT", times=None)
        lost = fault_proxy.answer(403, "AccessDenied", key="uploadId", method="DELETE", times=4)
    ledgers = SqlLedgers(tmp_path)
    result = run(
        MigrationJob(1, Spec(workers=4), lambda: True, "source"),
        LocalDriver(str(here)),
        place,
        ledgers.open(),
        lambda: Control.RUN,
        on_state=lambda *state: None,
    )
    outcome = Outcome.WITH_SKIPS if harm == "lost answer" else Outcome.WITH_ERRORS
    assert (result.state, result.outcome) == (State.FINISHED, outcome)
    assert lost.hits == lost.times
    left = s3.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
    assert {each["Key"] for each in left} == set(theirs)
    ledgers.close()
    place.close()
