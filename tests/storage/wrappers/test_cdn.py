"""A CDN in front of a backend: its URLs, and purges at imitations of both services."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from xml.etree import ElementTree

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from dashboard.errors import InvalidInput, Kind
from dashboard.storage.driver import CopiesWithin, Links, Purges
from dashboard.storage.drivers.memory import MemoryDriver
from dashboard.storage.errors import StorageError, Unsupported
from dashboard.storage.library.backend import Backend
from dashboard.storage.registry import build, check_options
from dashboard.storage.types import Secret
from dashboard.storage.wrappers.cdn import driver as cdn
from dashboard.storage.wrappers.cdn.driver import BehindCdn
from dashboard.storage.wrappers.cdn.purging import Cloudflare, CloudFront
from dashboard.storage.wrappers.compressed.driver import Compressed
from dashboard.storage.wrappers.encrypted.driver import Encrypted
from tests.servers.processes import wait_until
from tests.storage.objects import get, stream
from tests.storage.probing import run, step_of

SECRET = "cdn-secret-not-for-use"


@dataclass
class PurgeService:
    """The API of either service: checks the credentials as they would and records what is purged."""

    endpoint: str = ""
    status: int = 200
    answer: bytes = b""
    purged: list[str] = field(default_factory=list)
    requests: int = 0
    hold: threading.Event = field(default_factory=threading.Event)

    def take(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        self.requests += 1
        assert self.hold.wait(120)
        if self.status != 200:
            return self.status, self.answer
        if path.startswith("/client/v4/zones/zone1234/purge_cache"):
            if headers["authorization"] != f"Bearer {SECRET}":
                return 403, b"{}"
            found = json.loads(body)["files"]
            assert len(found) <= 30
            self.purged += found
            return 200, self.answer or b'{"success": true}'
        if path == "/2020-05-31/distribution/DIST1234/invalidation":
            if not signed(self.endpoint + path, headers, body):
                return 403, b""
            root = ElementTree.fromstring(body)
            spaced = "{http://cloudfront.amazonaws.com/doc/2020-05-31/}"
            paths = [each.text or "" for each in root.iter(f"{spaced}Path")]
            [quantity] = root.iter(f"{spaced}Quantity")
            assert int(quantity.text or "") == len(paths)
            [reference] = root.iter(f"{spaced}CallerReference")
            assert reference.text
            self.purged += paths
            return 201, b""
        return 404, b""


def signed(url: str, headers: dict[str, str], body: bytes) -> bool:
    """Whether Amazon's own library signs this request the same way."""
    told = {name: headers[name] for name in ("content-type", "host")}
    request = AWSRequest("POST", url, data=body, headers=told)
    auth = SigV4Auth(Credentials("AKIATEST", SECRET), "cloudfront", "us-east-1")
    request.context["timestamp"] = headers["x-amz-date"]
    request.headers["X-Amz-Date"] = headers["x-amz-date"]
    canonical = auth.canonical_request(request)
    signature = auth.signature(auth.string_to_sign(request, canonical), request)
    return headers["authorization"].endswith(f"Signature={signature}")


@pytest.fixture
def service() -> Iterator[PurgeService]:
    made = PurgeService()
    made.hold.set()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, answer = made.take(self.path, headers, body)
            self.send_response(status)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *arguments: object) -> None:
            """Nothing is logged."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield made
    made.hold.set()
    server.shutdown()
    server.server_close()
    thread.join()


def cloudflare(service: PurgeService, token: str = SECRET, zone: str = "zone1234") -> Cloudflare:
    return Cloudflare(zone, Secret(token), endpoint=service.endpoint)


def cloudfront(service: PurgeService, secret: str = SECRET, distribution: str = "DIST1234") -> CloudFront:
    return CloudFront(distribution, "AKIATEST", Secret(secret), endpoint=service.endpoint)


NETWORKS = pytest.mark.parametrize("network", [cloudflare, cloudfront])
FOLDER = "f/"


def delivered(network: Cloudflare | CloudFront | None = None) -> BehindCdn:
    return BehindCdn(MemoryDriver(), "cdn.example.com", FOLDER, network)


def test_addresses_are_the_networks_and_signed_ones_the_backends() -> None:
    class Linked(MemoryDriver):
        def url(self, key: str) -> str:
            return f"https://home.example/{key}"

        def temporary_url(self, key: str, *, seconds: int) -> str:
            return f"https://home.example/{key}?signed"

    driver = BehindCdn(Linked(), "cdn.example.com", FOLDER)
    assert driver.url("a b/ü?*.jpg") == "https://cdn.example.com/f/a%20b/%C3%BC%3F%2A.jpg"
    assert Backend("media", driver).temporary_url("a") == "https://home.example/a?signed"
    with pytest.raises(Unsupported):
        delivered().temporary_url("a", seconds=5)
    assert not isinstance(Encrypted(driver, bytes(32)), Links)
    packed = Compressed(driver, frozenset({"txt"}))
    assert isinstance(packed, Links)
    assert packed.url("a.jpg") == "https://cdn.example.com/f/a.jpg"


@NETWORKS
def test_every_change_is_purged(service: PurgeService, network) -> None:  # type: ignore[no-untyped-def]
    driver = delivered(network(service))
    driver.put("a b", b"x")
    stream(driver, "b", b"x")
    assert isinstance(driver, CopiesWithin)
    driver.copy_from(driver, "b", "c&<d>")
    driver.delete("b")
    with driver.write("never") as writing:
        writing.write(b"dropped")
    with pytest.raises(StorageError):
        driver.put("a b", b"x", create_only=True)
    driver.close()
    purged = {url.removeprefix("https://cdn.example.com") for url in service.purged}
    assert purged == {"/f/a%20b", "/f/b", "/f/c%26%3Cd%3E"}


@NETWORKS
def test_many_changes_are_purged_in_few_requests(service: PurgeService, network) -> None:  # type: ignore[no-untyped-def]
    driver = delivered(network(service))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: driver.put(f"{n % 100}", b"x"), range(400)))
    driver.close()
    assert len(set(service.purged)) == 100
    assert service.requests <= 25


@NETWORKS
def test_a_network_that_is_slow_holds_no_write_up(service: PurgeService, network) -> None:  # type: ignore[no-untyped-def]
    service.hold.clear()
    driver = delivered(network(service))
    driver.put("a", b"x")
    wait_until(lambda: service.requests > 0, seconds=60, what="the first purge")
    driver.put("b", b"y")
    assert get(driver, "b") == b"y"
    assert service.purged == []
    service.hold.set()
    driver.close()
    assert len(service.purged) == 2


@NETWORKS
@pytest.mark.parametrize("status", [403, 404, 429, 500, 302])
def test_a_purge_that_fails_is_said_and_fails_nothing(
    service: PurgeService,
    network,  # type: ignore[no-untyped-def]
    status: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    service.status, service.answer = status, SECRET.encode()
    driver = delivered(network(service))
    assert driver.put("a", b"x").proven
    driver.close()
    [record] = [each for each in caplog.records if each.levelno >= logging.WARNING]
    assert "1 changed objects were not purged at cdn.example.com" in record.getMessage()
    assert SECRET not in caplog.text
    kind = {403: Kind.BAD_CREDENTIALS, 404: Kind.NOT_FOUND, 429: Kind.THROTTLED}
    again = delivered(network(service))
    with pytest.raises(StorageError) as caught:
        again.purge(["a"])
    assert caught.value.kind is kind.get(status, Kind.UNREACHABLE)
    assert caught.value.remedy
    assert SECRET not in caught.value.reason
    again.close()


def test_what_is_too_much_to_tell_is_said(
    service: PurgeService, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(cdn, "MAX_QUEUED", 5)
    service.hold.clear()
    driver = delivered(cloudflare(service))
    driver.put("first", b"x")
    wait_until(lambda: service.requests > 0, seconds=60, what="the first purge")
    for number in range(12):
        driver.put(f"{number}", b"x")
    service.hold.set()
    driver.close()
    assert len(service.purged) == 6
    assert "7 changed objects were not purged at cdn.example.com: too many at once" in caplog.text


def test_a_response_that_reports_failure_is_a_failure(service: PurgeService) -> None:
    for answer in (b'{"success": false, "errors": []}', b"<html>", b"[]"):
        service.answer = answer
        driver = delivered(cloudflare(service))
        with pytest.raises(StorageError, match="did not confirm"):
            driver.purge(["a"])
        driver.close()


def test_the_connection_test_tells_the_network_too(service: PurgeService) -> None:
    driver = delivered(cloudfront(service))
    result = run(driver)
    assert result.passed
    assert step_of(result, "purge").state == "passed"
    driver.close()
    wrong = delivered(cloudfront(service, "wrong"))
    assert step_of(run(wrong), "purge").state == "failed"
    wrong.close()
    nowhere = delivered(CloudFront("DIST1234", "AK", Secret(SECRET), endpoint="http://127.0.0.1:1"))
    assert "does not respond" in step_of(run(nowhere), "purge").message
    nowhere.close()
    plain = step_of(run(delivered()), "purge")
    assert (plain.state, "No key" in plain.message) == ("skipped", True)


OPTIONS = {"cdn_domain": "https://CDN.example.com/", "cdn_purge": "cloudfront", "cdn_zone": "E2ABCDEF"}


def test_it_is_switched_on_by_options(tmp_path: Path) -> None:
    options = {"root": str(tmp_path), **OPTIONS, "cdn_key_id": "AKIATEST"}
    secrets = {"cdn_secret": Secret(SECRET)}
    driver = build("local", check_options("local", options, secrets), secrets)
    assert isinstance(driver, BehindCdn)
    assert isinstance(driver, Purges)
    assert driver.url("a") == "https://cdn.example.com/a"
    assert SECRET not in repr(driver) + str(vars(driver))
    driver.close()


def test_options_saved_for_s3_before_there_was_a_wrapper_still_count() -> None:
    saved = {
        "endpoint": "https://s3.example.com",
        "bucket": "media",
        "access_key_id": "AK",
        "prefix": "p/",
        "cdn_domain": "cdn.example.com",
    }
    secrets = {"secret_access_key": Secret("s" * 20)}
    for options in (saved, check_options("s3", saved, secrets)):
        driver = build("s3", options, secrets)
        assert isinstance(driver, Links)
        assert driver.url("a b") == "https://cdn.example.com/p/a%20b"
        assert driver.temporary_url("a b", seconds=60).startswith("https://s3.example.com/media/p/a%20b?")
        driver.close()


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("cdn_domain", {"cdn_domain": "cdn.example.com/path"}),
        ("cdn_domain", {"cdn_domain": "localhost"}),
        ("cdn_domain", {"cdn_domain": ""}),
        ("cdn_zone", {"cdn_zone": "../../x"}),
        ("cdn_zone", {"cdn_zone": ""}),
        ("cdn_key_id", {"cdn_key_id": ""}),
        ("cdn_key_id", {"cdn_key_id": "A, SignedHeaders"}),
        ("cdn_secret", {}),
    ],
)
def test_options_are_checked(tmp_path: Path, field: str, changes: dict[str, str]) -> None:
    options = {"root": str(tmp_path), **OPTIONS, "cdn_key_id": "AKIATEST"} | changes
    secrets = {} if field == "cdn_secret" else {"cdn_secret": Secret(SECRET)}
    with pytest.raises(InvalidInput) as caught:
        check_options("local", options, secrets)
    assert caught.value.subject == field


@NETWORKS
def test_a_failed_purge_is_retried(
    service: PurgeService,
    network,  # type: ignore[no-untyped-def]
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(cdn, "RETRY_SECONDS", (0.0, 0.0))
    good = service.status
    service.status = 503
    driver = delivered(network(service))
    driver.put("a", b"x")
    wait_until(lambda: service.requests == 2, seconds=60, what="a second attempt")
    service.status = good
    driver.put("b", b"x")
    driver.close()
    assert {each.rpartition("/")[2] for each in service.purged} == {"a", "b"}
    assert "not purged" not in caplog.text


ENDING = """
import sys
from dashboard.storage.drivers.memory import MemoryDriver
from dashboard.storage.types import Secret
from dashboard.storage.wrappers.cdn.purging import Cloudflare
from dashboard.storage.wrappers.cdn.driver import BehindCdn

network = Cloudflare("zone1234", Secret(sys.argv[2]), endpoint=sys.argv[1])
BehindCdn(MemoryDriver(), "cdn.example.com", "", network).put("a", b"x")
"""


def test_a_program_that_ends_without_closing_anything_still_purges(service: PurgeService) -> None:
    subprocess.run([sys.executable, "-c", ENDING, service.endpoint, SECRET], check=True, timeout=60)
    assert service.purged == ["https://cdn.example.com/a"]
