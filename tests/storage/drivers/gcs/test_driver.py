"""Google Cloud Storage beyond the contract: signing in, uploads in parts, checksums, links, errors."""

from __future__ import annotations

import gzip
import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import urllib3

from dashboard.errors import InvalidInput, Kind
from dashboard.storage.driver import SMALL, Driver
from dashboard.storage.drivers.gcs.config import GcsConfig
from dashboard.storage.drivers.gcs.driver import GcsDriver
from dashboard.storage.drivers.gcs.tokens import AmbientTokens, AuthError
from dashboard.storage.errors import (
    Changed,
    ContainerMissing,
    Damaged,
    Exists,
    InvalidKey,
    NotFound,
    StorageError,
    Unsupported,
)
from dashboard.storage.registry import build, check_options, find_preset, guarding, summary
from dashboard.storage.types import Attributes, Secret, Written
from tests.servers.drivers import gcs_on
from tests.servers.faults import FaultProxy
from tests.servers.gcs.server import GoogleStorage
from tests.servers.hostile.http import HostileHttpServer, Request, Said, ScriptedResponse
from tests.servers.processes import free_ports
from tests.storage.objects import content_of, get, keys_of, stream
from tests.storage.probing import failed_step, run, states, step_of

DATA = content_of(5000)
LARGE = content_of(2 * SMALL + 500_000)
KEY = {
    "type": "service_account",
    "client_email": "stowage@my-project.iam.gserviceaccount.com",
    "private_key": "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n",
    "private_key_id": "abc",
    "token_uri": "https://oauth2.googleapis.com/token",
}


@pytest.fixture
def bucket(google: GoogleStorage) -> Iterator[str]:
    made = google.new_bucket()
    yield made
    google.forget(made)


@pytest.fixture
def objects(google: GoogleStorage, bucket: str) -> Iterator[GcsDriver]:
    driver = gcs_on(google, bucket, google.writer)
    assert isinstance(driver, GcsDriver)
    yield driver
    driver.close()


@pytest.fixture
def proxy(google: GoogleStorage) -> Iterator[FaultProxy]:
    with FaultProxy(google.endpoint) as proxy:
        yield proxy


@pytest.fixture
def broken(google: GoogleStorage, bucket: str, proxy: FaultProxy) -> Iterator[Driver]:
    """A driver that talks through the fault proxy, already signed in."""
    key = google.writer.replace(google.endpoint, proxy.endpoint)
    driver = gcs_on(google, bucket, key, endpoint=proxy.endpoint)
    assert keys_of(driver) == []
    yield driver
    driver.close()


def fails(call: object, *arguments: object) -> StorageError:
    with pytest.raises(StorageError) as caught:
        call(*arguments)  # type: ignore[operator]
    assert caught.value.reason.endswith(".")
    return caught.value


def written_large(driver: Driver, key: str = "big", *, unhashed: bool = False) -> Written:
    with driver.write(key, size=len(LARGE)) as writing:
        if unhashed:
            writing.without_md5()  # type: ignore[attr-defined]
        writing.write(LARGE)
        return writing.commit()


# Signing in


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "missing"),
        ("nonsense", "not JSON"),
        ("[" * 5000, "not JSON"),
        ("[]", "not a service account key"),
        (json.dumps(KEY | {"type": "authorized_user"}), "a user's sign-in"),
        (json.dumps(KEY | {"universe_domain": "s3ns.fr"}), "sovereign"),
        (json.dumps(KEY | {"client_email": "x"}), "client_email"),
        (json.dumps(KEY | {"client_email": 7}), "client_email"),
        (json.dumps(KEY | {"private_key": "s3cr3t"}), "private_key"),
        (json.dumps(KEY | {"token_uri": "http://169.254.169.254/token"}), "token_uri"),
        (json.dumps(KEY | {"token_uri": "https://evil.example/token"}), "token_uri"),
        (json.dumps(KEY | {"token_uri": ["x"]}), "token_uri"),
    ],
)
def test_what_is_no_service_account_key_is_refused_without_repeating_it(text: str, words: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_options("gcs", {"bucket": "media"}, {"credential": Secret(text)})
    assert caught.value.subject == "credential"
    assert words in caught.value.reason
    assert "s3cr3t" not in str(caught.value.as_dict())
    assert "evil" not in str(caught.value.as_dict())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("bucket", "My-Bucket"),
        ("bucket", "ab"),
        ("bucket", "a/b"),
        ("bucket", "x" * 64),
        ("endpoint", "https://storage.example/path"),
        ("endpoint", "http://metadata.google.internal"),
        ("prefix", "a/../b"),
        ("storage_class", "GLACIER"),
        ("location", "EU;"),
        ("project", "My Project"),
    ],
)
def test_what_cannot_be_an_option_is_refused(field: str, value: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_options("gcs", {"bucket": "media", field: value}, {"credential": Secret(json.dumps(KEY))})
    assert caught.value.subject == field


def test_the_machines_identity_is_opt_in_and_only_sent_to_google() -> None:
    ambient = {"bucket": "media", "sign_in": "ambient"}
    assert check_options("gcs", ambient)["sign_in"] == "ambient"
    check_options("gcs", ambient | {"endpoint": "https://storage-x.p.googleapis.com"})
    for endpoint in (
        "https://evil.example",
        "https://googleapis.com.evil.example",
        "https://evilgoogleapis.com",
        "http://storage.googleapis.com",
    ):
        with pytest.raises(InvalidInput) as caught:
            check_options("gcs", ambient | {"endpoint": endpoint})
        assert caught.value.subject == "endpoint"
    assert {"sign_in", "endpoint", "tls_verify"} <= guarding(find_preset("gcs"))


def test_public_google_needs_no_endpoint() -> None:
    secrets = {"credential": Secret(json.dumps(KEY))}
    options = check_options("gcs", {"bucket": "media", "prefix": "a"}, secrets)
    driver = build("gcs", options, secrets)
    assert isinstance(driver, GcsDriver)
    assert driver.address() == ("storage.googleapis.com", 443, True)
    assert driver.url("ä b") == "https://storage.googleapis.com/media/a/%C3%A4%20b"
    assert summary("gcs", options) == "media/a"
    assert check_options("gcs", options, secrets) == options
    assert "c2VjcmV0" not in repr(driver._config)
    assert fails(driver.authenticate).kind is Kind.BAD_CREDENTIALS
    driver.close()


def test_the_identity_of_the_machine_signs_in(
    google: GoogleStorage, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = tmp_path / "identity.json"
    given.write_text(google.writer)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(given))
    driver = GcsDriver(GcsConfig(bucket, None, endpoint=google.endpoint))
    assert driver.put("a", DATA).proven
    google.tokens.clear()
    assert get(driver, "a") == DATA
    assert driver.can_copy_from(driver)
    with pytest.raises(Unsupported):
        driver.temporary_url("a", seconds=60)
    driver.close()
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    lost = GcsDriver(GcsConfig(bucket, None, endpoint=google.endpoint))
    assert fails(lost.stat, "a").kind is Kind.BAD_CREDENTIALS
    lost.close()


def test_a_revoked_token_is_replaced(objects: Driver, google: GoogleStorage) -> None:
    objects.put("a", DATA)
    google.tokens.clear()
    assert get(objects, "a") == DATA


def test_a_wrong_clock_is_named(objects: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time
    monkeypatch.setattr("dashboard.storage.drivers.gcs.tokens.time.time", lambda: now() - 7200)
    monkeypatch.setattr("tests.servers.gcs.rules.time", type("clock", (), {"time": staticmethod(now)}))
    error = fails(objects.stat, "a")
    assert error.kind is Kind.BAD_CREDENTIALS
    assert "clock" in error.remedy


# The connection test


def test_a_good_connection_passes_every_step(objects: Driver) -> None:
    result = run(objects)
    assert result.passed
    assert set(states(result).values()) == {"passed"}


def test_a_wrong_key_a_wrong_port_and_a_missing_bucket(google: GoogleStorage, bucket: str) -> None:
    signed_by_another = json.loads(google.new_key("other")) | {
        "client_email": json.loads(google.writer)["client_email"]
    }
    step = failed_step(run(gcs_on(google, bucket, json.dumps(signed_by_another))), "authenticate")
    assert "does not accept this key" in step.message
    (port,) = free_ports(1)
    elsewhere = f"http://127.0.0.1:{port}"
    key = google.writer.replace(google.endpoint, elsewhere)
    failed_step(run(gcs_on(google, bucket, key, endpoint=elsewhere)), "connect")
    missing = gcs_on(google, f"{bucket}-not-there", google.writer)
    result = run(missing)
    failed_step(result, "bucket")
    assert result.can_create_bucket
    for call in (lambda: keys_of(missing), lambda: get(missing, "a"), lambda: missing.put("a", b"x")):
        with pytest.raises(ContainerMissing):
            call()
    assert isinstance(missing, GcsDriver)
    missing.create_bucket()
    missing.create_bucket()
    assert run(missing).passed


def test_a_key_that_may_only_read_can_be_copied_from(
    google: GoogleStorage, bucket: str, objects: Driver
) -> None:
    objects.put("a", DATA)
    result = run(gcs_on(google, bucket, google.reader))
    assert states(result)["write"] == "failed"
    assert "Storage Object User" in step_of(result, "write").remedy
    assert "copied from" in step_of(result, "read").message


# Writing


@pytest.mark.parametrize("unhashed", [False, True], ids=["md5", "crc32c"])
def test_a_large_object_is_proven_by_googles_own_checksum(objects: Driver, unhashed: bool) -> None:
    written = written_large(objects, unhashed=unhashed)
    assert written.proven
    assert written.md5 == ("" if unhashed else hashlib.md5(LARGE).hexdigest())
    info = objects.stat("big")
    assert (info.size, info.md5) == (len(LARGE), hashlib.md5(LARGE).hexdigest())
    assert get(objects, "big") == LARGE


def test_what_a_server_accepted_only_in_part_is_completed(objects: Driver, google: GoogleStorage) -> None:
    google.accepted_bytes[:] = [1 << 20, 0, 256 << 10, 3 << 20]
    assert written_large(objects).proven
    assert get(objects, "big") == LARGE
    assert google.accepted_bytes == []


@pytest.mark.parametrize("times", [1, 2])
def test_an_interrupted_part_resumes_where_it_stopped(broken: Driver, proxy: FaultProxy, times: int) -> None:
    proxy.answer(503, "backendError", method="PUT")
    proxy.reset(method="PUT", times=times)
    assert written_large(broken).proven
    assert get(broken, "big") == LARGE


def test_a_lost_response_is_recovered(broken: Driver, proxy: FaultProxy) -> None:
    last = proxy.reset(method="PUT", after=0, times=3)
    assert written_large(broken).proven
    assert last.hits == 3
    lost = proxy.reset(method="POST", key="multipart", after=0)
    assert broken.put("small", DATA, create_only=True).proven
    assert lost.hits == 1
    with pytest.raises(Exists):
        broken.put("small", DATA, create_only=True)


def test_damage_in_transit_is_refused_before_anything_is_visible(broken: Driver, proxy: FaultProxy) -> None:
    proxy.flip(1000, method="PUT")
    error = fails(written_large, broken)
    assert error.kind is Kind.DAMAGED
    assert keys_of(broken) == []


def test_the_caller_retries_an_upload_that_google_discarded(objects: Driver, google: GoogleStorage) -> None:
    with objects.write("big", size=len(LARGE)) as writing:
        writing.write(LARGE[: SMALL + 1])
        google.sessions.clear()
        error = fails(lambda: (writing.write(LARGE), writing.commit()))
    assert (error.kind, error.retryable) == (Kind.UNREACHABLE, True)


def test_an_interrupted_upload_is_aborted(objects: Driver, google: GoogleStorage) -> None:
    google.sessions.clear()
    with objects.write("big", size=len(LARGE)) as writing:
        writing.write(LARGE)
        assert google.incomplete_uploads() == 1
    assert google.incomplete_uploads() == 0
    assert keys_of(objects) == []


def test_create_only_holds_for_resumable_uploads(objects: Driver, google: GoogleStorage) -> None:
    with objects.write("big", size=len(LARGE), create_only=True) as writing:
        writing.write(LARGE)
        objects.put("big", b"first")
        with pytest.raises(Exists):
            writing.commit()
    assert get(objects, "big") == b"first"
    assert google.incomplete_uploads() == 0


def test_the_storage_class_is_given_to_every_object(
    google: GoogleStorage, bucket: str, objects: GcsDriver
) -> None:
    driver = gcs_on(google, bucket, google.writer, storage_class="NEARLINE")
    assert isinstance(driver, GcsDriver)
    driver.put("small", DATA)
    stream(driver, "large", LARGE)
    objects.put("plain", DATA, attributes=Attributes(content_type="text/x-mine", metadata={"a": "b"}))
    driver.copy_from(objects, "plain", "copied")
    for key in ("small", "large", "copied"):
        assert google.buckets[bucket][key.encode()].resource["storageClass"] == "NEARLINE"
    assert driver.stat("copied").attributes == objects.stat("plain").attributes
    driver.close()


def test_attributes_of_any_alphabet_come_back(objects: Driver) -> None:
    metadata = {"plain": "x y", "größe": "drei €", "empty": "", "Case": "kept"}
    wanted = Attributes(content_type="text/plain", content_encoding="gzip", metadata=metadata)
    packed = gzip.compress(DATA)
    objects.put("a", packed, attributes=wanted)
    with objects.write("b", attributes=wanted) as writing:
        writing.write(LARGE)
        writing.commit()
    for key in ("a", "b"):
        assert objects.stat(key).attributes == wanted
    # Stored compressed content is not decompressed in transit.
    assert get(objects, "a") == packed


def test_attributes_that_would_alter_a_request_are_omitted(objects: Driver) -> None:
    hostile = Attributes(content_type="text/html\r\nx-evil: 1", cache_control="a\nb")
    objects.put("a", DATA, attributes=hostile)
    held = objects.stat("a").attributes
    assert (held.content_type, held.cache_control) == ("application/octet-stream", None)


# Reading, copying, links


def test_composite_objects_are_read_and_copied_by_their_crc32c(
    objects: GcsDriver, google: GoogleStorage, bucket: str
) -> None:
    google.store(bucket, {"name": "made of two"}, LARGE, composite=True)
    info = objects.stat("made of two")
    assert info.md5 is None
    assert get(objects, "made of two") == LARGE
    written = objects.copy_from(objects, "made of two", "copy", if_version=info.version)
    assert (written.proven, written.md5) == (True, "")
    assert get(objects, "copy") == LARGE


def test_a_large_copy_takes_several_steps(objects: GcsDriver, google: GoogleStorage) -> None:
    stream(objects, "big", LARGE)
    google.requests.clear()
    assert objects.copy_from(objects, "big", "copy").proven
    steps = sum("rewriteTo" in target for _, target in google.requests)
    assert steps == -(-len(LARGE) // google.rewrite_step)


def test_damage_at_rest_is_detected(objects: Driver, google: GoogleStorage, bucket: str) -> None:
    objects.put("a", DATA)
    google.corrupt(bucket, "a")
    with pytest.raises(Damaged):
        get(objects, "a")


def test_an_object_replaced_between_two_requests_of_a_read_has_changed(
    broken: Driver, proxy: FaultProxy, objects: Driver
) -> None:
    objects.put("a", DATA)
    proxy.then(lambda: objects.put("a", DATA[::-1]), method="GET", key="/storage/v1/")
    with pytest.raises(Changed):
        get(broken, "a")


def test_a_signed_link_reads_one_object_and_does_nothing_else(objects: GcsDriver) -> None:
    for key in ("ä b+c%2F", "other"):
        objects.put(key, DATA)
    link = objects.temporary_url("ä b+c%2F", seconds=60)
    assert "secret" not in link

    def status(method: str, url: str) -> int:
        return urllib3.request(method, url, retries=False).status

    assert urllib3.request("GET", link, retries=False).data == DATA
    path, _, query = link.partition("?")
    assert status("GET", path) == 403
    assert status("GET", f"{objects.url('other')}?{query}") == 403
    for method in ("PUT", "DELETE", "POST"):
        assert status(method, link) in (403, 501)
    assert keys_of(objects) == ["other", "ä b+c%2F"]
    assert "X-Goog-Expires=604800" in objects.temporary_url("other", seconds=10**9)


@pytest.mark.parametrize("key", ["new\nline", "cr\r", "..", ".", "x" * 1025, ".well-known/acme-challenge/x"])
def test_keys_that_google_cannot_store_are_refused(objects: Driver, key: str) -> None:
    with pytest.raises(InvalidKey) as caught:
        objects.put(key, DATA)
    assert caught.value.subject == key


# Errors


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, Kind.BAD_CREDENTIALS),
        (403, Kind.DENIED),
        (404, Kind.NOT_FOUND),
        (408, Kind.UNREACHABLE),
        (412, Kind.CONFLICT),
        (413, Kind.TOO_LARGE),
        (418, Kind.UNSUPPORTED),
        (302, Kind.UNREACHABLE),
        (429, Kind.THROTTLED),
        (503, Kind.THROTTLED),
    ],
)
def test_each_refusal_has_its_kind(broken: Driver, proxy: FaultProxy, status: int, kind: Kind) -> None:
    proxy.answer(status, "x", method="POST", key="multipart", times=None)
    error = fails(broken.put, "a", DATA)
    assert (error.kind, error.operation) == (kind, "write")
    proxy.clear()
    assert keys_of(broken) == []


def test_transient_errors_are_retried(broken: Driver, proxy: FaultProxy) -> None:
    proxy.answer(503, "x", method="POST", key="multipart")
    assert broken.put("a", DATA).proven
    proxy.answer(429, "x", method="GET")
    proxy.reset(method="GET")
    assert get(broken, "a") == DATA
    proxy.reset(method="DELETE", after=0)
    broken.delete("a")
    with pytest.raises(NotFound):
        broken.stat("a")


@pytest.mark.parametrize("with_length", [True, False])
def test_a_truncated_response_is_never_a_complete_object(
    broken: Driver, proxy: FaultProxy, with_length: bool
) -> None:
    broken.put("a", DATA)
    proxy.truncate(1000, key="/download/", times=None, with_length=with_length)
    assert fails(get, broken, "a").retryable


def test_a_response_that_is_not_json_is_refused(broken: Driver, proxy: FaultProxy) -> None:
    broken.put("a", DATA)
    proxy.truncate(10, key="/storage/v1/", with_length=False)
    error = fails(broken.stat, "a")
    assert "not Google Cloud Storage" in error.reason


def test_a_name_that_leads_to_a_metadata_address_is_not_connected_to(
    google: GoogleStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = google.writer.replace(google.endpoint, "https://oauth2.googleapis.com")
    secrets = {"credential": Secret(key)}
    driver = build("gcs", check_options("gcs", {"bucket": "media"}, secrets), secrets)
    found = [(2, 1, 6, "", ("169.254.169.254", 443))]
    monkeypatch.setattr("dashboard.storage.net.connecting.socket.getaddrinfo", lambda *a, **k: found)
    error = fails(driver.stat, "a")
    assert error.kind is Kind.DENIED
    assert "metadata" in error.reason
    driver.close()


# Older versions and storage classes


def test_older_versions_are_listed_read_and_restored(google: GoogleStorage) -> None:
    bucket = google.new_bucket(versioned=True)
    driver = gcs_on(google, bucket, google.writer, "p/")
    assert isinstance(driver, GcsDriver)
    assert driver.keeps_versions()
    for content in (b"one", b"two", b"three"):
        driver.put("a", content, attributes=Attributes(content_type="text/x-mine"))
    driver.put("b", b"other")
    driver.delete("b")
    found = list(driver.versions())
    assert [(each.key, each.current) for each in found] == [
        ("a", True),
        ("a", False),
        ("a", False),
        ("b", False),
    ]
    with driver.read_version("a", found[2].id) as reading:
        assert reading.read_all() == b"one"
    assert driver.restore_version("a", found[2].id).proven
    assert get(driver, "a") == b"one"
    assert driver.stat("a").attributes.content_type == "text/x-mine"
    assert driver.restore_version("b", found[3].id).size == 5
    assert get(driver, "b") == b"other"
    assert [each.key for each in driver.versions("a")] == ["a"] * 4
    for version in ("1", "nonsense", ""):
        for call in (driver.read_version, driver.restore_version):
            with pytest.raises(NotFound):
                call("a", version)
    driver.close()


def test_an_object_moves_to_another_class_with_all_it_has(objects: GcsDriver) -> None:
    wanted = Attributes(content_type="text/x-mine", metadata={"a": "b"})
    stream(objects, "a", LARGE)
    objects.put("b", DATA, attributes=wanted)
    for key in ("a", "b"):
        assert objects.tier(key) == "STANDARD"
        objects.set_tier(key, "COLDLINE")
        assert objects.tier(key) == "COLDLINE"
    assert get(objects, "a") == LARGE
    assert objects.stat("b").attributes == wanted
    version = objects.stat("b").version
    objects.set_tier("b", "COLDLINE")
    assert objects.stat("b").version == version


def test_a_signed_upload_accepts_only_what_was_signed(objects: GcsDriver) -> None:
    upload = objects.upload_url("a.txt", seconds=60, size=3)
    headers = dict(upload.headers)
    assert headers["content-type"] == "text/plain"

    def send(body: bytes, sent: dict[str, str]) -> int:
        return urllib3.request(upload.method, upload.url, body=body, headers=sent, retries=False).status

    assert send(b"more", headers) == 400
    assert send(b"abc", headers | {"content-type": "text/html"}) == 403
    assert send(b"abc", headers | {"x-goog-acl": "public-read"}) == 403
    assert keys_of(objects) == []
    assert send(b"abc", headers) == 200
    assert get(objects, "a.txt") == b"abc"


def metadata_server(said: Said) -> HostileHttpServer:
    """The metadata server of a machine in Google's cloud."""
    google = {"Metadata-Flavor": "Google", "Content-Type": "application/json"}

    def respond(request: Request) -> Said:
        assert request.headers["accept-encoding"] == "identity"
        if request.path.endswith("/token"):
            return said
        about = {"email": "machine@example.com", "scopes": ["x"], "aliases": ["default"]}
        return ScriptedResponse(headers=google, body=json.dumps(about).encode())

    return HostileHttpServer(respond)


@pytest.mark.parametrize(
    ("said", "gets"),
    [
        (ScriptedResponse(body=b'{"access_token": "t", "expires_in": 3600, "token_type": "Bearer"}'), "t"),
        (ScriptedResponse(body=b'{"access_token": "' + b"t" * 1_000_000), ""),
        (ScriptedResponse(headers={"Content-Encoding": "gzip"}, body=gzip.compress(bytes(1_000_000))), ""),
        (ScriptedResponse(body=b"[]"), ""),
        (ScriptedResponse(body=b"{}"), ""),
        (ScriptedResponse(status=500), ""),
    ],
    ids=["honest", "too long", "compressed", "a list", "empty", "broken"],
)
def test_responses_about_the_identity_of_this_machine_are_limited(
    said: ScriptedResponse, gets: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "NO_GCE_CHECK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    google = {"Metadata-Flavor": "Google", "Content-Type": "application/json"}
    with metadata_server(replace(said, headers={**google, **said.headers})) as server:
        # Read once, when the library is loaded.
        monkeypatch.setattr("google.auth.compute_engine._metadata._GCE_METADATA_HOST", server.host)
        monkeypatch.setenv("GCE_METADATA_IP", server.host)
        tokens = AmbientTokens()
        if gets:
            assert tokens.token() == gets
        else:
            with pytest.raises(AuthError):
                tokens.token()
        tokens.close()
