"""Backends under other class names: what each translates, at real servers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import urllib3

from dashboard.errors import InvalidInput
from dashboard.storage import Storage
from dashboard.storage.drivers.memory import MemoryDriver
from dashboard.storage.errors import Exists, NotFound, StorageError, Unsupported
from dashboard.storage.library.adapters import (
    AzureBlobStorageAdapter,
    CachedFilesystemAdapter,
    CDNFilesystemAdapter,
    EncryptedFilesystemAdapter,
    GoogleCloudStorageAdapter,
    LocalFilesystemAdapter,
    S3FilesystemAdapter,
)
from dashboard.storage.library.backend import Backend
from tests.servers.azurite import ACCOUNT, Azurite
from tests.servers.gcs.server import GoogleStorage
from tests.servers.seaweedfs import SeaweedFS

FIVE_MIB = b"0123456789abcdef" * (5 * 65536)


@pytest.fixture
def s3(seaweedfs: SeaweedFS, shared_bucket: str) -> Iterator[S3FilesystemAdapter]:
    adapter = S3FilesystemAdapter(
        shared_bucket,
        region="us-east-1",
        access_key=seaweedfs.admin.access_key,
        secret_key=seaweedfs.admin.secret_key,
        endpoint_url=urlsplit(seaweedfs.endpoint).netloc,
        use_ssl=False,
        prefix="adapters/",
    )
    yield adapter
    adapter.close()


def test_s3_signs_reads_and_writes(s3: S3FilesystemAdapter) -> None:
    with urllib3.PoolManager(retries=False) as http:
        assert http.request("PUT", s3.get_presigned_url("a", 60, method="put"), body=b"abc").status == 200
        assert http.request("GET", s3.get_presigned_url("a", expires_in=60)).data == b"abc"
    with pytest.raises(Unsupported, match="DELETE"):
        s3.get_presigned_url("a", method="DELETE")


def test_a_browser_sends_the_parts_of_an_object(s3: S3FilesystemAdapter) -> None:
    upload = s3.create_multipart_upload("large", content_type="video/mp4")
    urls = s3.generate_presigned_post_urls(upload, num_parts=2)
    with urllib3.PoolManager(retries=False) as http:
        sent = [
            http.request("PUT", url, body=body) for url, body in zip(urls, (FIVE_MIB, b"end"), strict=True)
        ]
        assert [response.status for response in sent] == [200, 200]
        # Such an address does nothing else.
        assert http.request("GET", urls[0]).status == 403
    parts = [{"PartNumber": number, "ETag": sent[number - 1].headers["ETag"]} for number in (2, 1)]
    with pytest.raises(NotFound):
        s3.stat("large")
    s3.complete_multipart_upload(upload, parts)
    assert s3.get("large") == FIVE_MIB + b"end"
    assert s3.stat("large").attributes.content_type == "video/mp4"


def test_an_upload_in_parts_is_completed_as_it_was_sent_or_not_at_all(s3: S3FilesystemAdapter) -> None:
    upload = s3.create_multipart_upload("never")
    [url] = s3.generate_presigned_post_urls(upload, num_parts=1)
    with urllib3.PoolManager(retries=False) as http:
        etag = http.request("PUT", url, body=b"abc").headers["ETag"]
    with pytest.raises(StorageError):
        s3.complete_multipart_upload(upload, [(1, "0" * 32)])
    s3.put("never", b"taken")
    with pytest.raises(Exists):
        s3.driver.finish_parts("never", upload, [(1, etag)], create_only=True)  # type: ignore[attr-defined]
    s3.abort_multipart_upload(upload)
    s3.abort_multipart_upload(upload)
    with pytest.raises(StorageError):
        s3.complete_multipart_upload(upload, [(1, etag)])
    assert s3.get("never") == b"taken"
    for number in (0, 10_001):
        with pytest.raises(InvalidInput):
            s3.generate_presigned_post_urls(upload, num_parts=number)


def test_google_takes_headers_and_metadata(google: GoogleStorage, tmp_path: Path) -> None:
    (tmp_path / "sa.json").write_text(google.writer)
    adapter = GoogleCloudStorageAdapter(
        google.new_bucket(),
        project_id="my-project-123456",
        credentials_path=str(tmp_path / "sa.json"),
        endpoint=google.endpoint,
    )
    given = {"Cache-Control": "public, max-age=3600", "content-type": "application/json", "custom": "v"}
    adapter.put_with_metadata("k", "{}", given)
    attributes = adapter.stat("k").attributes
    assert (attributes.cache_control, attributes.content_type) == ("public, max-age=3600", "application/json")
    assert dict(attributes.metadata) == {"custom": "v"}
    adapter.close()


def test_azure_stores_in_a_tier(azurite: Azurite) -> None:
    container = azurite.new_container()
    adapter = AzureBlobStorageAdapter(ACCOUNT, azurite.key, container, endpoint=azurite.endpoint)
    adapter.put_with_tier("k", b"data", tier="Cool")
    assert (adapter.tier("k"), adapter.get("k")) == ("Cool", b"data")
    adapter.close()


def test_wrappers_go_around_any_backend(tmp_path: Path) -> None:
    base = Backend("base", MemoryDriver())
    encrypted = EncryptedFilesystemAdapter(base_adapter=base, encryption_key=b"k" * 32)
    encrypted.put("a", b"secret")
    assert b"secret" not in base.get("a")
    assert encrypted.get("a") == b"secret"
    cached = CachedFilesystemAdapter(base, cache_ttl=3600, cache_folder=str(tmp_path / "cache"))
    base.put("b", b"first")
    assert cached.get("b") == b"first"
    base.delete("b")
    assert cached.get("b") == b"first"
    cdn = CDNFilesystemAdapter(base_adapter=base, cdn_url="https://cdn.example.com")
    assert cdn.url("x") == "https://cdn.example.com/x"
    for backend in (encrypted, cached, cdn):
        backend.close()
    assert base.exists("a")


def test_a_wrapper_that_could_do_nothing_is_refused() -> None:
    base = Storage().configure("base", "memory")
    for make in (
        lambda: CachedFilesystemAdapter(base, cache_driver="memcached"),
        lambda: CachedFilesystemAdapter(base),
        lambda: CDNFilesystemAdapter(base, "https://cdn.example.com", auto_invalidate=True),
        lambda: EncryptedFilesystemAdapter(base, "too short"),
    ):
        with pytest.raises(InvalidInput):
            make()


def test_a_local_adapter_is_a_folder(tmp_path: Path) -> None:
    adapter = LocalFilesystemAdapter(str(tmp_path), url="/files")
    adapter.put("a b.txt", b"x")
    assert ((tmp_path / "a b.txt").read_bytes(), adapter.url("a b.txt")) == (b"x", "/files/a%20b.txt")
