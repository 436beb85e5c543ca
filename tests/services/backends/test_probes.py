"""Connection tests: bounded, private to who started them, and silent while the console is sealed."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dashboard.errors import Kind, StowageError
from dashboard.services.backends import probes as module
from dashboard.services.backends.backends import Badge, Draft
from dashboard.services.backends.probes import ProbeRun, Probes
from dashboard.services.permissions import Actor, Role
from dashboard.storage.types import Secret
from tests.servers.processes import wait_until
from tests.servers.s3 import KeyPair, bucket_name
from tests.servers.seaweedfs import SeaweedFS
from tests.services.console import ADMIN, OPERATOR, ServiceConsole


@pytest.fixture
def probes(console: ServiceConsole) -> Probes:
    return console.services.probes


def s3(endpoint: str, bucket: str, identity: KeyPair | None = None, name: str = "media") -> Draft:
    access, secret = (identity.access_key, identity.secret_key) if identity else ("me", "x" * 20)
    options = {"endpoint": endpoint, "bucket": bucket, "access_key_id": access}
    return Draft(name, "minio", options, {"secret_access_key": Secret(secret)})


def local(root: Path, name: str = "files") -> Draft:
    return Draft(name, "local", {"root": str(root)}, {})


def finished(probes: Probes, probe_id: str, actor: Actor = ADMIN) -> ProbeRun:
    wait_until(lambda: probes.get(actor, probe_id).finished, seconds=60, what="the end of a probe")
    return probes.get(actor, probe_id)


@contextmanager
def listener() -> Iterator[tuple[str, list[socket.socket]]]:
    """A server that takes connections and never says a word."""
    taken: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    taken.append(server.accept()[0])
                except OSError:
                    return

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}", taken
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in taken:
                connection.close()


def test_a_draft_is_tested_without_being_saved(
    probes: Probes, console: ServiceConsole, tmp_path: Path
) -> None:
    root = tmp_path / "files"
    root.mkdir()
    run = finished(probes, probes.start(ADMIN, local(root)))
    assert run.passed
    assert {step.state for step in run.steps} == {"passed"}
    assert list(root.iterdir()) == []
    assert [backend.name for backend in console.services.backends.list()] == ["local-disk"]
    assert not console.services.status.checklist().tested


def test_the_command_line_sees_every_step_begin_and_end(probes: Probes, tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    steps = list(probes.run(ADMIN, local(tmp_path / "files")))
    assert [step.state for step in steps] == ["running", "passed"] * (len(steps) // 2)


def test_testing_a_saved_backend_updates_its_card(probes: Probes, console: ServiceConsole) -> None:
    backends = console.services.backends
    run = finished(probes, probes.start(OPERATOR, "local-disk"), OPERATOR)
    assert run.passed
    assert backends.get("local-disk").status.badge is Badge.HEALTHY
    assert console.services.status.checklist().tested
    backends.add(ADMIN, s3("http://127.0.0.1:1", "files"))
    run = finished(probes, probes.start(ADMIN, "media"))
    assert not run.passed
    (failed,) = (step for step in run.steps if step.state == "failed")
    assert failed.name == "connect"
    status = backends.get("media").status
    assert (status.badge, status.message, status.remedy) == (Badge.DOWN, failed.message, failed.remedy)


def test_a_missing_bucket_can_be_created_from_a_draft(
    probes: Probes, console: ServiceConsole, seaweedfs: SeaweedFS
) -> None:
    draft = s3(seaweedfs.endpoint, bucket_name("made-here"), seaweedfs.admin)
    run = finished(probes, probes.start(ADMIN, draft))
    assert (run.passed, run.can_create_bucket) == (False, True)
    probes.create_bucket(ADMIN, draft)
    assert finished(probes, probes.start(ADMIN, draft)).passed
    assert console.services.audit.rows(action="backend.create_bucket")[0].subject == "media"


def test_a_key_that_cannot_write_is_read_only_and_a_wrong_one_is_down(
    probes: Probes, console: ServiceConsole, seaweedfs: SeaweedFS
) -> None:
    bucket = seaweedfs.new_bucket()
    reader = seaweedfs.reader
    console.services.backends.add(ADMIN, s3(seaweedfs.endpoint, bucket, reader, "reader"))
    wrong = KeyPair("wrong", reader.access_key, "not the secret of this key")
    console.services.backends.add(ADMIN, s3(seaweedfs.endpoint, bucket, wrong, "wrong"))
    badges = {}
    for name in ("reader", "wrong"):
        finished(probes, probes.start(ADMIN, name))
        badges[name] = console.services.backends.get(name).status.badge
    assert badges == {"reader": Badge.READ_ONLY, "wrong": Badge.DOWN}
    for name, badge in (("reader", Badge.READ_ONLY), ("wrong", Badge.DOWN)):
        console.services.checks.check_backend(console.services.backends.get(name).id)
        assert console.services.backends.get(name).status.badge is badge


def test_a_run_belongs_to_who_started_it(probes: Probes, tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    probe_id = probes.start(ADMIN, local(tmp_path / "files"))
    for actor, name in ((Actor("eve", Role.ADMIN, "web"), probe_id), (ADMIN, "nonsense"), (ADMIN, "\udcff")):
        with pytest.raises(StowageError) as caught:
            probes.get(actor, name)
        assert caught.value.kind is Kind.NOT_FOUND
    finished(probes, probe_id)


def test_runs_expire_and_never_pile_up(
    probes: Probes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "files").mkdir()
    monkeypatch.setattr(module, "MAX_KEPT", 3)
    ids = []
    for _ in range(5):
        ids.append(probes.start(ADMIN, local(tmp_path / "files")))
        finished(probes, ids[-1])
    assert len(probes._runs) == 3
    monkeypatch.setattr(module, "KEEP_SECONDS", 0.0)
    monkeypatch.setattr(probes._followed, "_seconds", 0.0)
    with pytest.raises(StowageError):
        probes.get(ADMIN, ids[-1])
    assert not probes._runs


def test_operators_test_saved_backends_only(probes: Probes, tmp_path: Path) -> None:
    for deed in (
        lambda: probes.start(OPERATOR, local(tmp_path)),
        lambda: probes.run(OPERATOR, local(tmp_path)),
        lambda: probes.create_bucket(OPERATOR, "local-disk"),
    ):
        with pytest.raises(StowageError) as caught:
            deed()
        assert caught.value.kind is Kind.FORBIDDEN


def test_a_silent_server_ends_the_test_within_its_time(
    probes: Probes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_SECONDS", 1.0)
    with listener() as (endpoint, taken):
        run = finished(probes, probes.start(ADMIN, s3(endpoint, "files")))
        assert taken
    assert not run.passed
    failed = [step for step in run.steps if step.state == "failed"]
    assert len(failed) == 1
    assert "longer than" in failed[0].message


def test_too_many_at_once_are_refused_and_closing_ends_them(
    probes: Probes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_PARALLEL_PROBES", 2)
    with listener() as (endpoint, _):
        ids = [probes.start(ADMIN, s3(endpoint, "files")) for _ in range(2)]
        with pytest.raises(StowageError) as caught:
            probes.start(ADMIN, s3(endpoint, "files"))
        assert caught.value.kind is Kind.THROTTLED
        probes.close()
        for probe_id in ids:
            assert not finished(probes, probe_id).passed


def test_a_bug_in_a_driver_ends_the_run_without_its_text(
    probes: Probes, console: ServiceConsole, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    secret = "".join(("hun", "ter2"))

    def broken(*_: object, **__: object) -> Iterator[object]:
        yield from ()
        raise RuntimeError(f"the vendor says {secret}")

    monkeypatch.setattr(module, "probe", broken)
    run = finished(probes, probes.start(ADMIN, "local-disk"))
    assert (run.passed, run.finished) == (False, True)
    assert "RuntimeError" in caplog.text
    assert secret not in caplog.text


def test_a_sealed_console_makes_no_network_call(probes: Probes, console: ServiceConsole) -> None:
    with listener() as (endpoint, taken):
        info = console.services.backends.add(ADMIN, s3(endpoint, "files"))
        console.settings.key_file.rename(console.settings.instance / "elsewhere")
        for deed in (
            lambda: probes.start(ADMIN, "media"),
            lambda: probes.run(ADMIN, "media"),
            lambda: probes.create_bucket(ADMIN, "media"),
            lambda: probes.start(ADMIN, s3(endpoint, "files")),
            lambda: console.services.backends.driver("media"),
            lambda: console.services.backends.refresh(ADMIN, "media"),
        ):
            with pytest.raises(StowageError) as caught:
                deed()
            assert caught.value.kind is Kind.SEALED
        console.services.checks.check_backend(info.id)
        console.services.checks.count_backend(info.id, lambda: False)
        assert taken == []
    assert console.services.backends.get("media").status.badge is Badge.UNKNOWN
