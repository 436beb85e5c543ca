"""The S3 driver beyond the contract: proof of writes, parts, buckets, links, odd servers."""

from __future__ import annotations

import base64
import hashlib
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator

import pytest

from dashboard.errors import Kind
from dashboard.storage.drivers.s3.driver import S3Driver
from dashboard.storage.errors import Changed, ContainerMissing, Exists, InvalidKey, NotFound, StorageError
from dashboard.storage.types import Attributes, Entry, Secret
from tests.servers.faults import FaultProxy
from tests.servers.moto import MotoS3
from tests.servers.s3 import KeyPair, bucket_name
from tests.servers.seaweedfs import SeaweedFS
from tests.storage.objects import content_of

MIB = 1024 * 1024
LARGE = content_of(20 * MIB + 3)


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


Make = Callable[..., S3Driver]


@pytest.fixture
def make(seaweedfs: SeaweedFS) -> Iterator[Make]:
    """Builds drivers for SeaweedFS, or for whatever ``options`` say, and closes them."""
    made: list[S3Driver] = []

    def build(identity: KeyPair = seaweedfs.admin, **options: str) -> S3Driver:
        chosen = {"endpoint": seaweedfs.endpoint, "access_key_id": identity.access_key, **options}
        made.append(S3Driver.from_options(chosen, {"secret_access_key": Secret(identity.secret_key)}))
        return made[-1]

    yield build
    for driver in made:
        driver.close()


@pytest.fixture
def bucket(seaweedfs: SeaweedFS) -> str:
    return seaweedfs.new_bucket("s3")


def upload(driver: S3Driver, key: str, data: bytes, **more: bool) -> None:
    with driver.write(key, size=len(data), **more) as writing:
        for at in range(0, len(data), MIB):
            writing.write(data[at : at + MIB])
        writing.commit()


def test_a_small_write_is_proven_by_its_md5(make: Make, bucket: str) -> None:
    written = make(bucket=bucket).put("a", b"hello")
    assert written.proven
    assert written.stored_checksum == written.expected_checksum == md5(b"hello")


def test_a_large_write_is_proven_by_the_md5s_of_its_parts(make: Make, bucket: str) -> None:
    driver = make(bucket=bucket)
    with driver.write("large", size=len(LARGE), attributes=Attributes(content_type="a/b")) as writing:
        writing.write(LARGE)
        written = writing.commit()
    digests = [hashlib.md5(LARGE[at : at + 8 * MIB]).digest() for at in range(0, len(LARGE), 8 * MIB)]
    assert written.stored_checksum == f"{md5(b''.join(digests))}-{len(digests)}"
    assert written.proven
    assert written.md5 == md5(LARGE)
    with driver.read("large") as reading:
        assert reading.info.md5 is None
        assert reading.info.attributes.content_type == "a/b"
        assert b"".join(reading.chunks()) == LARGE


def test_a_write_that_is_left_drops_its_parts(make: Make, bucket: str, seaweedfs: SeaweedFS) -> None:
    driver = make(bucket=bucket)
    with driver.write("large", size=len(LARGE)) as writing:
        writing.write(LARGE)
    with pytest.raises(NotFound):
        driver.stat("large")
    assert not seaweedfs.client().list_multipart_uploads(Bucket=bucket).get("Uploads")


def test_create_only_learns_what_the_server_honours(make: Make, bucket: str) -> None:
    driver = make(bucket=bucket)
    driver.put("a", b"one", create_only=True)
    for _ in range(2):
        with pytest.raises(Exists):
            driver.put("a", b"two", create_only=True)
    upload(driver, "large", LARGE, create_only=True)
    with pytest.raises(Exists):
        upload(driver, "large", LARGE, create_only=True)
    assert driver.stat("a").md5 == md5(b"one")


def test_many_writers_of_one_key_leave_one_winner(make: Make, bucket: str) -> None:
    driver = make(bucket=bucket)
    driver.put("learnt", b"", create_only=True)
    won: list[int] = []

    def race(number: int) -> None:
        try:
            driver.put("prize", b"%d" % number, create_only=True)
        except Exists:
            return
        won.append(number)

    threads = [threading.Thread(target=race, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    with driver.read("prize") as reading:
        assert reading.read_all() == b"%d" % won[0]


def test_a_server_without_if_none_match_gets_a_look_first(
    make: Make, bucket: str, fault_proxy: FaultProxy
) -> None:
    driver = make(endpoint=fault_proxy.endpoint, bucket=bucket)
    fault_proxy.answer(501, "NotImplemented", method="PUT", key="/a")
    driver.put("a", b"one", create_only=True)
    with pytest.raises(Exists):
        driver.put("a", b"two", create_only=True)


def test_a_prefix_is_a_plain_string_before_every_key(make: Make, bucket: str) -> None:
    whole, inner = make(bucket=bucket), make(bucket=bucket, prefix="media/")
    inner.put("ü +%/1", b"x")
    whole.put("media", b"beside")
    whole.put("media2/x", b"beside")
    assert [entry.key for entry in inner.list()] == ["ü +%/1"]
    assert whole.stat("media/ü +%/1").size == 1
    inner.delete("ü +%/1")
    assert list(inner.list()) == []


def test_listing_goes_through_many_pages(
    make: Make, moto_s3: MotoS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "dashboard.storage.drivers.s3.listing.entries.__kwdefaults__", {"start_after": "", "page": 7}
    )
    driver = make(endpoint=moto_s3.endpoint, bucket=moto_s3.new_bucket())
    keys = sorted(f"k{n:03d} é%+" for n in range(50))
    for key in keys:
        driver.put(key, key.encode())
    found = list(driver.list())
    assert [entry.key for entry in found] == keys
    assert found[3].etag == md5(keys[3].encode())
    assert found[3].size == len(keys[3].encode())
    assert abs((found[3].modified or 0) - time.time()) < 60
    assert [e.key for e in driver.list("k01")] == keys[10:20]
    assert [e.key for e in driver.list(start_after=keys[44])] == keys[45:]
    some = driver.list()
    assert isinstance(next(some), Entry)
    some.close()  # type: ignore[attr-defined]  # a generator, abandoned half way


def test_a_read_of_another_version_is_refused(make: Make, bucket: str) -> None:
    driver = make(bucket=bucket)
    driver.put("a", b"one")
    old = driver.stat("a").version
    driver.put("a", b"two")
    with pytest.raises(Changed):
        driver.read("a", if_version=old)
    driver.put(" odd ", b"one")
    old = driver.stat(" odd ").version
    driver.put(" odd ", b"two")
    with pytest.raises(Changed):
        driver.read(" odd ", if_version=old)


@pytest.mark.parametrize("key", ["x//y", "/lead", "/", "//", "a/./b", "a/../b", ".."])
def test_keys_the_server_would_change_are_refused_and_leave_nothing(
    make: Make, bucket: str, key: str
) -> None:
    driver = make(bucket=bucket)
    driver.put("x/y", b"mine")
    driver.put("b", b"mine")
    with pytest.raises(InvalidKey):
        driver.put(key, b"bent")
    with pytest.raises(InvalidKey):
        upload(driver, key, LARGE)
    assert {entry.key: entry.etag for entry in driver.list()} == {"x/y": md5(b"mine"), "b": md5(b"mine")}


@pytest.mark.parametrize("key", ["x//y", "/lead", "trail/", "//", "a/../b", "tab\tkey"])
def test_odd_keys_can_be_written_in_parts_where_the_server_keeps_them(
    make: Make, moto_s3: MotoS3, key: str
) -> None:
    driver = make(endpoint=moto_s3.endpoint, bucket=moto_s3.new_bucket())
    upload(driver, key, LARGE)
    assert [entry.key for entry in driver.list()] == [key]
    assert driver.stat(key).size == len(LARGE)


def test_metadata_that_headers_cannot_carry_comes_back(make: Make, bucket: str) -> None:
    driver = make(bucket=bucket)
    held = Attributes(
        content_type="text/plain",
        content_disposition='attachment; filename="größe.txt"',
        metadata={"owner": "Zoë", "content-type": "not this"},
    )
    driver.put("a", b"x", attributes=held)
    upload(driver, "large", LARGE)
    with driver.read("a") as reading:
        assert reading.info.attributes == held
    assert driver.stat("a").attributes == held


def test_copies_on_the_server_keep_attributes_and_are_proven(
    make: Make, bucket: str, seaweedfs: SeaweedFS
) -> None:
    source, other = make(bucket=bucket, prefix="p/"), make(bucket=seaweedfs.new_bucket("s3"))
    assert other.can_copy_from(source)
    assert not make(seaweedfs.reader, bucket=bucket).can_copy_from(source)
    source.put("ü +%", b"hello", attributes=Attributes(content_type="a/b", metadata={"x": "y"}))
    written = other.copy_from(source, "ü +%", "copy")
    assert written.proven
    assert (written.size, written.md5) == (5, md5(b"hello"))
    assert other.stat("copy").attributes == source.stat("ü +%").attributes
    with pytest.raises(Changed):
        other.copy_from(source, "ü +%", "copy", if_version=md5(b"before"))
    with pytest.raises(NotFound):
        other.copy_from(source, "gone", "copy", if_version=md5(b"hello"))


def test_sweep_drops_only_our_unfinished_uploads(make: Make, bucket: str, seaweedfs: SeaweedFS) -> None:
    s3 = seaweedfs.client()
    for key in ("p/ours", "p/ours too", "p/theirs", "elsewhere"):
        s3.create_multipart_upload(Bucket=bucket, Key=key)
    driver = make(bucket=bucket, prefix="p/")
    assert driver.sweep(["ours", "never begun"], since=time.time() + 3600) == 0
    assert driver.sweep(["ours", "ours too", "never begun"], since=time.time() - 60) == 2
    left = {each["Key"] for each in s3.list_multipart_uploads(Bucket=bucket)["Uploads"]}
    assert left == {"p/theirs", "elsewhere"}
    assert driver.sweep([], since=0) == 0


def test_a_bucket_can_be_made(make: Make, seaweedfs: SeaweedFS) -> None:
    driver = make(bucket=bucket_name("made"))
    assert not driver.bucket_exists()
    with pytest.raises(ContainerMissing):
        list(driver.list())
    with pytest.raises(ContainerMissing):
        driver.stat("a")
    driver.create_bucket()
    driver.create_bucket()
    assert driver.bucket_exists()
    seaweedfs.client().delete_bucket(Bucket=driver._config.bucket)


def test_links_open_without_credentials(make: Make, bucket: str) -> None:
    driver = make(bucket=bucket, prefix="p/")
    driver.put("größe +%", b"hello")
    with urllib.request.urlopen(driver.temporary_url("größe +%", seconds=60)) as answer:
        assert answer.read() == b"hello"
    assert driver.url("a b") == f"{driver._config.endpoint}/{bucket}/p/a%20b"


def test_the_environment_cannot_redirect_or_replace_credentials(
    make: Make, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "else")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    monkeypatch.setenv("AWS_SERVER_SIDE_ENCRYPTION", "sse-c")
    monkeypatch.setenv("AWS_SSE_CUSTOMER_KEY_BASE64", base64.b64encode(b"k" * 32).decode())
    monkeypatch.setenv("AWS_S3_EXPRESS", "true")
    driver = make(bucket=bucket)
    assert driver.put("a", b"x").proven
    assert [entry.key for entry in driver.list()] == ["a"]
    assert driver.stat("a").md5 == md5(b"x")


def test_a_driver_shows_no_secret(make: Make, bucket: str, seaweedfs: SeaweedFS) -> None:
    driver = make(bucket=bucket)
    driver.put("a", b"x")
    shown = repr(driver) + repr(driver._config) + repr(vars(driver)) + repr(vars(driver._client))
    assert seaweedfs.admin.secret_key not in shown


def test_storage_class_and_encryption_go_with_every_write(
    make: Make, bucket: str, seaweedfs: SeaweedFS
) -> None:
    driver = make(bucket=bucket, storage_class="STANDARD_IA")
    driver.put("small", b"x")
    upload(driver, "large", LARGE)
    s3 = seaweedfs.client()
    assert s3.head_object(Bucket=bucket, Key="small")["StorageClass"] == "STANDARD_IA"
    assert s3.head_object(Bucket=bucket, Key="large")["StorageClass"] == "STANDARD_IA"


def test_with_kms_an_etag_is_no_proof(make: Make, moto_s3: MotoS3) -> None:
    driver = make(endpoint=moto_s3.endpoint, bucket=moto_s3.new_bucket(), sse="aws:kms")
    written = driver.put("a", b"hello")
    assert written.stored_checksum is None
    assert driver.stat("a").md5 is None
    plain = make(endpoint=moto_s3.endpoint, bucket=driver._config.bucket)
    assert plain.stat("a").md5 is None


def test_a_missing_object_is_gone_and_not_an_error_to_delete(make: Make, bucket: str) -> None:
    driver = make(bucket=bucket)
    driver.delete("never")
    driver.delete(" never ")
    with pytest.raises(NotFound) as caught:
        driver.read("never")
    assert caught.value.kind is Kind.NOT_FOUND
    with pytest.raises(StorageError):
        make(bucket=bucket_name("nowhere")).delete("a")
