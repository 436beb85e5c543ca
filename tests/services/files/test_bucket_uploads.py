"""Uploads that go directly to a bucket: the same checks, nothing readable before they are done, and nothing
left in the bucket, whatever the client or the server does."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import urllib3
from sqlalchemy import update

from dashboard.errors import Kind, StowageError
from dashboard.media.policy import DEFAULT
from dashboard.models.catalogue import uploads as table
from dashboard.services.backends.values import Draft
from dashboard.services.files.bucket_uploads import MAX_SECONDS, PartAddress
from dashboard.services.files.receiving import bucket_parts
from dashboard.services.files.receiving.bucket_parts import PART_BYTES, BucketParts, plan_parts
from dashboard.services.files.receiving.new_uploads import NewUpload
from dashboard.services.files.receiving.upload_rows import UploadInfo, UploadState
from dashboard.services.services import Services
from dashboard.storage.errors import NotFound
from dashboard.storage.types import Secret
from dashboard.storage.wrappers.fallback.hiding_waiting import UPLOADS
from tests.servers.faults import FaultProxy
from tests.servers.moto import MotoS3
from tests.servers.seaweedfs import SeaweedFS
from tests.services.composed import add_s3, composed
from tests.services.console import ADMIN, OPERATOR, PASSWORD
from tests.services.files.test_processing import process, quarantined

MIB = 1024 * 1024
PART = 5 * MIB
FILE = (b"\x00" + bytes(range(1, 256)) * 20_600)[:PART] + b"the end"
"""Two parts, of which the last one is short."""


@pytest.fixture(scope="module")
def bucket(seaweedfs: SeaweedFS) -> str:
    return seaweedfs.new_bucket("direct")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """A console for all tests here."""
    with composed(tmp_path_factory.mktemp("direct") / "instance") as services:
        services.setup.complete(services.setup.issue_code(), ADMIN.name, PASSWORD)
        yield services


@pytest.fixture
def console(
    shared: Services, seaweedfs: SeaweedFS, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Services]:
    """It has the empty backend “bucket”, and its default policy allows direct uploads in parts of 5 MiB."""
    monkeypatch.setattr(bucket_parts, "PART_BYTES", PART)
    add_s3(shared, "bucket", seaweedfs.endpoint, bucket, seaweedfs.admin, prefix=f"{time.time_ns()}/")
    shared.upload_policies.save(ADMIN, "default", replace(DEFAULT, direct=True))
    yield shared
    sweep_all(shared)
    assert shared.uploads.list(OPERATOR) == ()
    shared.backends.remove(ADMIN, "bucket")


def begin(services: Services, data: bytes = FILE, name: str = "large.dat", **options: str) -> UploadInfo:
    options = {"backend": "bucket", **options}
    return services.direct_uploads.begin(OPERATOR, NewUpload(name, len(data), **options))


def addresses(services: Services, upload: UploadInfo) -> tuple[PartAddress, ...]:
    count = services.direct_uploads.plan(upload).count
    return services.direct_uploads.addresses(OPERATOR, upload.id, range(1, count + 1))


def put(address: PartAddress, data: bytes) -> urllib3.BaseHTTPResponse:
    with urllib3.PoolManager(retries=False) as http:
        return http.request("PUT", address.request.url, body=data)


def send_parts(services: Services, upload: UploadInfo, data: bytes = FILE) -> dict[int, str]:
    """Send every part as a browser would; the ETags that it gets."""
    etags = {}
    for address in addresses(services, upload):
        start = (address.number - 1) * PART
        sent = put(address, data[start : start + address.size])
        assert sent.status == 200, sent.data
        etags[address.number] = sent.headers["ETag"]
    return etags


def finish(services: Services, upload: UploadInfo, etags: dict[int, str] | None = None) -> UploadInfo:
    return services.direct_uploads.finish(OPERATOR, upload.id, etags or {})


def raw(services: Services) -> Any:
    return services.backends.driver("bucket", label="direct uploads")


def in_bucket(services: Services) -> tuple[list[str], list[str]]:
    """Objects and unfinished uploads, hidden ones too."""
    driver = raw(services)
    return [entry.key for entry in driver.list()], [each.key for each in driver.unfinished()]


def refused(call: Callable[[], object]) -> StowageError:
    with pytest.raises(StowageError) as error:
        call()
    assert error.value.reason.endswith(".")
    return error.value


def sweep_all(services: Services) -> None:
    with services.database.work_write() as connection:
        connection.execute(update(table).values(expires_at=0.0))
    services.uploads.sweep()


def test_a_file_goes_to_the_bucket_in_parts_and_is_checked_like_every_other(console: Services) -> None:
    upload = begin(console, folder="films")
    key = f"{UPLOADS}{upload.id}"
    assert (upload.state, upload.method) == (UploadState.RECEIVING, "direct")
    etags = send_parts(console, upload)
    assert in_bucket(console) == ([], [key]), "nothing can be read while parts arrive"
    assert [part.size for part in console.direct_uploads.sent(OPERATOR, upload.id)] == [
        PART,
        len(FILE) - PART,
    ]
    assert console.uploads.get(OPERATOR, upload.id).percent == 80
    finished = finish(console, upload, etags)
    assert finished.state is UploadState.CHECKING
    assert finish(console, upload, etags) == finished, "a lost response may be asked for again"
    assert in_bucket(console) == ([], [key])
    done = process(console, upload.id)
    assert (done.state, done.key) == (UploadState.DONE, "films/large.dat")
    assert done.file_id is not None
    assert console.catalogue.get(done.file_id).sha256 == hashlib.sha256(FILE).hexdigest()
    assert in_bucket(console) == (["films/large.dat"], [])
    assert raw(console).read("films/large.dat").read_all() == FILE
    assert quarantined(console) == []
    assert finish(console, upload, etags).state is UploadState.DONE
    sweep_all(console)
    assert console.uploads.list(OPERATOR) == ()
    assert in_bucket(console) == (["films/large.dat"], [])


def test_nobody_reads_what_is_not_checked(console: Services) -> None:
    """Not even by its exact key, in the moment in which it is an object."""
    key = f"{UPLOADS}{'0' * 32}"
    raw(console).put(key, b"not checked")
    for driver in (
        console.backends.driver("bucket"),
        console.backends.driver("bucket", label="check"),
        console.backends.serving_driver("bucket"),
    ):
        assert [entry.key for entry in driver.list()] == []
        page = driver.list_folder("", limit=10)  # type: ignore[attr-defined]
        assert (page.entries, page.folders) == ((), ())
        for read in (
            lambda driver=driver: driver.stat(key),
            lambda driver=driver: driver.read(key),
            lambda driver=driver: driver.read_range(key, 0, 3),
            lambda driver=driver: driver.temporary_url(key, seconds=60),
            lambda driver=driver: driver.url(key),
            lambda driver=driver: driver.read_version(key, "1"),
        ):
            with pytest.raises(NotFound):
                read()
        for change in (
            lambda driver=driver: driver.put(key, b"x"),
            lambda driver=driver: driver.delete(key),
            lambda driver=driver: driver.begin_parts(key),
        ):
            assert refused(change).kind is Kind.INVALID_KEY
    raw(console).delete(key)


@pytest.mark.parametrize(
    ("data", "name", "kind"),
    [
        (b"\x7fELF\x02\x01\x01" + bytes(60), "notes.txt", Kind.WRONG_TYPE),
        (b"no image", "photo.png", Kind.WRONG_TYPE),
    ],
    ids=["program", "text"],
)
def test_the_content_is_checked(console: Services, data: bytes, name: str, kind: Kind) -> None:
    upload = begin(console, data, name)
    send_parts(console, upload, data)
    finish(console, upload)
    ended = process(console, upload.id)
    assert ended.error is not None
    assert (ended.state, ended.error.kind) == (UploadState.REFUSED, kind)
    assert in_bucket(console) == ([], [])
    assert quarantined(console) == []


def test_everything_is_refused_before_an_address_is_given(console: Services) -> None:
    def kind_of(**options: Any) -> Kind:
        new = NewUpload(**{"name": "a.dat", "size": 10, "backend": "bucket", **options})
        return refused(lambda: console.direct_uploads.begin(OPERATOR, new)).kind

    assert kind_of(size=None) is Kind.INVALID
    assert kind_of(size=0) is Kind.INVALID
    assert kind_of(size=6 * 10**12) is Kind.OVER_LIMIT
    assert kind_of(name="a.html") is Kind.WRONG_TYPE
    assert kind_of(backend="nowhere") is Kind.NOT_FOUND
    assert kind_of(backend="local-disk") is Kind.UNSUPPORTED
    assert kind_of(backend="") is Kind.UNSUPPORTED, "the active backend is a disk"
    console.upload_policies.save(ADMIN, "default", DEFAULT)
    error = refused(lambda: begin(console))
    assert (error.kind, "policy" in error.reason) == (Kind.UNSUPPORTED, True)
    assert console.uploads.list(OPERATOR) == ()
    assert in_bucket(console) == ([], [])


def test_wrappers_that_change_bytes_take_no_parts(
    console: Services, seaweedfs: SeaweedFS, bucket: str
) -> None:
    key = "A" * 43
    for name, more in (
        ("compressed", {"compress": "dat"}),
        ("encrypted", {"encrypt": "true", "encryption_key": key}),
        ("read-only", {"read_only": "true"}),
    ):
        options = {"endpoint": seaweedfs.endpoint, "bucket": bucket, "prefix": f"{name}/"}
        options["access_key_id"] = seaweedfs.admin.access_key
        secrets = {"secret_access_key": Secret(seaweedfs.admin.secret_key)}
        if "encryption_key" in more:
            secrets["encryption_key"] = Secret(more.pop("encryption_key"))
        console.backends.add(ADMIN, Draft(name, "s3", {**options, **more}, secrets))
        error = refused(lambda name=name: begin(console, backend=name))
        assert (error.kind, name.removesuffix("ed") in error.reason) == (
            Kind.CONFLICT if name == "read-only" else Kind.UNSUPPORTED,
            True,
        )
        assert console.direct_uploads.origin(OPERATOR, name) == ""
    assert console.direct_uploads.origin(OPERATOR, "bucket") == seaweedfs.endpoint


def test_a_bucket_that_keeps_versions_is_refused(console: Services, seaweedfs: SeaweedFS) -> None:
    kept = seaweedfs.new_bucket("versions")
    seaweedfs.client().put_bucket_versioning(Bucket=kept, VersioningConfiguration={"Status": "Enabled"})
    add_s3(console, "kept", seaweedfs.endpoint, kept, seaweedfs.admin)
    error = refused(lambda: begin(console, backend="kept"))
    assert (error.kind, "versions" in error.reason) == (Kind.UNSUPPORTED, True)


def test_an_address_takes_one_part_of_one_size(console: Services) -> None:
    upload = begin(console)
    first, last = addresses(console, upload)
    assert put(last, FILE[PART:] + b"and more").status == 403
    assert put(replace(first, number=2), b"x").status == 403
    for numbers in ([0], [3], [1] * 101):
        assert refused(lambda n=numbers: console.direct_uploads.addresses(OPERATOR, upload.id, n)).kind is (
            Kind.INVALID
        )
    stranger = replace(OPERATOR, name="mallory")
    assert refused(lambda: console.direct_uploads.addresses(stranger, upload.id, [1])).kind is Kind.NOT_FOUND
    assert refused(lambda: console.direct_uploads.addresses(ADMIN, upload.id, [1])).kind is Kind.CONFLICT
    assert refused(lambda: console.uploads.append(OPERATOR, upload.id, offset=0)).kind is Kind.CONFLICT
    assert refused(lambda: console.uploads.offset(OPERATOR, upload.id)).kind is Kind.CONFLICT
    tus = console.uploads.create(OPERATOR, NewUpload("a.txt", 3))
    assert refused(lambda: console.direct_uploads.sent(OPERATOR, tus.id)).kind is Kind.CONFLICT
    console.uploads.terminate(OPERATOR, upload.id)


def test_what_the_client_says_counts_only_if_the_bucket_says_the_same(console: Services) -> None:
    upload = begin(console)
    error = refused(lambda: finish(console, upload))
    assert (error.kind, error.reason) == (Kind.CONFLICT, "Part 1 of 2 is not in the bucket.")
    first, last = addresses(console, upload)
    etag = put(first, FILE[:PART]).headers["ETag"]
    error = refused(lambda: finish(console, upload, {1: etag, 2: etag}))
    assert error.reason == "Part 2 of 2 is not in the bucket."
    put(last, FILE[PART:])
    error = refused(lambda: finish(console, upload, {1: etag, 2: etag}))
    assert (error.reason, error.subject) == ("Part 2 in the bucket is not the one that was sent.", "2")
    assert console.uploads.get(OPERATOR, upload.id).state is UploadState.RECEIVING, "it can be mended"
    assert finish(console, upload, {1: etag}).state is UploadState.CHECKING
    # An address works on after that: what it changes is noticed.
    assert put(last, FILE[PART:].upper()).status == 200
    ended = process(console, upload.id)
    assert ended.error is not None
    assert (ended.state, "sent again" in ended.error.reason) == (UploadState.REFUSED, True)
    assert in_bucket(console) == ([], [])


def test_a_part_that_was_sent_twice(console: Services) -> None:
    """SeaweedFS keeps both, and completes with either, whatever it is asked for."""
    upload = begin(console)
    first, last = addresses(console, upload)
    put(first, FILE[:PART])
    for _ in range(2):
        etag = put(last, FILE[PART:]).headers["ETag"]
    assert console.direct_uploads.sent(OPERATOR, upload.id)[-1].number == 2
    assert console.uploads.get(OPERATOR, upload.id).received == len(FILE)
    finish(console, upload, {2: etag})
    assert process(console, upload.id).sha256 == hashlib.sha256(FILE).hexdigest()
    other = begin(console, name="other.dat")
    first, last = addresses(console, other)
    put(first, FILE[:PART])
    etag = put(last, FILE[PART:]).headers["ETag"]
    put(last, FILE[PART:].upper())
    error = refused(lambda: finish(console, other, {2: etag}))
    assert (error.kind, "more than once" in error.reason) == (Kind.CONFLICT, True)
    console.uploads.terminate(OPERATOR, other.id)


def test_a_repeated_part_that_arrives_after_the_end(console: Services) -> None:
    """A request that its client gave up and repeated may be carried out last; servers list both."""
    upload = begin(console)
    first, last = addresses(console, upload)
    put(first, FILE[:PART])
    put(last, FILE[PART:])
    finish(console, upload)
    assert put(first, FILE[:PART]).status == 200
    assert len(console.uploads.processing.parts.sent(upload)) == 3, "this server lists both"
    ended = process(console, upload.id)
    assert (ended.state, ended.sha256) == (UploadState.DONE, hashlib.sha256(FILE).hexdigest())


def test_a_list_of_parts_that_is_cut_short_is_read_again(
    console: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that is completing the upload for a process that was killed may list half of it."""
    upload = begin(console)
    for address, data in zip(addresses(console, upload), (FILE[:PART], FILE[PART:]), strict=True):
        put(address, data)
    finish(console, upload)
    whole = BucketParts.sent
    monkeypatch.setattr(BucketParts, "sent", lambda parts, each: whole(parts, each)[1:])
    waiting = process(console, upload.id)
    assert (waiting.state, waiting.details["tries"]) == (UploadState.CHECKING, 1)
    monkeypatch.setattr(BucketParts, "sent", whole)
    assert process(console, upload.id).sha256 == hashlib.sha256(FILE).hexdigest()


def test_a_part_of_another_size(console: Services) -> None:
    """None of our addresses takes one; somebody with credentials, or a lax server, may."""
    upload = begin(console, b"hello", "short.txt")
    (address,) = addresses(console, upload)
    key, number = f"{UPLOADS}{upload.id}", str(upload.details["direct"]["upload_id"])
    put(replace(address, request=raw(console).part_url(key, number, 1, seconds=60)), b"too long")
    error = refused(lambda: finish(console, upload))
    assert error.reason == "Part 1 has 8 bytes in the bucket, not 5."
    console.uploads.terminate(OPERATOR, upload.id)


def test_a_part_that_comes_late_leaves_nothing(console: Services) -> None:
    """After a cancellation and after the end: the addresses work for minutes."""
    upload = begin(console)
    first, _ = addresses(console, upload)
    put(first, FILE[:PART])
    console.uploads.terminate(OPERATOR, upload.id)
    ended = console.uploads.get(OPERATOR, upload.id)
    assert ended.error is not None
    assert (ended.state, ended.error.reason) == (UploadState.REFUSED, "This upload was cancelled.")
    assert put(first, FILE[:PART]).status == 404
    assert refused(lambda: console.direct_uploads.addresses(OPERATOR, upload.id, [1])).kind is Kind.CONFLICT
    assert in_bucket(console) == ([], [])
    console.uploads.sweep()
    assert console.uploads.list(OPERATOR), "kept until the addresses have expired"
    sweep_all(console)
    assert console.uploads.list(OPERATOR) == ()
    small = begin(console, b"hello", "a.txt")
    (address,) = addresses(console, small)
    put(address, b"hello")
    finish(console, small)
    assert process(console, small.id).state is UploadState.DONE
    assert put(address, b"HELLO").status == 404
    assert in_bucket(console) == (["a.txt"], [])
    console.uploads.terminate(OPERATOR, small.id)
    assert console.uploads.list(OPERATOR) == ()


def test_what_nobody_finishes_is_aborted_within_a_day(console: Services) -> None:
    upload = begin(console)
    first, _ = addresses(console, upload)
    put(first, FILE[:PART])
    assert console.uploads.get(OPERATOR, upload.id).expires_at <= time.time() + 86_400
    # As after a kill between the request to the bucket and the row that records its response.
    lost = begin(console, name="lost.dat")
    with console.database.work_write() as connection:
        details = {"direct": {"part_size": PART}}
        connection.execute(update(table).where(table.c.id == lost.id).values(details=details))
    assert len(in_bucket(console)[1]) == 2
    sweep_all(console)
    assert in_bucket(console) == ([], [])
    assert console.uploads.list(OPERATOR) == ()
    assert quarantined(console) == []


def test_it_can_be_kept_alive_for_a_week_only(console: Services) -> None:
    upload = begin(console)
    began = time.time() - MAX_SECONDS + 60
    with console.database.work_write() as connection:
        connection.execute(update(table).values(created_at=began))
    addresses(console, upload)
    assert console.uploads.get(OPERATOR, upload.id).expires_at == pytest.approx(began + MAX_SECONDS)
    console.uploads.terminate(OPERATOR, upload.id)


@contextmanager
def faulty(services: Services, seaweedfs: SeaweedFS) -> Iterator[FaultProxy]:
    """“bucket” behind a proxy for a while."""

    def move(endpoint: str) -> None:
        saved = services.backends.get("bucket")
        options = {**saved.options, "endpoint": endpoint}
        secrets = {"secret_access_key": Secret(seaweedfs.admin.secret_key)}
        services.backends.edit(ADMIN, Draft("bucket", saved.preset, options, secrets, existing="bucket"))

    with FaultProxy(seaweedfs.endpoint) as proxy:
        move(proxy.endpoint)
        yield proxy
        move(seaweedfs.endpoint)


def test_a_server_that_cannot_be_asked_keeps_the_row(console: Services, seaweedfs: SeaweedFS) -> None:
    """Parts cost money until they are aborted: the row that knows them stays until that has happened."""
    with faulty(console, seaweedfs) as proxy:
        begin(console)
        proxy.answer(503, "SlowDown", times=None)
        sweep_all(console)
        assert len(console.uploads.list(OPERATOR)) == 1
        proxy.clear()
        # A key that may not list what others have begun needs no more than the id.
        proxy.answer(403, "AccessDenied", key="max-uploads", times=None)
        sweep_all(console)
        assert console.uploads.list(OPERATOR) == ()
        proxy.clear()
        assert in_bucket(console) == ([], [])


def test_another_server(services: Services, moto_s3: MotoS3) -> None:
    add_s3(services, "bucket", moto_s3.endpoint, moto_s3.new_bucket(), moto_s3.admin)
    services.upload_policies.save(ADMIN, "default", replace(DEFAULT, direct=True))
    upload = begin(services, b"hello", "a.txt")
    (address,) = addresses(services, upload)
    etag = put(address, b"hello").headers["ETag"]
    finish(services, upload, {1: etag})
    assert process(services, upload.id).state is UploadState.DONE
    assert in_bucket(services) == (["a.txt"], [])


def test_files_are_cut_into_at_most_5000_parts() -> None:
    assert [plan_parts(size).count for size in (1, PART_BYTES, PART_BYTES + 1)] == [1, 1, 2]
    for size in (5 * 10**9, 10**11, 5 * 1024**4, 123_456_789_012):
        plan = plan_parts(size)
        assert plan.count <= 5000
        assert plan.part_size % MIB == 0
        assert sum(plan.size_of(number) for number in range(1, plan.count + 1)) == size


def test_a_kill_while_it_is_read_back_begins_again(console: Services) -> None:
    upload = begin(console)
    send_parts(console, upload)
    finish(console, upload)
    asked = iter([False, False, True])
    processing = console.uploads.processing
    assert processing.work(upload.id, lambda: next(asked)) is None
    assert console.uploads.get(OPERATOR, upload.id).state is UploadState.CHECKING
    assert in_bucket(console) == ([f"{UPLOADS}{upload.id}"], [])
    done = process(console, upload.id)
    assert (done.state, done.sha256) == (UploadState.DONE, hashlib.sha256(FILE).hexdigest())
    assert in_bucket(console) == (["large.dat"], [])


def test_answers_that_are_lost_and_bodies_that_end_early(console: Services, seaweedfs: SeaweedFS) -> None:
    """The parts were completed, but nobody was told; then the line breaks while the object is read."""
    with faulty(console, seaweedfs) as proxy:
        upload = begin(console)
        send_parts(console, upload)
        finish(console, upload)
        lost = proxy.lose_answer(method="POST", key="uploadId", times=None)
        waiting = process(console, upload.id)
        assert (waiting.state, bool(lost.hits)) == (UploadState.CHECKING, True)
        assert in_bucket(console) == ([f"{UPLOADS}{upload.id}"], [])
        with console.database.work_write() as connection:
            connection.execute(update(table).values(not_before=0.0))
        cut = proxy.truncate(1_000_000, key=f"{UPLOADS}{upload.id}", with_length=False)
        ended = process(console, upload.id)
        if ended.state is not UploadState.DONE:
            ended = process(console, upload.id)
        assert cut.hits
        assert (ended.state, ended.sha256) == (UploadState.DONE, hashlib.sha256(FILE).hexdigest())
        assert in_bucket(console) == (["large.dat"], [])


def test_an_object_that_is_not_what_was_announced_is_refused(console: Services) -> None:
    """Somebody with credentials of the bucket writes in the hidden folder."""
    upload = begin(console)
    send_parts(console, upload)
    finish(console, upload)
    raw(console).abort_parts(f"{UPLOADS}{upload.id}", str(upload.details["direct"]["upload_id"]))
    raw(console).put(f"{UPLOADS}{upload.id}", b"something else")
    ended = process(console, upload.id)
    assert ended.error is not None
    assert ended.error.reason == f"The bucket has 14 bytes of this upload, and {len(FILE):,} were announced."
    assert in_bucket(console) == ([], [])
    gone = begin(console)
    send_parts(console, gone)
    finish(console, gone)
    raw(console).abort_parts(f"{UPLOADS}{gone.id}", str(gone.details["direct"]["upload_id"]))
    ended = process(console, gone.id)
    assert ended.error is not None
    assert (ended.state, "no longer has" in ended.error.reason) == (UploadState.REFUSED, True)


def test_limits_are_checked_again_afterwards(console: Services) -> None:
    upload = begin(console)
    send_parts(console, upload)
    finish(console, upload)
    console.upload_policies.save(ADMIN, "default", replace(DEFAULT, direct=True, max_size=1000))
    ended = process(console, upload.id)
    assert ended.error is not None
    assert (ended.state, ended.error.kind) == (UploadState.REFUSED, Kind.OVER_LIMIT)
    assert in_bucket(console) == ([], [])
