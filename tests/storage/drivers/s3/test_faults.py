"""What goes wrong between the S3 driver and its server, and the sentences people get to read."""

from __future__ import annotations

import datetime
import http.server
import ssl
import threading
from collections.abc import Callable, Iterator

import pytest
import trustme

from dashboard.errors import Kind
from dashboard.storage.drivers.s3.driver import S3Driver
from dashboard.storage.errors import Changed, Damaged, NotFound, StorageError
from dashboard.storage.types import Secret
from tests.servers.faults import FaultProxy
from tests.servers.processes import free_ports
from tests.servers.s3 import KeyPair
from tests.servers.seaweedfs import SeaweedFS
from tests.storage.objects import content_of
from tests.storage.probing import failed_step, run

MIB = 1024 * 1024
DATA = bytes(range(256)) * 4 * 1024
LARGE = content_of(20 * MIB + 3)
Make = Callable[..., S3Driver]


@pytest.fixture
def make(seaweedfs: SeaweedFS) -> Iterator[Make]:
    made: list[S3Driver] = []

    def build(endpoint: str, bucket: str, identity: KeyPair = seaweedfs.admin, **options: str) -> S3Driver:
        chosen = {"endpoint": endpoint, "bucket": bucket, "access_key_id": identity.access_key, **options}
        made.append(S3Driver.from_options(chosen, {"secret_access_key": Secret(identity.secret_key)}))
        return made[-1]

    yield build
    for driver in made:
        driver.close()


@pytest.fixture(scope="module")
def bucket(seaweedfs: SeaweedFS) -> str:
    return seaweedfs.new_bucket("faults")


@pytest.fixture
def broken(make: Make, bucket: str, fault_proxy: FaultProxy) -> S3Driver:
    """A driver that talks through the fault proxy."""
    return make(fault_proxy.endpoint, bucket)


def read(driver: S3Driver, key: str) -> bytes:
    with driver.read(key) as reading:
        return b"".join(reading.chunks())


def upload(driver: S3Driver, key: str) -> None:
    with driver.write(key, size=len(LARGE)) as writing:
        writing.write(LARGE)
        writing.commit()


def fails(call: Callable[[], object]) -> StorageError:
    with pytest.raises(StorageError) as caught:
        call()
    return caught.value


def test_passing_trouble_is_retried_by_the_client(broken: S3Driver, fault_proxy: FaultProxy) -> None:
    broken.put("a", DATA)
    for fault in (fault_proxy.slow_down, fault_proxy.reset):
        fault(key="/a", times=2)
        assert read(broken, "a") == DATA
        fault(key="/a", method="PUT", times=2)
        assert broken.put("a", DATA).proven
        fault(key="list-type", times=2)
        assert "a" in [entry.key for entry in broken.list()]
        fault(key="partNumber=2", times=2)
        with broken.write("large", size=len(LARGE)) as writing:
            writing.write(LARGE)
            assert writing.commit().proven


def test_a_server_that_stays_busy_is_throttling(broken: S3Driver, fault_proxy: FaultProxy) -> None:
    fault_proxy.slow_down(times=None)
    for call in (lambda: broken.put("a", b"x"), lambda: list(broken.list()), lambda: broken.stat("a")):
        error = fails(call)
        assert error.kind is Kind.THROTTLED
        assert error.retryable


def test_a_body_that_ends_early_is_damage(broken: S3Driver, fault_proxy: FaultProxy) -> None:
    broken.put("cut", DATA)
    broken.put(" cut ", DATA)
    for key in ("cut", " cut "):
        for with_length in (True, False):
            fault_proxy.clear()
            fault_proxy.truncate(1000, key=key, times=None, with_length=with_length)
            error = fails(lambda key=key: read(broken, key))
            assert isinstance(error, Damaged), (key, with_length, error.__cause__)
            assert error.retryable


def test_an_upload_that_was_damaged_is_not_proven(broken: S3Driver, fault_proxy: FaultProxy) -> None:
    fault_proxy.flip(100, key="/flipped", method="PUT", times=None)
    written = broken.put("flipped", DATA)
    assert written.stored_checksum is not None
    assert not written.proven


def test_a_damaged_part_fails_the_write_and_leaves_nothing(
    broken: S3Driver, fault_proxy: FaultProxy, seaweedfs: SeaweedFS, bucket: str
) -> None:
    fault_proxy.flip(100, key="partNumber=2", method="PUT", times=None)
    assert isinstance(fails(lambda: upload(broken, "parts")), Damaged)
    with pytest.raises(NotFound):
        broken.stat("parts")
    assert not seaweedfs.client().list_multipart_uploads(Bucket=bucket, Prefix="parts").get("Uploads")


def test_a_lost_answer_to_the_completion_is_no_failure(broken: S3Driver, fault_proxy: FaultProxy) -> None:
    with broken.write("done", size=len(LARGE)) as writing:
        writing.write(LARGE)
        fault_proxy.reset(key="uploadId", method="POST", after=0)
        assert writing.commit().proven
    assert broken.stat("done").size == len(LARGE)


def test_an_object_replaced_under_a_read_is_never_mixed(
    broken: S3Driver, fault_proxy: FaultProxy, seaweedfs: SeaweedFS, bucket: str
) -> None:
    broken.put("swap", DATA)

    def swap() -> None:
        seaweedfs.client().put_object(Bucket=bucket, Key="swap", Body=DATA[::-1])

    fault_proxy.reset(key="/swap", method="GET", after=MIB // 2)
    with broken.read("swap") as reading:
        swap()
        assert fails(lambda: b"".join(reading.chunks())).retryable


def test_silence_ends_the_probe_sign_in_soon(
    make: Make, bucket: str, fault_proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashboard.storage.drivers.s3.driver.SIGN_IN_SECONDS", 0.5)
    fault_proxy.black_hole()
    # The hole keeps the request for ever.
    error = fails(make(fault_proxy.endpoint, bucket).authenticate)
    assert error.kind is Kind.TIMEOUT
    assert "did not respond" in error.reason


@pytest.mark.parametrize(
    ("actions", "calls"),
    [
        (("Read", "List"), {"write": "s3:PutObject", "delete": "s3:DeleteObject"}),
        (("Write",), {"read": "s3:GetObject", "list": "s3:ListBucket"}),
    ],
)
def test_a_key_that_may_not_is_told_what_it_lacks(
    make: Make, bucket: str, seaweedfs: SeaweedFS, actions: tuple[str, ...], calls: dict[str, str]
) -> None:
    make(seaweedfs.endpoint, bucket).put("a", b"x")
    driver = make(seaweedfs.endpoint, bucket, seaweedfs.add_identity("-".join(actions), *actions))
    driver.authenticate()
    does = {
        "write": lambda: driver.put("a", b"y"),
        "delete": lambda: driver.delete("a"),
        "read": lambda: driver.read("a"),
        "list": lambda: list(driver.list()),
    }
    for name, action in calls.items():
        error = fails(does[name])
        assert error.kind is Kind.DENIED
        assert action in error.remedy
        assert bucket in error.remedy
        assert not error.retryable


def test_a_wrong_secret_and_a_wrong_key_id_are_told_apart(
    make: Make, bucket: str, seaweedfs: SeaweedFS
) -> None:
    make(seaweedfs.endpoint, bucket).put("a", b"x")
    wrong_secret = make(seaweedfs.endpoint, bucket, KeyPair("x", seaweedfs.admin.access_key, "wrong"))
    unknown = make(seaweedfs.endpoint, bucket, KeyPair("x", "UNKNOWNKEY", "wrong"))
    for driver, word in ((wrong_secret, "secret access key is wrong"), (unknown, "access key ID")):
        calls: tuple[Callable[[], object], ...] = (
            driver.authenticate,
            lambda driver=driver: driver.put("a", b"x"),
            lambda driver=driver: driver.read("a"),
            lambda driver=driver: driver.stat("a"),
            lambda driver=driver: list(driver.list()),
        )
        for call in calls:
            error = fails(call)
            assert error.kind is Kind.BAD_CREDENTIALS
            assert word in error.reason


@pytest.mark.parametrize(
    ("status", "code", "kind", "words"),
    [
        (400, "AuthorizationHeaderMalformed", Kind.BAD_CREDENTIALS, "region"),
        (301, "PermanentRedirect", Kind.BAD_CREDENTIALS, "region"),
        (403, "RequestTimeTooSkewed", Kind.BAD_CREDENTIALS, "clock"),
        (400, "ExpiredToken", Kind.BAD_CREDENTIALS, "session token"),
        (403, "InvalidObjectState", Kind.DENIED, "archived"),
        (507, "InsufficientStorage", Kind.FULL, "room"),
        (403, "QuotaExceeded", Kind.FULL, "quota"),
        (507, "XMinioStorageFull", Kind.FULL, "room"),
        (400, "InvalidStorageClass", Kind.UNSUPPORTED, "storage class"),
        (404, "NoSuchBucket", Kind.NOT_FOUND, "no bucket"),
        (400, "KeyTooLongError", Kind.INVALID_KEY, "cannot hold"),
        (400, "BadDigest", Kind.DAMAGED, "damaged"),
        (418, "Teapot", Kind.UNSUPPORTED, "418"),
    ],
)
def test_every_answer_has_its_sentence_from_either_client(
    broken: S3Driver, fault_proxy: FaultProxy, status: int, code: str, kind: Kind, words: str
) -> None:
    fault_proxy.answer(status, code, times=None)
    calls = (lambda: broken.put("plain", b"x"), lambda: broken._multipart.create(context, " odd ", None))
    context = broken._client.context("write", " odd ")
    for call in calls:
        error = fails(call)
        assert error.kind is kind
        assert words in error.reason
        assert "made by the fault proxy" not in error.reason + error.remedy


def test_nobody_listening_and_no_such_host_are_told_apart(make: Make) -> None:
    (port,) = free_ports(1)
    refused, nameless = make(f"http://127.0.0.1:{port}", "bucket"), make("http://nowhere.invalid", "bucket")
    for driver, words in ((refused, "refused the connection"), (nameless, "no host called")):
        for call in (driver.authenticate, lambda driver=driver: driver.put("a", b"x")):
            error = fails(call)
            assert error.kind is Kind.UNREACHABLE
            assert words in error.reason
            assert error.retryable


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_never_followed(make: Make, status: int) -> None:
    followed: list[str] = []

    class Redirects(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            elsewhere = "elsewhere" in self.path
            if elsewhere:
                followed.append(f"{self.command} {self.path}")
            self.send_response(200 if elsewhere else status)
            self.send_header("Location", f"http://localhost:{server.server_port}/elsewhere")
            self.send_header("ETag", '"e"')
            self.send_header("Last-Modified", "Sat, 21 Nov 2026 09:30:05 GMT")
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_PUT = do_DELETE = do_HEAD = do_POST = do_GET

        def log_message(self, format: str, *args: object) -> None:
            """Keep the test's output readable."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Redirects)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        driver = make(f"http://127.0.0.1:{server.server_port}", "bucket")
        calls: tuple[Callable[[], object], ...] = (
            driver.authenticate,
            lambda: driver.put("a", b"x"),
            lambda: driver.read("a"),
            lambda: driver.stat("a"),
            lambda: driver.delete("a"),
            lambda: driver.read_range("a", 0, 1),
            lambda: list(driver.list()),
        )
        for call in calls:
            error = fails(call)
            assert "redirect" in error.reason
            assert not error.retryable
        assert not followed
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "code"),
    [(301, "PermanentRedirect"), (307, "TemporaryRedirect"), (400, "AuthorizationHeaderMalformed")],
)
def test_the_right_region_is_named_whatever_was_asked(
    broken: S3Driver, fault_proxy: FaultProxy, status: int, code: str
) -> None:
    fault_proxy.answer(status, code, region="eu-central-1", times=None)
    calls: tuple[Callable[[], object], ...] = (
        broken.authenticate,
        broken.create_bucket,
        lambda: broken.put("a", b"x"),
        lambda: broken.read("a"),
        lambda: broken.stat("a"),
        lambda: broken.delete("a"),
        lambda: list(broken.list()),
    )
    for call in calls:
        error = fails(call)
        assert error.reason == "The bucket is in region “eu-central-1”, not in “us-east-1”."
        assert error.remedy == "Set the region to “eu-central-1”."
    step = failed_step(run(broken), "authenticate")
    assert "eu-central-1" in step.message


def served(authority: trustme.CA, **how: object) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(str(how.pop("name", "127.0.0.1")), **how).configure_cert(context)  # type: ignore[arg-type]
    return context


@pytest.mark.parametrize("trusted", [False, True])
def test_a_private_authority_works_once_its_certificate_is_pasted(
    make: Make, bucket: str, seaweedfs: SeaweedFS, trusted: bool
) -> None:
    authority = trustme.CA()
    pem = authority.cert_pem.bytes().decode() if trusted else ""
    with FaultProxy(seaweedfs.endpoint, tls=served(authority)) as proxy:
        driver = make(proxy.endpoint, bucket, ca_certificate=pem)
        calls: tuple[Callable[[], object], ...] = (
            driver.authenticate,
            lambda: list(driver.list()),
            lambda: driver.put("a", b"x"),
        )
        for call in calls:
            if trusted:
                call()
                continue
            error = fails(call)
            assert error.kind is Kind.UNREACHABLE
            assert "certificate" in error.reason
            assert "authority" in error.remedy
            assert not error.retryable
        unchecked = make(proxy.endpoint, bucket, tls_verify="false")
        assert unchecked.put("a", b"x").proven
        unchecked.authenticate()


def test_expired_and_misnamed_certificates_say_so(make: Make, bucket: str, seaweedfs: SeaweedFS) -> None:
    authority = trustme.CA()
    pem = authority.cert_pem.bytes().decode()
    past = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    cases = (
        (served(authority, not_after=past), "expired"),
        (served(authority, name="other.example"), "another host name"),
    )
    for context, words in cases:
        with FaultProxy(seaweedfs.endpoint, tls=context) as proxy:
            driver = make(proxy.endpoint, bucket, ca_certificate=pem)
            for call in (driver.authenticate, lambda driver=driver: driver.put("a", b"x")):
                assert words in fails(call).reason


def test_plain_http_where_tls_was_expected_says_so(make: Make, bucket: str, seaweedfs: SeaweedFS) -> None:
    driver = make(seaweedfs.endpoint.replace("http:", "https:"), bucket)
    for call in (driver.authenticate, lambda: driver.put("a", b"x")):
        assert "TLS" in fails(call).reason


def test_something_that_is_not_s3_is_recognised(make: Make) -> None:
    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html><body>Welcome")

        def log_message(self, format: str, *args: object) -> None:
            """Keep the test's output readable."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        error = fails(lambda: list(make(f"http://127.0.0.1:{server.server_port}", "bucket").list()))
        assert "not S3" in error.reason
    finally:
        server.shutdown()
        server.server_close()


def test_no_error_shows_a_secret(make: Make, bucket: str, seaweedfs: SeaweedFS) -> None:
    driver = make(seaweedfs.endpoint, bucket, KeyPair("x", seaweedfs.admin.access_key, "hunter2-secret"))
    error: BaseException | None = fails(lambda: driver.put("a", b"x"))
    while error is not None:
        assert "hunter2-secret" not in repr(error) + str(error)
        error = error.__cause__ or error.__context__


def test_a_server_that_knows_no_condition_still_deletes_what_is_unchanged(
    broken: S3Driver, fault_proxy: FaultProxy
) -> None:
    broken.put("a", b"x")
    version = broken.stat("a").version or ""
    fault_proxy.answer(501, "NotImplemented", method="DELETE")
    broken.delete_unchanged("a", version)
    assert "a" not in [entry.key for entry in broken.list()]


def test_what_changes_between_the_look_and_the_deletion_stays(
    broken: S3Driver, fault_proxy: FaultProxy, bucket: str
) -> None:
    broken.put("a", b"first")
    version = broken.stat("a").version or ""
    fault_proxy.answer(412, "PreconditionFailed", method="DELETE")
    with pytest.raises(Changed):
        broken.delete_unchanged("a", version)
    assert read(broken, "a") == b"first"
    fault_proxy.clear()
    broken.put("a", b"other")
    with pytest.raises(Changed):
        broken.delete_unchanged("a", version)
    assert ("DELETE", f"/{bucket}/a") not in fault_proxy.seen
