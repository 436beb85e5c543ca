"""The connection test: what it says of a backend, and that nothing is left behind."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from dashboard.errors import Kind
from dashboard.storage import probe_steps
from dashboard.storage.driver import Driver
from dashboard.storage.drivers.local.driver import LocalDriver
from dashboard.storage.errors import StorageError
from dashboard.storage.probe import ProbeRun, probe
from dashboard.storage.probe_steps import CANARY
from dashboard.storage.registry import build, check_options
from dashboard.storage.types import Secret
from tests.servers.s3 import KeyPair
from tests.servers.seaweedfs import SeaweedFS
from tests.storage.probing import PLAIN_STEPS, S3_STEPS, failed_step, run, states, step_of


def test_a_good_disk_passes_every_step_and_is_left_as_it_was(root: Path) -> None:
    result = run(LocalDriver(str(root)))
    assert [step.name for step in result.steps] == PLAIN_STEPS
    assert set(states(result).values()) == {"passed"}
    assert result.passed
    assert not result.can_create_bucket
    assert all(step.milliseconds is not None and step.milliseconds >= 0 for step in result.steps)
    assert all(step.message and step.label for step in result.steps)
    assert [p.name for p in root.iterdir() if p.name != ".stowage-tmp"] == []


def test_each_step_is_told_when_it_begins_and_when_it_ends(root: Path) -> None:
    told = [(step.name, step.state) for step in probe(LocalDriver(str(root)))]
    assert told == [(name, state) for name in PLAIN_STEPS for state in ("running", "passed")]


def test_a_missing_folder_may_be_created(root: Path) -> None:
    driver = LocalDriver(str(root / "new"))
    result = run(driver)
    assert not result.passed
    assert result.can_create_bucket
    assert states(result) == {"bucket": "failed", "write": "skipped", "read": "skipped"} | {
        "list": "skipped",
        "delete": "skipped",
        "names": "skipped",
    }
    assert str(root / "new") in step_of(result, "bucket").message
    assert "Create it here" in step_of(result, "bucket").remedy
    driver.create_bucket()
    assert run(driver).passed


class Troubled(LocalDriver):
    """A disk on which single calls fail in a chosen way."""

    def __init__(self, root: Path, **troubles: StorageError) -> None:
        super().__init__(str(root))
        self.troubles = troubles

    def _check(self, call: str) -> None:
        if call in self.troubles:
            raise self.troubles[call]

    def put(self, *args: Any, **kwargs: Any) -> Any:
        self._check("put")
        return super().put(*args, **kwargs)

    def read(self, *args: Any, **kwargs: Any) -> Any:
        self._check("read")
        return super().read(*args, **kwargs)

    def list(self, *args: Any, **kwargs: Any) -> Any:
        self._check("list")
        return super().list(*args, **kwargs)

    def delete(self, key: str) -> None:
        self._check("delete")
        super().delete(key)


def denied(what: str) -> StorageError:
    return StorageError(Kind.DENIED, f"The key is right but may not {what}.", remedy=f"Add {what}.")


def canaries(root: Path) -> list[str]:
    return [p.name for p in root.iterdir() if p.name.startswith(CANARY)]


def test_a_key_that_may_read_but_not_write(root: Path) -> None:
    LocalDriver(str(root)).put("there", b"x")
    result = run(Troubled(root, put=denied("write")))
    assert states(result) == {
        "bucket": "passed",
        "write": "failed",
        "read": "passed",
        "list": "passed",
        "delete": "skipped",
        "names": "skipped",
    }
    assert "may read but not write" in step_of(result, "read").message
    assert step_of(result, "write").remedy == "Add write."
    assert not result.passed


def test_a_key_that_may_not_write_to_an_empty_place(root: Path) -> None:
    result = run(Troubled(root, put=denied("write")))
    assert states(result)["read"] == "skipped"
    assert states(result)["list"] == "passed"


@pytest.mark.parametrize("call", ["read", "list"])
def test_the_canary_goes_even_when_a_middle_step_fails(root: Path, call: str) -> None:
    result = run(Troubled(root, **{call: denied(call)}))
    expected = {name: "failed" if name == call else "passed" for name in PLAIN_STEPS}
    if call == "list":
        expected["names"] = "skipped"
    assert states(result) == expected
    assert canaries(root) == []


def test_a_canary_that_may_not_be_deleted_is_named(root: Path) -> None:
    result = run(Troubled(root, delete=denied("delete")))
    [left] = canaries(root)
    assert left in step_of(result, "delete").message
    assert step_of(result, "delete").remedy == "Add delete."


def test_bytes_that_come_back_changed_are_told(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Bending(LocalDriver):
        def put(self, key: str, data: bytes, **kwargs: Any) -> Any:
            return super().put(key, data[:-1] + b"?!"[:1], **kwargs)

    monkeypatch.setattr("secrets.token_bytes", lambda size: b"x" * size)
    result = run(Bending(str(root)))
    assert "not the bytes that were written" in step_of(result, "read").message
    assert states(result)["delete"] == "passed"


def test_a_backend_that_dies_midway_ends_the_test(root: Path) -> None:
    gone = StorageError(Kind.UNREACHABLE, "The server closed the connection.", remedy="Try again.")
    result = run(Troubled(root, read=gone))
    assert states(result)["read"] == "failed"
    assert states(result)["list"] == states(result)["delete"] == "skipped"
    assert canaries(root) == []


def test_a_call_that_hangs_is_left_in_time(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    class Hanging(LocalDriver):
        def read(self, *args: Any, **kwargs: Any) -> Any:
            # Whoever waits for it waits for ever.
            release.wait()
            return super().read(*args, **kwargs)

    # Enough for the steps that do not hang, on a busy machine as well.
    monkeypatch.setattr(probe_steps, "CALL_SECONDS", 3.0)
    try:
        result = run(Hanging(str(root)))
    finally:
        release.set()
    assert "no answer within" in step_of(result, "read").message
    assert canaries(root) == []


def test_a_test_can_be_stopped_and_cleans_up(root: Path) -> None:
    release = threading.Event()

    class Slow(LocalDriver):
        def read(self, *args: Any, **kwargs: Any) -> Any:
            # Whoever waits for it waits for ever.
            release.wait()
            return super().read(*args, **kwargs)

    driver = Slow(str(root))
    result = ProbeRun.of(driver)
    stopping = threading.Event()
    try:
        for step in probe(driver, stop=stopping.is_set):
            result = result.with_step(step)
            if step.name == "read":
                stopping.set()
    finally:
        release.set()
    assert states(result)["read"] == states(result)["delete"] == "skipped"
    assert "stopped" in step_of(result, "read").message
    assert canaries(root) == []


def test_a_test_nobody_finishes_cleans_up(root: Path) -> None:
    steps = probe(LocalDriver(str(root)))
    for step in steps:
        if step.name == "write" and step.state == "passed":
            break
    assert len(canaries(root)) == 1
    steps.close()  # type: ignore[attr-defined]
    assert canaries(root) == []


def s3(server: SeaweedFS, bucket: str, identity: KeyPair, **changes: str) -> Driver:
    options = {"endpoint": server.endpoint, "bucket": bucket, "access_key_id": identity.access_key, **changes}
    secrets = {"secret_access_key": Secret(changes.pop("secret", identity.secret_key))}
    options.pop("secret", None)
    return build("s3", check_options("s3", options, secrets), secrets)


def test_a_real_server_passes_and_keeps_nothing(seaweedfs: SeaweedFS, shared_bucket: str) -> None:
    driver = s3(seaweedfs, shared_bucket, seaweedfs.admin, prefix="probe-good")
    result = run(driver)
    assert result.passed, result
    assert [step.name for step in result.steps] == S3_STEPS
    assert list(driver.list()) == []


def test_a_wrong_secret_and_a_wrong_key_fail_at_sign_in(seaweedfs: SeaweedFS, shared_bucket: str) -> None:
    for changes in ({"secret": "not-the-secret"}, {"access_key_id": "NOBODY"}):
        step = failed_step(run(s3(seaweedfs, shared_bucket, seaweedfs.admin, **changes)), "authenticate")
        assert "not-the-secret" not in step.message + step.remedy


def test_a_missing_bucket_is_offered_to_be_made(seaweedfs: SeaweedFS) -> None:
    result = run(s3(seaweedfs, "bucket-that-is-not-there", seaweedfs.admin))
    assert "bucket-that-is-not-there" in failed_step(result, "bucket").message
    assert result.can_create_bucket


def test_a_read_only_key_reads_and_lists(seaweedfs: SeaweedFS, shared_bucket: str) -> None:
    s3(seaweedfs, shared_bucket, seaweedfs.admin, prefix="probe-reader").put("there", b"x")
    result = run(s3(seaweedfs, shared_bucket, seaweedfs.reader, prefix="probe-reader"))
    assert states(result) == dict.fromkeys(S3_STEPS, "passed") | {
        "write": "failed",
        "delete": "skipped",
        "names": "skipped",
    }
    assert "s3:PutObject" in step_of(result, "write").message + step_of(result, "write").remedy
    assert "may read but not write" in step_of(result, "read").message
