"""Copying one object between backends, and telling whether two are the same."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from types import TracebackType
from typing import Self

import pytest

from dashboard.storage import copying
from dashboard.storage.checks.wrappers import ENCRYPTION_KEY, new_encryption_key
from dashboard.storage.copying import Interrupted, read_back, same_content
from dashboard.storage.driver import Reading
from dashboard.storage.drivers.local.driver import LocalDriver
from dashboard.storage.drivers.s3.driver import S3Driver
from dashboard.storage.drivers.s3.objects import S3Reading
from dashboard.storage.errors import Changed, Damaged, Exists, NotFound, StorageError
from dashboard.storage.proving import has_integrity_protection
from dashboard.storage.registry import build, check_options
from dashboard.storage.types import Entry, ObjectInfo, Secret
from dashboard.storage.wrappers.encrypted.driver import Encrypted
from dashboard.storage.wrappers.read_only import ReadOnly
from dashboard.storage.wrapping import CONNECTION_POWERS, Wrapper
from tests.servers.faults import FaultProxy
from tests.servers.seaweedfs import SeaweedFS
from tests.storage.copies import (
    HELD,
    LARGE,
    MIB,
    MIDDLE,
    SMALL,
    Make,
    OnAnotherServer,
    content,
    copy,
    fill,
    in_parts,
)

SIZES = pytest.mark.parametrize(
    "data", [b"", SMALL, MIDDLE, LARGE], ids=["empty", "small", "middle", "large"]
)


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


class Unvouched(Wrapper):
    """A driver whose backend keeps no checksums: it tells neither ETag nor MD5."""

    forwards = CONNECTION_POWERS

    def read(self, key: str, *, if_version: str | None = None) -> Reading:
        opened = self.inner.read(key)
        assert isinstance(opened, S3Reading)
        opened.info = replace(opened.info, etag=None, version=None, md5=None)
        return opened


@SIZES
def test_every_size_arrives_whole_and_proven(make: Make, data: bytes) -> None:
    source, destination = make(), make()
    entry = fill(source, "ü/a", data)
    steps: list[int] = []
    copied = copy(OnAnotherServer(source), destination, entry, progress=steps.append)  # type: ignore[arg-type]
    assert copied.proven
    assert (copied.written.size, copied.written.md5) == (len(data), md5(data))
    assert copied.info.version == source.stat("ü/a").version
    assert steps == sorted(steps)
    assert steps[-1] == len(data)
    assert content(destination, "ü/a") == data
    assert destination.stat("ü/a").attributes == HELD


@SIZES
def test_from_disk_to_s3_and_back(make: Make, local: LocalDriver, data: bytes) -> None:
    bucket = make()
    there = copy(local, bucket, fill(local, "a", data))
    assert there.proven
    assert there.written.md5 == md5(data)
    back = copy(bucket, local, next(iter(bucket.list("a"))), to="b")
    assert back.written.md5 == md5(data)
    assert content(local, "b") == data
    assert read_back(local, "b", stop=lambda: False) == md5(data)


@pytest.mark.parametrize("need_md5", [False, True])
@SIZES
def test_on_one_server_the_bytes_need_not_come_here(
    make: Make, fault_proxy: FaultProxy, data: bytes, need_md5: bool
) -> None:
    source, destination = make(fault_proxy.endpoint), make(fault_proxy.endpoint)
    entry = fill(source, "a", data)
    fault_proxy.clear()
    copied = copy(source, destination, entry, need_md5=need_md5)
    assert copied.proven
    assert copied.written.size == len(data)
    assert copied.written.md5 in ({md5(data)} if need_md5 else {md5(data), ""})
    read = [target for method, target in fault_proxy.seen if method == "GET" and "range" not in target]
    if len(data) == len(MIDDLE) or (data is LARGE and not need_md5):
        assert not [target for target in read if target.endswith("0/a")]
    assert content(destination, "a") == data
    assert destination.stat("a").attributes == HELD
    with pytest.raises(Exists):
        copy(source, destination, entry, need_md5=need_md5)


@SIZES
def test_create_only_never_replaces(make: Make, local: LocalDriver, data: bytes) -> None:
    source, destination = make(), make()
    entry = fill(source, "a", data)
    for target in (destination, local):
        target.put("a", b"theirs")
        with pytest.raises(Exists):
            copy(OnAnotherServer(source), target, entry)  # type: ignore[arg-type]
        assert content(target, "a") == b"theirs"
        copy(OnAnotherServer(source), target, entry, create_only=False)  # type: ignore[arg-type]
        assert content(target, "a") == data


@pytest.mark.parametrize("data", [SMALL, MIDDLE, LARGE], ids=["small", "middle", "large"])
def test_an_object_that_is_not_the_listed_one_is_changed(make: Make, local: LocalDriver, data: bytes) -> None:
    source, destination = make(), make()
    for place in (source, local):
        entry = fill(place, "a", data)
        place.put("a", b"another")
        with pytest.raises(Changed):
            copy(place, destination, entry)
        place.delete("a")
        with pytest.raises(NotFound):
            copy(place, destination, entry)
    assert list(destination.list()) == []


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
def test_stop_drops_what_was_begun(make: Make, local: LocalDriver, data: bytes, seaweedfs: SeaweedFS) -> None:
    source, destination = make(), make()
    entry = fill(source, "a", data)
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > 1

    for target in (destination, local):
        asked = 0
        with pytest.raises(Interrupted):
            copy(OnAnotherServer(source), target, entry, stop=stop)  # type: ignore[arg-type]
        assert list(target.list()) == []
    left = seaweedfs.client().list_multipart_uploads(Bucket=source._config.bucket).get("Uploads")
    assert not left


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
def test_bits_that_flip_on_the_way_here_are_noticed_before_anything_is_written(
    make: Make, fault_proxy: FaultProxy, seaweedfs: SeaweedFS, data: bytes
) -> None:
    source, destination = make(fault_proxy.endpoint), make()
    # One request, so that the source vouches for the MD5 of the whole.
    source.put("a", data)
    entry = next(iter(source.list("a")))
    fault_proxy.flip(100, key="/a", times=None)
    with pytest.raises(Damaged):
        copy(OnAnotherServer(source), destination, entry)  # type: ignore[arg-type]
    assert list(destination.list()) == []


PARTS = pytest.mark.parametrize(
    ("size", "parts"),
    [(20, (8,)), (20, (6,)), (20, (6, 9)), (7, (5,))],
    ids=["usual", "unusual", "unequal", "small"],
)


@PARTS
@pytest.mark.parametrize("told", [True, False], ids=["told", "guessed"])
def test_a_bit_that_flips_in_what_was_uploaded_in_parts_does_no_harm(
    make: Make,
    local: LocalDriver,
    fault_proxy: FaultProxy,
    seaweedfs: SeaweedFS,
    *,
    size: int,
    parts: tuple[int, ...],
    told: bool,
) -> None:
    source = make(fault_proxy.endpoint)
    data = LARGE[: size * MIB + 3]
    entry = in_parts(seaweedfs, source, "a", data, *(each * MIB for each in parts))
    if not told:
        fault_proxy.answer(400, "InvalidArgument", key="partNumber", method="HEAD", times=None)
    fault_proxy.flip(100, key="/a")
    copy(source, local, entry)
    assert content(local, "a") == data


@PARTS
def test_bits_that_always_flip_in_what_was_uploaded_in_parts_are_noticed(
    make: Make,
    local: LocalDriver,
    fault_proxy: FaultProxy,
    seaweedfs: SeaweedFS,
    *,
    size: int,
    parts: tuple[int, ...],
) -> None:
    source = make(fault_proxy.endpoint)
    entry = in_parts(seaweedfs, source, "a", LARGE[: size * MIB + 3], *(each * MIB for each in parts))
    fault_proxy.flip(100, key="/a", times=None)
    with pytest.raises(Damaged):
        copy(source, local, entry)
    assert list(local.list()) == []


def test_what_was_uploaded_in_equal_parts_is_read_once(
    make: Make, local: LocalDriver, fault_proxy: FaultProxy, seaweedfs: SeaweedFS
) -> None:
    source = make(fault_proxy.endpoint)
    entry = in_parts(seaweedfs, source, "a", LARGE, 6 * MIB)
    fault_proxy.clear()
    copy(source, local, entry)
    assert [method for method, target in fault_proxy.seen if target.endswith("/a")] == ["GET"]


def test_a_bit_that_flips_in_a_continued_read_does_no_harm(
    make: Make, local: LocalDriver, fault_proxy: FaultProxy, seaweedfs: SeaweedFS
) -> None:
    source = make(fault_proxy.endpoint)
    entry = in_parts(seaweedfs, source, "a", LARGE, 8 * MIB)
    fault_proxy.reset(key="/a", method="GET", after=9 * MIB)
    flip = fault_proxy.flip(100, key="/a")
    copy(source, local, entry)
    assert flip.hits == 1
    assert content(local, "a") == LARGE


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
def test_what_no_checksum_proves_is_read_twice(
    make: Make, local: LocalDriver, fault_proxy: FaultProxy, data: bytes
) -> None:
    source = Unvouched(make(fault_proxy.endpoint))
    entry = fill(source, "a", data)._replace(etag=None)
    fault_proxy.flip(100, key="/a")
    with pytest.raises(Damaged):
        copy(source, local, entry)
    assert list(local.list()) == []
    fault_proxy.clear()
    copy(source, local, entry)
    assert content(local, "a") == data
    assert len([method for method, _ in fault_proxy.seen if method == "GET"]) == 2
    fault_proxy.clear()
    copy(source, local, entry, to="b", prove_read=False)
    assert len([method for method, _ in fault_proxy.seen if method == "GET"]) == 1


def test_a_guarded_connection_needs_no_second_read(local: LocalDriver, make: Make) -> None:
    bucket = make()
    assert not has_integrity_protection(bucket)
    assert not has_integrity_protection(ReadOnly(bucket))
    assert has_integrity_protection(local)
    assert has_integrity_protection(ReadOnly(local))
    sealed = Encrypted.from_options(bucket, {}, {ENCRYPTION_KEY: new_encryption_key()})
    assert has_integrity_protection(sealed)
    assert has_integrity_protection(ReadOnly(sealed))
    secure = make("https://127.0.0.1:1")
    assert has_integrity_protection(secure)
    ftp = {"host": "127.0.0.1", "user": "u", "root": "/"}
    for tls, guarded in (("none", False), ("explicit", True), ("implicit", True)):
        secrets = {"password": Secret("p")}
        driver = build("ftp", check_options("ftp", {**ftp, "tls": tls}, secrets), secrets)
        assert has_integrity_protection(driver) is guarded


def test_bits_that_flip_on_the_way_there_are_noticed_and_removed(make: Make, fault_proxy: FaultProxy) -> None:
    source, destination = make(), make(fault_proxy.endpoint)
    entry = fill(source, "a", SMALL)
    fault_proxy.flip(100, key="/a", method="PUT")
    with pytest.raises(Damaged):
        copy(source, destination, entry)
    assert list(destination.list()) == []
    assert copy(source, destination, entry).proven


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("with_length", [False, True])
def test_a_truncated_body_never_becomes_an_object(
    make: Make, fault_proxy: FaultProxy, data: bytes, with_length: bool
) -> None:
    source, destination = make(fault_proxy.endpoint), make()
    entry = fill(source, "a", data)
    fault_proxy.truncate(1000, key="/a", times=None, with_length=with_length)
    with pytest.raises(Damaged):
        copy(OnAnotherServer(source), destination, entry)  # type: ignore[arg-type]
    assert list(destination.list()) == []


def test_a_refused_write_is_told_as_such(make: Make, fault_proxy: FaultProxy) -> None:
    source, destination = make(), make(fault_proxy.endpoint)
    fault_proxy.refuse_put(key="/a")
    for data in (SMALL, LARGE):
        with pytest.raises(StorageError, match="may not write"):
            copy(OnAnotherServer(source), destination, fill(source, "a", data))  # type: ignore[arg-type]


def test_etags_that_only_look_like_md5s_are_found_out(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    source, destination = make(), make()
    entry = fill(source, "a", SMALL)
    honest = type(destination).put

    def put(self: S3Driver, *args: object, **more: object) -> object:
        written = honest(self, *args, **more)  # type: ignore[arg-type]
        return replace(written, stored_checksum="0" * 32)

    monkeypatch.setattr(type(destination), "put", put)
    copied = copy(source, destination, entry)
    assert copied.proven
    assert content(destination, "a") == SMALL


@SIZES
def test_the_same_content_is_recognised_whatever_the_backends(
    make: Make, local: LocalDriver, data: bytes
) -> None:
    one, two = make(), make()
    for here, there in ((one, two), (one, local), (local, one)):
        entry = fill(here, "a", data)
        fill(there, "a", data)
        assert same_content(here, there, entry, there.stat("a"))
        if data:
            fill(there, "a", data[:-1] + bytes([data[-1] ^ 1]))
            assert not same_content(here, there, entry, there.stat("a"))
        fill(there, "a", data + b"more")
        assert not same_content(here, there, entry, there.stat("a"))


def test_objects_uploaded_in_parts_are_compared_by_reading_one_side(
    make: Make, local: LocalDriver, fault_proxy: FaultProxy
) -> None:
    bucket = make(fault_proxy.endpoint)
    entry = fill(local, "a", LARGE)
    fill(bucket, "a", LARGE)
    found = bucket.stat("a")
    fault_proxy.clear()
    assert same_content(local, bucket, entry, found)
    assert fault_proxy.seen == []


def test_parts_of_an_unusual_size_are_compared_by_reading_both(make: Make, seaweedfs: SeaweedFS) -> None:
    one, two = make(), make()
    entry = fill(one, "a", LARGE)
    s3, name = seaweedfs.client(), f"{two._config.prefix}a"
    upload = s3.create_multipart_upload(Bucket=two._config.bucket, Key=name)["UploadId"]
    parts = []
    for number, at in enumerate(range(0, len(LARGE), 6_000_001), 1):
        where = {"Bucket": two._config.bucket, "Key": name, "UploadId": upload, "PartNumber": number}
        etag = s3.upload_part(**where, Body=LARGE[at : at + 6_000_001])["ETag"]
        parts.append({"PartNumber": number, "ETag": etag})
    s3.complete_multipart_upload(
        Bucket=two._config.bucket, Key=name, UploadId=upload, MultipartUpload={"Parts": parts}
    )
    assert same_content(one, two, entry, two.stat("a"))


class CountedReading:
    """A reading that shows how many are open at once."""

    open_now = 0
    most = 0
    lock = threading.Lock()

    def __init__(self, size: int) -> None:
        self.info = ObjectInfo("k", size)

    def chunks(self) -> Iterator[bytes]:
        yield from (b"\0" * MIB for _ in range(self.info.size // MIB))

    def __enter__(self) -> Self:
        with CountedReading.lock:
            CountedReading.open_now += 1
            CountedReading.most = max(CountedReading.most, CountedReading.open_now)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with CountedReading.lock:
            CountedReading.open_now -= 1


def test_reading_and_writing_stop_where_more_comes_than_was_listed(local: LocalDriver) -> None:
    size = 9 * MIB

    class Endless(CountedReading):
        handed_over = 0

        def chunks(self) -> Iterator[bytes]:
            while Endless.handed_over < 50 * MIB:
                Endless.handed_over += MIB
                yield bytes(MIB)

    class Source:
        name = "endless"

        def read(self, key: str, *, if_version: str | None = None) -> Endless:
            return Endless(size)

    for attempt in (
        lambda: copy(Source(), local, Entry("k", size), to="k"),  # type: ignore[arg-type]
        lambda: read_back(Source(), "k", stop=lambda: False),  # type: ignore[arg-type]
    ):
        Endless.handed_over = 0
        with pytest.raises(Damaged, match="More of"):
            attempt()
        assert Endless.handed_over == size + MIB
    assert not list(local.list())


def test_large_copies_share_a_budget_of_memory(local: LocalDriver) -> None:
    size = 9 * MIB

    class Source:
        name = "slow"

        def read(self, key: str, *, if_version: str | None = None) -> CountedReading:
            return CountedReading(size)

    def run(number: int) -> None:
        entry = Entry("k", size)
        copy(Source(), local, entry, to=f"k{number}")  # type: ignore[arg-type]

    threads = [threading.Thread(target=run, args=(n,)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list(local.list())) == 12
    assert 1 <= CountedReading.most <= copying.MEMORY_BYTES // (32 * MIB)
