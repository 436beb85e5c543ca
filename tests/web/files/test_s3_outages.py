"""A real S3 server behind a proxy that goes down or breaks lines, and a copy on this machine."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest

from dashboard.services.backends.values import Draft
from dashboard.storage.types import Attributes, Secret
from tests.servers.faults import FaultProxy
from tests.servers.seaweedfs import SeaweedFS
from tests.web.files.conftest import MARIA, SPARE, FilesConsole

CONTENT = hashlib.shake_256(b"film").digest(3_000_000)
OTHER = hashlib.shake_256(b"another film").digest(3_000_000)
ADDRESS = "/files/bucket/film.mp4"


@pytest.fixture
def proxy(served: FilesConsole, seaweedfs: SeaweedFS) -> Iterator[FaultProxy]:
    """S3 behind a proxy as the backend “bucket”, with one object; “spare” is in the fallback order."""
    access = seaweedfs.admin
    with FaultProxy(seaweedfs.endpoint) as proxy:
        options = {
            "endpoint": proxy.endpoint,
            "bucket": seaweedfs.new_bucket(),
            "access_key_id": access.access_key,
            "region": "us-east-1",
        }
        secrets = {"secret_access_key": Secret(access.secret_key)}
        served.console.services.backends.add(MARIA, Draft("bucket", "s3", options, secrets))
        attributes = Attributes(content_type="video/mp4", cache_control="public, max-age=60")
        served.console.services.backends.driver("bucket").put("film.mp4", CONTENT, attributes=attributes)
        served.put(SPARE, "film.mp4", CONTENT)
        yield proxy
    served.console.services.backends.remove(MARIA, "bucket")


def test_s3_goes_down(served: FilesConsole, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashboard.storage.net.retries.backoff", lambda attempt: None)
    client = served.browser.client
    whole = client.get(ADDRESS)
    assert (whole.status_code, whole.data, whole.headers["X-Stowage-Backend"]) == (200, CONTENT, "bucket")
    assert whole.headers["Content-Type"] == "video/mp4"
    assert whole.headers["Cache-Control"] == "private, max-age=60"
    tag = whole.headers["ETag"]
    assert tag == f'"md5-{hashlib.md5(CONTENT).hexdigest()}"'

    proxy.reset(times=None)
    down = client.get(ADDRESS)
    assert down.status_code == 502
    assert "cannot be reached" in down.text
    assert str(proxy.port) not in down.text

    served.catalogue("bucket", "film.mp4", len(CONTENT), md5=hashlib.md5(CONTENT).hexdigest())
    instead = client.get(ADDRESS, headers={"Range": "bytes=1000000-", "If-Range": tag})
    assert (instead.status_code, instead.data) == (206, CONTENT[1_000_000:])
    assert instead.headers["X-Stowage-Backend"] == f"{SPARE}; fallback"
    assert instead.headers["ETag"] == tag

    served.put(SPARE, "film.mp4", OTHER)
    wrong = client.get(ADDRESS)
    assert wrong.status_code == 502
    assert OTHER[:100] not in wrong.data


def test_lines_to_s3_break(served: FilesConsole, proxy: FaultProxy) -> None:
    for after in (1, len(CONTENT) // 4, len(CONTENT) // 2, 3 * len(CONTENT) // 4):
        proxy.clear()
        proxy.truncate(key="film.mp4", after=after % 200_000, times=None)
        found = served.browser.client.get(ADDRESS)
        assert (found.status_code, found.data) == (200, CONTENT)


def test_a_redirect_to_the_bucket(served: FilesConsole, proxy: FaultProxy) -> None:
    away = served.browser.client.get(f"{ADDRESS}?direct=1")
    assert away.status_code == 307
    assert away.headers["Location"].startswith(proxy.endpoint)
    assert "X-Amz-Signature=" in away.headers["Location"]
    assert away.headers["Cache-Control"] == "no-store"
    local = served.browser.client.get(f"/files/{SPARE}/film.mp4?direct=1")
    assert (local.status_code, local.data) == (200, CONTENT)
