"""Copies that an S3 server makes by itself: how many requests, what proves them, and the lies of servers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from dashboard.errors import Kind
from dashboard.storage.copying import Copied, copy_object
from dashboard.storage.driver import Driver
from dashboard.storage.drivers.s3.driver import S3Driver
from dashboard.storage.errors import Changed, Exists, NotFound, StorageError, Unsupported
from dashboard.storage.proving import copies_on_server
from dashboard.storage.types import Attributes, Entry, Secret
from tests.servers.faults import FaultProxy
from tests.servers.moto import MotoS3
from tests.servers.s3 import ADMIN
from tests.servers.seaweedfs import SeaweedFS

MIB = 1024 * 1024
HELD = Attributes(content_type="a/b", cache_control="no-cache", metadata={"x": "y"})


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


class Ends:
    """Two buckets of one server behind a proxy that sees every request and may break it."""

    def __init__(self, server: SeaweedFS | MotoS3, proxy: FaultProxy) -> None:
        self.proxy, self.s3 = proxy, server.client()
        self.names = [server.new_bucket("copies") for _ in range(2)]
        self.source, self.destination = (self.open(name) for name in self.names)

    def open(self, bucket: str) -> S3Driver:
        options = {"endpoint": self.proxy.endpoint, "bucket": bucket, "access_key_id": ADMIN.access_key}
        return S3Driver.from_options(options, {"secret_access_key": Secret(ADMIN.secret_key)})

    def put(self, key: str, data: bytes, **more: Any) -> Entry:
        """Store an object as another program would; returns it as listed."""
        self.s3.put_object(
            Bucket=self.names[0],
            Key=key,
            Body=data,
            ContentType="a/b",
            CacheControl="no-cache",
            Metadata={"x": "y"},
            **more,
        )
        return self.listed(key)

    def put_parts(self, key: str, *parts: bytes, tags: str = "") -> Entry:
        """Store an object in these parts."""
        names = {"Bucket": self.names[0], "Key": key}
        names["UploadId"] = self.s3.create_multipart_upload(
            **names, ContentType="a/b", CacheControl="no-cache", Metadata={"x": "y"}, Tagging=tags
        )["UploadId"]
        sent = [
            {"PartNumber": number, "ETag": self.s3.upload_part(**names, PartNumber=number, Body=data)["ETag"]}
            for number, data in enumerate(parts, 1)
        ]
        self.s3.complete_multipart_upload(**names, MultipartUpload={"Parts": sent})
        return self.listed(key)

    def listed(self, key: str) -> Entry:
        return next(each for each in self.source.list(key) if each.key == key)

    def learn(self) -> None:
        """Let the driver find out what the server can do, and forget the requests."""
        self.copy(self.put("first", b"?"))
        self.proxy.clear()

    def copy(self, entry: Entry, *, create_only: bool = True, to: str = "", **more: Any) -> Copied:
        return copy_object(
            self.source,
            self.destination,
            entry,
            to=to or entry.key,
            create_only=create_only,
            progress=lambda done: None,
            stop=lambda: False,
            need_md5=more.pop("need_md5", False),
            **more,
        )

    def methods(self) -> list[str]:
        return [method for method, _ in self.proxy.seen]

    def unfinished(self) -> list[Any]:
        listed: list[Any] = self.s3.list_multipart_uploads(Bucket=self.names[1]).get("Uploads", [])
        return listed


@pytest.fixture
def ends(seaweedfs: SeaweedFS) -> Iterator[Ends]:
    """On a server that keeps its promises."""
    with FaultProxy(seaweedfs.endpoint) as proxy:
        made = Ends(seaweedfs, proxy)
        yield made
        made.source.close()
        made.destination.close()


@pytest.fixture
def liar(moto_s3: MotoS3) -> Iterator[Ends]:
    """On a server that ignores both preconditions of a copy."""
    with FaultProxy(moto_s3.endpoint) as proxy:
        made = Ends(moto_s3, proxy)
        yield made
        made.source.close()
        made.destination.close()


def content(driver: Driver, key: str) -> bytes:
    with driver.read(key) as reading:
        return reading.read_all()


@pytest.mark.parametrize("data", [b"", b"hello", b"x" * 2 * MIB], ids=["empty", "small", "large"])
def test_an_object_takes_one_request(ends: Ends, data: bytes) -> None:
    ends.learn()
    entry = ends.put("ü +%/a", data)
    ends.proxy.clear()
    copied = ends.copy(entry)
    assert ends.methods() == ["PUT"]
    assert copied.proven
    assert copied.written.md5 == copied.written.stored_checksum == md5(data)
    assert copied.written.size == len(data)
    assert content(ends.destination, "ü +%/a") == data
    assert ends.destination.stat("ü +%/a").attributes == HELD


def test_a_copy_never_replaces_what_came_meanwhile(ends: Ends) -> None:
    entry = ends.put("a", b"ours")
    ends.destination.put("a", b"theirs")
    with pytest.raises(Exists):
        ends.copy(entry)
    ends.learn()
    with pytest.raises(Exists):
        ends.copy(entry)
    assert content(ends.destination, "a") == b"theirs"


def test_a_copy_is_of_what_was_listed(ends: Ends) -> None:
    ends.learn()
    entry = ends.put("a", b"listed")
    ends.put("a", b"newer!")
    with pytest.raises(Changed):
        ends.copy(entry)
    ends.s3.delete_object(Bucket=ends.names[0], Key="a")
    with pytest.raises(NotFound):
        ends.copy(entry)
    assert [each.key for each in ends.destination.list()] == ["first"]


def test_a_server_that_ignores_the_precondition_is_found_out(liar: Ends) -> None:
    entry = liar.put("a", b"listed")
    liar.put("a", b"newer!")
    with pytest.raises(Changed):
        liar.copy(entry)
    assert list(liar.destination.list()) == []
    liar.destination.put("b", b"theirs")
    for _ in range(2):
        with pytest.raises(Exists):
            liar.copy(liar.put("b", b"ours"))
    assert content(liar.destination, "b") == b"theirs"


def test_what_was_replaced_with_a_newer_object_is_not_deleted_too(liar: Ends) -> None:
    entry = liar.put("a", b"listed")
    liar.put("a", b"newer!")
    liar.destination.put("a", b"replaced")
    with pytest.raises(Changed):
        liar.copy(entry, create_only=False)
    assert content(liar.destination, "a") == b"newer!"


def test_a_lost_response_is_not_somebody_elses_object(ends: Ends) -> None:
    ends.learn()
    entry = ends.put("a", b"hello")
    ends.proxy.lose_answer(key="/a")
    with pytest.raises(Exists) as caught:
        ends.copy(entry)
    assert caught.value.perhaps_ours


@pytest.mark.parametrize("body", ["<Error><Code>InternalError</Code></Error>", "<html>welcome</html>", ""])
def test_an_error_after_status_200_is_an_error(
    ends: Ends, body: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = ends.put("a", b"hello")
    real = ends.destination._client.send

    def send(method: str, context: Any, **more: Any) -> Any:
        response = real(method, context, **more)
        return replace(response, body=body.encode()) if context.operation == "copy" else response

    monkeypatch.setattr(ends.destination._client, "send", send)
    with pytest.raises(StorageError) as caught:
        ends.copy(entry, create_only=False)
    assert caught.value.kind is Kind.UNREACHABLE


def test_an_etag_that_proves_nothing_is_not_taken_for_a_proof(ends: Ends) -> None:
    """With SSE-KMS an ETag looks like an MD5 and is none: after the first object the bytes are moved."""
    real = ends.destination._objects.copy

    def encrypted(*args: Any, **more: Any) -> Any:
        return replace(real(*args, **more), etag=md5(b"opaque"), etag_is_opaque=True)

    ends.destination._objects.copy = encrypted  # type: ignore[method-assign]
    copied = ends.copy(ends.put("a", b"hello"), create_only=False)
    assert copied.written.md5 == md5(b"hello")
    ends.destination._copies._proves_small = False
    ends.proxy.clear()
    assert ends.copy(ends.put("b", b"hello")).written.md5 == md5(b"hello")
    assert "copy" not in str(ends.proxy.seen)
    assert content(ends.destination, "b") == b"hello"


def test_a_damaged_copy_is_removed(ends: Ends) -> None:
    entry = ends.put("a", b"hello")

    def damaged(to: str, headers: Any, context: Any, **more: Any) -> Any:
        ends.destination.put(to, b"hullo")
        return replace(honest, etag=md5(b"hullo"))

    honest = ends.destination._objects.copy(
        "x", ends.source._config.copy_source_headers("a"), ends.source._client.context("copy", "a")
    )
    ends.destination._objects.copy = damaged  # type: ignore[method-assign]
    with pytest.raises(StorageError) as caught:
        ends.copy(entry, create_only=False)
    assert caught.value.kind is Kind.DAMAGED
    assert [each.key for each in ends.destination.list()] == ["x"]


@pytest.mark.parametrize(("status", "code"), [(403, "AccessDenied"), (501, "NotImplemented")])
def test_a_key_that_may_not_copy_moves_the_bytes(ends: Ends, status: int, code: str) -> None:
    ends.destination._creates._supported = ends.destination._copies._creates._supported = True
    entries = [ends.put(key, key.encode()) for key in ("a", "b")]
    ends.proxy.clear()
    refusal = ends.proxy.answer(status, code, method="PUT", times=1)
    for entry in entries:
        assert ends.copy(entry).proven
    assert refusal.hits == 1
    assert sorted(ends.methods()) == ["GET", "GET", "PUT", "PUT", "PUT"]
    assert [content(ends.destination, each.key) for each in entries] == [b"a", b"b"]


def test_what_is_to_carry_a_mark_is_moved_unless_it_is_large(ends: Ends) -> None:
    entry = ends.put("a", b"hello")
    ends.copy(entry, metadata={"mark": "z"})
    assert ends.destination.stat("a").attributes.metadata == {"x": "y", "mark": "z"}
    large = replace_size(entry, 2 * MIB)
    assert copies_on_server(ends.source, ends.destination, large, marked=True)
    assert not copies_on_server(ends.source, ends.destination, entry, marked=True)
    assert copies_on_server(ends.source, ends.destination, entry)


def replace_size(entry: Entry, size: int) -> Entry:
    return entry._replace(size=size)


def test_an_object_without_a_checksum_in_the_listing_is_moved(ends: Ends) -> None:
    entry = ends.put("a", b"hello")
    for etag in (None, "opaque", f"{md5(b'')}-1"):
        assert not copies_on_server(ends.source, ends.destination, entry._replace(etag=etag))
    with pytest.raises(Unsupported):
        ends.destination.copy_listed(ends.source, entry._replace(etag=None), "b")


def test_tags_stay(ends: Ends) -> None:
    ends.copy(ends.put("a", b"hello", Tagging="t=1"))
    assert ends.destination.tags("a") == {"t": "1"}


# In parts

PARTS = (b"a" * 5 * MIB, b"b" * 5 * MIB, b"c" * 100)


def test_an_object_in_parts_is_one_request_where_its_etag_stays(ends: Ends) -> None:
    ends.learn()
    entry = ends.put_parts("m", *PARTS)
    ends.proxy.clear()
    copied = ends.copy(entry)
    assert copied.proven
    assert ends.methods() == ["PUT"]
    assert content(ends.destination, "m") == b"".join(PARTS)


def test_elsewhere_it_is_copied_in_the_same_parts(liar: Ends) -> None:
    """As on Amazon: a copy in one request has the MD5 of the whole, which nobody knows."""
    first, second = (liar.put_parts(key, *PARTS, tags="t=1&u=%C3%BC") for key in ("m", "n"))
    assert liar.copy(first).proven
    liar.proxy.clear()
    copied = liar.copy(second)
    assert copied.proven
    assert copied.written.stored_checksum == second.etag == liar.destination.stat("n").etag
    assert "GET" not in [method for method, target in liar.proxy.seen if "tagging" not in target]
    assert content(liar.destination, "n") == b"".join(PARTS)
    assert liar.destination.stat("n").attributes == HELD
    assert liar.destination.tags("n") == {"t": "1", "u": "ü"}
    assert liar.unfinished() == []


def in_parts(ends: Ends) -> Ends:
    ends.destination._copies._keeps_composites = False
    return ends


def test_parts_of_a_newer_object_never_become_visible(liar: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = in_parts(liar).put_parts("m", *PARTS)
    real = liar.destination._multipart.copy_part

    def replaced(*args: Any) -> Any:
        liar.put_parts("m", PARTS[1], PARTS[0], PARTS[2])
        return real(*args)

    monkeypatch.setattr(liar.destination._multipart, "copy_part", replaced)
    with pytest.raises(Changed):
        liar.copy(entry)
    assert list(liar.destination.list()) == []
    assert liar.unfinished() == []


def test_unequal_parts_are_moved_and_proven(liar: Ends) -> None:
    entry = in_parts(liar).put_parts("m", PARTS[0], b"b" * 6 * MIB, b"c")
    assert liar.copy(entry).written.size == entry.size
    assert content(liar.destination, "m") == PARTS[0] + b"b" * 6 * MIB + b"c"
    assert liar.unfinished() == []


def test_a_server_without_checksums_of_parts_copies_in_one_request(ends: Ends) -> None:
    """SeaweedFS returns an ETag that is not the MD5 of the part."""
    entry = in_parts(ends).put_parts("m", *PARTS)
    assert ends.copy(entry).proven
    assert content(ends.destination, "m") == b"".join(PARTS)
    assert ends.unfinished() == []


def test_an_object_in_parts_replaces_nothing_either(liar: Ends) -> None:
    entry = in_parts(liar).put_parts("m", *PARTS)
    liar.destination.put("m", b"theirs")
    with pytest.raises(Exists):
        liar.copy(entry)
    assert content(liar.destination, "m") == b"theirs"
    assert liar.unfinished() == []


def test_a_lost_completion_is_recognised(liar: Ends) -> None:
    entry = in_parts(liar).put_parts("m", *PARTS)
    liar.proxy.lose_answer(key="uploadId=", method="POST")
    assert liar.copy(entry).proven
    assert content(liar.destination, "m") == b"".join(PARTS)


def test_a_failed_copy_leaves_no_upload(liar: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = in_parts(liar).put_parts("m", *PARTS)
    real = liar.destination._multipart.copy_part

    def fails(*args: Any) -> Any:
        if args[3] == 2:
            raise StorageError(Kind.UNREACHABLE, "The connection broke.", operation="copy")
        return real(*args)

    monkeypatch.setattr(liar.destination._multipart, "copy_part", fails)
    with pytest.raises(StorageError):
        liar.copy(entry)
    assert liar.unfinished() == []
