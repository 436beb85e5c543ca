"""The connection test: each trouble has its own sentence, and nothing is left behind."""

from __future__ import annotations

import contextlib
import datetime
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from dashboard.errors import Kind
from dashboard.storage import connecting
from dashboard.storage import probe as probe_module
from dashboard.storage.driver import Driver
from dashboard.storage.drivers.local import LocalDriver
from dashboard.storage.errors import StorageError
from dashboard.storage.probe import CANARY, ProbeRun, Step, probe
from dashboard.storage.registry import build, check_options
from dashboard.storage.types import Secret
from tests.servers.s3 import Identity
from tests.servers.seaweedfs import SeaweedFS

PLAIN_STEPS = ["bucket", "write", "read", "list", "delete"]
NETWORK_STEPS = ["resolve", "connect", "authenticate"]


class Networked(LocalDriver):
    """The local driver behind an address, so that every network trouble can be had by itself."""

    def __init__(
        self, root: Path, address: tuple[str, int, bool], authority: trustme.CA | None = None
    ) -> None:
        super().__init__(str(root))
        self._address = address
        self._authority = authority

    def address(self) -> tuple[str, int, bool]:
        return self._address

    def authenticate(self) -> None:
        return None

    def tls_context(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        if self._authority is not None:
            self._authority.configure_trust(context)
        return context


def run(driver: Driver, stop: Callable[[], bool] = lambda: False) -> ProbeRun:
    result = ProbeRun.of(driver)
    for step in probe(driver, stop=stop):
        assert not result.finished
        result = result.with_step(step)
    assert result.finished
    return result


def states(result: ProbeRun) -> dict[str, str]:
    return {step.name: step.state for step in result.steps}


def step_of(result: ProbeRun, name: str) -> Step:
    return next(step for step in result.steps if step.name == name)


@contextlib.contextmanager
def listener(serve: Callable[[socket.socket], Any]) -> Iterator[int]:
    """A server on 127.0.0.1 that does this with every connection; its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        done = threading.Event()

        def accept() -> None:
            while not done.is_set():
                try:
                    connection, _ = server.accept()
                except TimeoutError:
                    continue
                with connection, contextlib.suppress(OSError):
                    connection.settimeout(5)
                    serve(connection)

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            done.set()
            thread.join()


def tls_server(certificate: trustme.LeafCert) -> Callable[[socket.socket], None]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(context)

    def serve(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secured:
            secured.recv(1)

    return serve


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "root"
    path.mkdir()
    return path


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


# -- a disk -------------------------------------------------------------------------------------------


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
    }
    assert step_of(result, "bucket").remedy
    driver.create_bucket()
    assert run(driver).passed


# -- the network --------------------------------------------------------------------------------------


def failed_step(result: ProbeRun, name: str) -> Step:
    """The one failed step, after which nothing was tried."""
    step = step_of(result, name)
    assert step.state == "failed"
    later = result.steps[result.steps.index(step) + 1 :]
    assert {each.state for each in later} == {"skipped"}
    assert step.remedy
    assert not result.passed
    return step


def test_a_server_that_answers_passes(root: Path, authority: trustme.CA) -> None:
    with listener(lambda connection: connection.recv(1)) as port:
        result = run(Networked(root, ("127.0.0.1", port, False)))
        assert result.passed
        assert [step.name for step in result.steps] == [*NETWORK_STEPS, *PLAIN_STEPS]
        assert "without encryption" in step_of(result, "connect").message
    with listener(tls_server(authority.issue_cert("localhost"))) as port:
        result = run(Networked(root, ("localhost", port, True), authority))
        assert result.passed
        assert "TLS 1.3" in step_of(result, "connect").message


def test_a_name_that_does_not_exist(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*args: object, **kwargs: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    step = failed_step(run(Networked(root, ("no-such-host.invalid", 443, True))), "resolve")
    assert "no-such-host.invalid" in step.message
    assert "typing" in step.remedy


def test_a_name_server_that_is_silent(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(*args: object, **kwargs: object) -> None:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    assert "name servers" in failed_step(run(Networked(root, ("s3.example", 443, True))), "resolve").message


def test_a_name_that_leads_to_a_metadata_address_is_not_connected_to(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.1", 443)),
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::ffff:169.254.169.254", 443, 0, 0)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: answers)
    assert "metadata" in failed_step(run(Networked(root, ("rebind.example", 443, True))), "resolve").message
    assert "link-local" in failed_step(run(Networked(root, ("169.254.9.9", 443, True))), "resolve").message


def test_a_refused_connection(root: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    step = failed_step(run(Networked(root, ("127.0.0.1", port, True))), "connect")
    assert f"nothing listens on port {port}" in step.message


def test_a_black_hole_is_left_in_time(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A listener whose queue is full drops what comes next, as a firewall does."""
    monkeypatch.setattr(connecting, "CONNECT_SECONDS", 0.5)
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(8):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(server.getsockname())
        began = time.monotonic()
        step = failed_step(run(Networked(root, ("127.0.0.1", server.getsockname()[1], True))), "connect")
        assert time.monotonic() - began < 3
    assert "did not answer" in step.message
    assert "firewall" in step.remedy


def test_a_server_that_never_shakes_hands(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connecting, "CONNECT_SECONDS", 0.5)
    with listener(lambda connection: [connection.recv(4096) for _ in range(2)]) as port:
        step = failed_step(run(Networked(root, ("127.0.0.1", port, True))), "connect")
    assert "never answered the TLS handshake" in step.message


def test_plain_http_on_the_tls_port(root: Path) -> None:
    def plain(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    with listener(plain) as port:
        step = failed_step(run(Networked(root, ("127.0.0.1", port, True))), "connect")
    assert "plain HTTP" in step.message
    assert "http://" in step.remedy


def test_a_connection_closed_in_the_handshake(root: Path) -> None:
    with listener(lambda connection: connection.recv(4096)) as port:
        step = failed_step(run(Networked(root, ("127.0.0.1", port, True))), "connect")
    assert "closed the connection" in step.message


def self_signed() -> trustme.LeafCert:
    """A certificate signed by its own key, as appliances make them."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    return trustme.LeafCert(private, certificate.public_bytes(serialization.Encoding.PEM), [])


def test_each_bad_certificate_has_its_own_sentence(root: Path, authority: trustme.CA) -> None:
    past = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    cases: list[tuple[str, trustme.LeafCert, trustme.CA | None]] = [
        ("self-signed", self_signed(), None),
        ("does not know", authority.issue_cert("localhost"), None),
        ("expired", authority.issue_cert("localhost", not_after=past), authority),
        ("another name than “localhost”", authority.issue_cert("elsewhere.example"), authority),
    ]
    for says, certificate, trusted in cases:
        with listener(tls_server(certificate)) as port:
            step = failed_step(run(Networked(root, ("localhost", port, True), trusted)), "connect")
        assert says in step.message
    with listener(tls_server(authority.issue_cert("localhost"))) as port:
        step = failed_step(run(Networked(root, ("127.0.0.1", port, True), authority)), "connect")
    assert "127.0.0.1" in step.message


# -- what may go wrong behind the connection ----------------------------------------------------------


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
    assert states(result) == {name: "failed" if name == call else "passed" for name in PLAIN_STEPS}
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
    assert "not what was written" in step_of(result, "read").message
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
            release.wait(30)
            return super().read(*args, **kwargs)

    monkeypatch.setattr(probe_module, "CALL_SECONDS", 0.3)
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
            release.wait(30)
            return super().read(*args, **kwargs)

    driver = Slow(str(root))
    result = ProbeRun.of(driver)
    stopping = threading.Event()
    began = time.monotonic()
    try:
        for step in probe(driver, stop=stopping.is_set):
            result = result.with_step(step)
            if step.name == "read":
                stopping.set()
    finally:
        release.set()
    assert time.monotonic() - began < 5
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


# -- a real S3 server ---------------------------------------------------------------------------------


def s3(server: SeaweedFS, bucket: str, identity: Identity, **changes: str) -> Driver:
    options = {"endpoint": server.endpoint, "bucket": bucket, "access_key_id": identity.access_key, **changes}
    secrets = {"secret_access_key": Secret(changes.pop("secret", identity.secret_key))}
    options.pop("secret", None)
    return build("s3", check_options("s3", options, secrets), secrets)


def test_a_real_server_passes_and_keeps_nothing(seaweedfs: SeaweedFS, shared_bucket: str) -> None:
    driver = s3(seaweedfs, shared_bucket, seaweedfs.admin, prefix="probe-good")
    result = run(driver)
    assert result.passed, result
    assert [step.name for step in result.steps] == [*NETWORK_STEPS, *PLAIN_STEPS]
    assert list(driver.list()) == []


def test_a_wrong_secret_and_a_wrong_key_fail_at_sign_in(seaweedfs: SeaweedFS, shared_bucket: str) -> None:
    for changes in ({"secret": "not-the-secret"}, {"access_key_id": "NOBODY"}):
        step = failed_step(run(s3(seaweedfs, shared_bucket, seaweedfs.admin, **changes)), "authenticate")
        assert "not-the-secret" not in step.message + step.remedy


def test_a_missing_bucket_is_offered_to_be_made(seaweedfs: SeaweedFS) -> None:
    result = run(s3(seaweedfs, "bucket-that-is-not-there", seaweedfs.admin))
    failed_step(result, "bucket")
    assert result.can_create_bucket


def test_a_read_only_key_reads_and_lists(seaweedfs: SeaweedFS, shared_bucket: str) -> None:
    s3(seaweedfs, shared_bucket, seaweedfs.admin, prefix="probe-reader").put("there", b"x")
    result = run(s3(seaweedfs, shared_bucket, seaweedfs.reader, prefix="probe-reader"))
    assert states(result) == dict.fromkeys((*NETWORK_STEPS, *PLAIN_STEPS), "passed") | {
        "write": "failed",
        "delete": "skipped",
    }
    assert "s3:PutObject" in step_of(result, "write").message + step_of(result, "write").remedy
    assert "may read but not write" in step_of(result, "read").message
