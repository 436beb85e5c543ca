"""SSE-C: objects that the server encrypts with a customer-provided key.

SeaweedFS supports it; moto silently stores objects unencrypted.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from dashboard.errors import InvalidInput, Kind
from dashboard.storage.checks.wrappers import new_encryption_key
from dashboard.storage.copying import copy_object
from dashboard.storage.driver import Driver
from dashboard.storage.drivers.local.driver import LocalDriver
from dashboard.storage.drivers.memory import MemoryDriver
from dashboard.storage.drivers.s3 import objects as s3_objects
from dashboard.storage.drivers.s3.client import content_md5_header
from dashboard.storage.drivers.s3.driver import S3Driver
from dashboard.storage.errors import Changed, Damaged, Exists, OtherKey, StorageError, Unsupported
from dashboard.storage.registry import PRESETS, check_options, options_of
from dashboard.storage.types import Attributes, Entry, Secret, Visibility
from tests.servers.drivers import s3_on
from tests.servers.faults import FaultProxy
from tests.servers.moto import MotoS3
from tests.servers.seaweedfs import SeaweedFS
from tests.storage.objects import content_of
from tests.storage.probing import run, states, step_of

MIB = 1024 * 1024
LARGE = content_of(20 * MIB + 3)
KEY, OTHER = (Secret(base64.b64encode(bytes([n]) * 32).decode()) for n in (7, 8))
_numbers = count(1)

Make = Callable[..., S3Driver]


def opened(server: SeaweedFS | MotoS3, bucket: str, key: Secret | None, **more: str) -> S3Driver:
    """A driver, as a person would set it up, with a key of their own or without."""
    made = s3_on(server, bucket, more.pop("prefix", ""), customer_key=key, **more)
    assert isinstance(made, S3Driver)
    return made


@pytest.fixture
def make(seaweedfs: SeaweedFS, shared_bucket: str) -> Iterator[Make]:
    """Drivers for one folder of the shared bucket."""
    made: list[S3Driver] = []
    folder = f"own-key-{next(_numbers)}/"

    def build_with(key: Secret | None = KEY, prefix: str = "", **more: str) -> S3Driver:
        made.append(opened(seaweedfs, shared_bucket, key, prefix=folder + prefix, **more))
        return made[-1]

    yield build_with
    for driver in made:
        driver.close()


def fill(driver: S3Driver, key: str, data: bytes) -> Entry:
    with driver.write(key, size=len(data), attributes=Attributes("a/b")) as writing:
        writing.write(data)
        writing.commit()
    return next(iter(driver.list(key)))


def copied(source: Driver, destination: Driver, entry: Entry, to: str) -> None:
    copy_object(source, destination, entry, to=to, progress=lambda done: None, stop=lambda: False)


def content(driver: S3Driver, key: str) -> bytes:
    with driver.read(key) as reading:
        return reading.read_all()


# ---- objects


@pytest.mark.parametrize("data", [b"", b"small", LARGE], ids=["empty", "small", "in parts"])
@pytest.mark.parametrize("key", ["file", "größe +%&.bin"])
def test_what_is_written_with_a_key_is_read_with_it_only(make: Make, data: bytes, key: str) -> None:
    mine = make()
    fill(mine, key, data)
    assert content(mine, key) == data
    info = mine.stat(key)
    assert info.size == len(data)
    assert info.attributes.content_type == "a/b"
    for driver, words in ((make(OTHER), "another key"), (make(None), "this backend has none")):
        if not data:
            # SeaweedFS has nothing to open in an empty object.
            continue
        for call in (driver.read, driver.stat, lambda key, driver=driver: driver.read_range(key, 0, 3)):
            with pytest.raises(OtherKey, match=words) as caught:
                call(key)
            assert caught.value.kind is Kind.DENIED
            assert caught.value.remedy
            assert not caught.value.retryable


def test_a_part_is_read_and_a_replaced_object_noticed(make: Make) -> None:
    mine = make()
    entry = fill(mine, "large", LARGE)
    assert (
        mine.read_range("large", 8 * MIB - 5, 10, if_version=entry.etag) == LARGE[8 * MIB - 5 : 8 * MIB + 5]
    )
    assert mine.read_range("large", len(LARGE) - 2, 10) == LARGE[-2:]
    mine.put("large", b"new")
    with pytest.raises(Changed):
        mine.read("large", if_version=entry.etag)
    with pytest.raises(Changed):
        mine.read_range("large", 0, 2, if_version=entry.etag)


def test_an_etag_is_no_proof_of_the_content(make: Make) -> None:
    mine = make()
    written = mine.put("a", b"hello")
    assert written.stored_checksum is None
    assert mine.stat("a").md5 is None
    with mine.write("large", size=len(LARGE)) as writing:
        writing.write(LARGE)
        assert writing.commit().stored_checksum is None


def test_a_body_damaged_on_its_way_is_refused(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_objects, "content_md5_header", lambda data: content_md5_header(data + b"!"))
    with pytest.raises(Damaged):
        make().put("a", b"hello")


def test_create_only_does_not_overwrite_what_another_key_encrypted(make: Make) -> None:
    make(OTHER).put("a", b"theirs")
    mine = make()
    with pytest.raises((Exists, OtherKey)):
        mine.put("a", b"mine", create_only=True)
    assert content(make(OTHER), "a") == b"theirs"
    mine.put("b", b"mine", create_only=True)
    with pytest.raises(Exists):
        mine.put("b", b"again", create_only=True)


@pytest.mark.parametrize("data", [b"small", LARGE], ids=["small", "in parts"])
@pytest.mark.parametrize(("source_key", "target_key"), [(KEY, KEY), (KEY, OTHER), (KEY, None), (None, KEY)])
def test_the_server_copies_between_keys(
    make: Make, data: bytes, source_key: Secret | None, target_key: Secret | None
) -> None:
    source, target = make(source_key, "from/"), make(target_key, "to/")
    entry = fill(source, "a", data)
    assert target.can_copy_from(source)
    written = target.copy_from(source, "a", "b", if_version=entry.etag)
    assert written.size == len(data)
    assert content(target, "b") == data
    if target_key:
        with pytest.raises(OtherKey):
            content(make(None, "to/"), "b")


def test_a_copy_with_the_wrong_key_says_so(make: Make) -> None:
    entry = fill(make(KEY, "from/"), "a", b"sealed")
    wrong, target = make(OTHER, "from/"), make(KEY, "to/")
    with pytest.raises(OtherKey, match="another key"):
        target.copy_from(wrong, "a", "b", if_version=entry.etag)


def test_an_interrupted_read_resumes_with_the_key(make: Make, fault_proxy: FaultProxy) -> None:
    mine = make(endpoint=fault_proxy.endpoint)
    entry = fill(mine, "large", LARGE)
    fault = fault_proxy.reset(key="/large", method="GET", times=2, after=5 * MIB)
    place = MemoryDriver()
    copied(mine, place, entry, "copy")
    with place.read("copy") as reading:
        assert reading.read_all() == LARGE
    assert fault.hits == 2


def test_tags_and_deletions_work_as_ever(make: Make) -> None:
    mine = make()
    mine.put("a", b"x")
    mine.set_tags("a", {"k": "v"})
    assert mine.tags("a") == {"k": "v"}
    assert mine.tier("a") == "STANDARD"
    assert content(mine, "a") == b"x"
    assert mine.delete_many(["a"]) == {}
    assert list(mine.list()) == []


def test_older_versions_are_read_and_restored_with_the_key(seaweedfs: SeaweedFS) -> None:
    bucket = seaweedfs.new_bucket("own-key")
    seaweedfs.client().put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    mine = opened(seaweedfs, bucket, KEY)
    mine.put("a", b"one")
    mine.put("a", b"two")
    first = next(each for each in mine.versions() if not each.current)
    with mine.read_version("a", first.id) as reading:
        assert reading.read_all() == b"one"
    mine.restore_version("a", first.id)
    assert content(mine, "a") == b"one"
    mine.close()


# ---- browsers


def test_nothing_is_signed_or_opened_for_browsers(make: Make) -> None:
    mine = make()
    mine.put("a", b"x")
    calls: tuple[Callable[[], object], ...] = (
        lambda: mine.url("a"),
        lambda: mine.temporary_url("a", seconds=60),
        lambda: mine.upload_url("a", seconds=60),
        lambda: mine.set_visibility("a", Visibility.PUBLIC),
    )
    for call in calls:
        with pytest.raises(Unsupported, match="browsers must not have"):
            call()
    mine.set_visibility("a", Visibility.PRIVATE)
    assert "cors" not in {each.name for each in mine.findings("https://console.example.org")}


# ---- servers that do not know it


def test_a_server_that_ignores_the_key_gets_nothing(moto_s3: MotoS3) -> None:
    bucket = moto_s3.new_bucket()
    plain, mine = opened(moto_s3, bucket, None), opened(moto_s3, bucket, KEY)
    plain.put("kept", b"old")
    calls: tuple[Callable[[], object], ...] = (
        lambda: mine.put("kept", b"secret"),
        lambda: fill(mine, "large", LARGE),
        lambda: mine.copy_from(plain, "kept", "copy"),
    )
    for call in calls:
        with pytest.raises(Unsupported, match="without using your own key"):
            call()
    assert [entry.key for entry in plain.list()] == ["kept"]
    assert content(plain, "kept") == b"old"
    assert not moto_s3.client().list_multipart_uploads(Bucket=bucket).get("Uploads")


def test_the_trial_leaves_nothing_behind_and_is_made_once(make: Make, fault_proxy: FaultProxy) -> None:
    mine = make(endpoint=fault_proxy.endpoint)
    for number in range(3):
        mine.put(f"k{number}", b"x")
    assert sum("uploads" in target for _, target in fault_proxy.seen) == 1
    assert mine.sweep(["k0"], since=0) == 0


def test_what_is_unencrypted_is_not_taken_for_what_another_key_encrypted(
    make: Make, fault_proxy: FaultProxy
) -> None:
    make(None).put("plain", b"x")
    # SeaweedFS reads it anyway; AWS refuses a key for an object that was stored without one.
    fault_proxy.answer(400, "InvalidRequest", key="/plain", method="GET", times=1)
    fault_proxy.answer(400, "", key="/plain", method="HEAD", times=1)
    with pytest.raises(OtherKey, match="was stored without"):
        make(endpoint=fault_proxy.endpoint).read("plain")


def test_a_refusal_that_is_not_the_keys_fault_stays_what_it_is(make: Make, fault_proxy: FaultProxy) -> None:
    mine = make(endpoint=fault_proxy.endpoint)
    mine.put("a", b"x")
    fault_proxy.answer(403, "InvalidObjectState", key="/a", method="GET", times=1)
    with pytest.raises(StorageError, match="archived"):
        mine.read("a")
    fault_proxy.answer(403, "AccessDenied", key="/a", times=None)
    with pytest.raises(StorageError, match="may not read") as caught:
        mine.read("a")
    assert not isinstance(caught.value, OtherKey)
    fault_proxy.clear()
    fault_proxy.answer(403, "AccessDenied", key="/new", times=None)
    with pytest.raises(StorageError) as refused:
        mine.put("new", b"x")
    assert "allow SSE-C in the bucket's properties" in refused.value.remedy


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (
            "Requests specifying Server Side Encryption with Customer provided keys must be made over a "
            "secure connection.",
            "only over TLS",
        ),
        ("Server-Side Encryption with Customer keys is not for this bucket", "does not accept a key"),
    ],
)
def test_a_server_that_refuses_the_key_is_understood(
    make: Make, fault_proxy: FaultProxy, message: str, words: str
) -> None:
    fault_proxy.answer(400, "InvalidRequest", message=message, times=None)
    with pytest.raises(Unsupported, match=words) as caught:
        make(endpoint=fault_proxy.endpoint).put("a", b"x")
    assert caught.value.remedy


# ---- the connection test


def test_the_connection_test_passes_with_the_right_key_and_notices_another(make: Make) -> None:
    mine = make()
    empty = run(mine)
    assert empty.passed
    assert states(empty)["look"] == "skipped"
    mine.put("photo", b"x" * 100)
    assert "your own key" in step_of(run(mine), "look").message
    for driver, words in ((make(OTHER), "another key"), (make(None), "this backend has none")):
        result = run(driver)
        step = step_of(result, "look")
        assert not result.passed
        assert step.state == "failed"
        assert words in step.message
        assert step.remedy
    assert [entry.key for entry in mine.list()] == ["photo"]


def test_the_connection_test_fails_where_the_key_is_ignored(moto_s3: MotoS3) -> None:
    result = run(opened(moto_s3, moto_s3.new_bucket(), KEY))
    assert "without using your own key" in step_of(result, "write").message
    assert not result.passed


# ---- options


def refused(match: str, field: str, secrets: dict[str, Secret] | None = None, **options: str) -> InvalidInput:
    given = {"endpoint": "https://s3.example.com", "bucket": "bucket", "access_key_id": "AK", "sse": "SSE-C"}
    known = {"secret_access_key": Secret("s"), "sse_customer_key": KEY} if secrets is None else secrets
    with pytest.raises(InvalidInput, match=match) as caught:
        check_options("s3", given | options, known)
    assert caught.value.subject == field
    return caught.value


def test_a_key_of_32_bytes_is_demanded_and_never_repeated() -> None:
    for wrong in ("short", base64.b64encode(b"x" * 31).decode(), base64.b64encode(b"x" * 33).decode(), "ü*"):
        secrets = {"secret_access_key": Secret("s"), "sse_customer_key": Secret(wrong)}
        error = refused(r"not an encryption key|does not look like", "sse_customer_key", secrets)
        assert wrong not in str(error) + error.remedy
    refused("is needed", "sse_customer_key", {"secret_access_key": Secret("s")})
    refused("is only used", "sse_customer_key", sse="AES256")
    refused("KMS key is only used", "sse_kms_key_id", sse_kms_key_id="abc")


def test_the_key_travels_only_where_nobody_listens() -> None:
    refused("must begin with https", "endpoint", endpoint="http://s3.example.com")
    refused("certificate must be checked", "tls_verify", tls_verify="false")
    refused("CDN cannot read", "cdn_domain", cdn_domain="cdn.example.com")
    secrets = {"secret_access_key": Secret("s"), "sse_customer_key": KEY}
    for near in ("http://127.0.0.1:9000", "http://localhost:9000", "http://10.1.2.3", "http://[::1]:9000"):
        options = {"endpoint": near, "bucket": "bucket", "access_key_id": "AK", "sse": "SSE-C"}
        assert check_options("s3", options, secrets)["endpoint"] == near


def test_it_is_offered_where_the_provider_has_it() -> None:
    offered = {}
    for name, preset in ((name, preset) for name, preset in PRESETS.items() if preset.driver == "s3"):
        shown = {option.name: option for option in options_of(preset)}
        offered[name] = {choice for choice, _ in shown["sse"].choices} if "sse" in shown else set()
        assert ("sse_customer_key" in shown) == ("SSE-C" in offered[name])
        assert ("sse_kms_key_id" in shown) == ("aws:kms" in offered[name])
    everything = {"none", "AES256", "aws:kms", "SSE-C"}
    assert all(offered[name] == everything for name in ("aws", "minio", "s3"))
    own_only = ("b2", "r2", "spaces", "wasabi", "scaleway")
    assert all(offered[name] == {"none", "SSE-C"} for name in own_only)
    assert not any(offered[name] for name in ("supabase", "hetzner", "gcs_interop"))
    options = {"region": "us-west-004", "bucket": "bucket", "access_key_id": "AK", "sse": "aws:kms"}
    with pytest.raises(InvalidInput, match="not a choice"):
        check_options("b2", options, {"secret_access_key": Secret("s")})


def test_without_its_key_a_driver_is_not_even_built(seaweedfs: SeaweedFS, shared_bucket: str) -> None:
    options = {"endpoint": seaweedfs.endpoint, "bucket": shared_bucket, "access_key_id": "AK", "sse": "SSE-C"}
    with pytest.raises(InvalidInput):
        S3Driver.from_options(options, {"secret_access_key": Secret("s")})


def test_the_key_shows_nowhere(
    seaweedfs: SeaweedFS, shared_bucket: str, caplog: pytest.LogCaptureFixture
) -> None:
    for chatty in ("", "botocore", "urllib3"):
        caplog.set_level(logging.DEBUG, logger=chatty or None)
    key = new_encryption_key()
    mine = opened(seaweedfs, shared_bucket, key, prefix="nowhere/")
    other = opened(seaweedfs, shared_bucket, KEY, prefix="nowhere/")
    other.put("a", b"x")
    shown = [repr(mine), repr(mine._config), repr(vars(mine)), repr(vars(mine._client))]
    shown += [repr(mine.put("b", b"x")), repr(mine.stat("b")), repr(run(mine))]
    with pytest.raises(OtherKey) as caught:
        mine.read("a")
    error: BaseException | None = caught.value
    while error is not None:
        shown += [repr(error), str(error), str(vars(error))]
        error = error.__cause__ or error.__context__
    shown.append(caplog.text)
    with pytest.raises(ClientError):
        seaweedfs.client().get_object(Bucket=shared_bucket, Key="nowhere/b")
    output = "\n".join(shown)
    assert key.reveal() not in output
    assert key.reveal().rstrip("=") not in output
    assert str(base64.b64decode(key.reveal())) not in output
    mine.close()
    other.close()


def test_a_folder_goes_there_and_comes_back(make: Make, tmp_path: Path) -> None:
    """The parts a migration is made of; the engine itself is tried in tests/migration."""
    (tmp_path / "root").mkdir()
    local = LocalDriver.from_options({"root": str(tmp_path / "root")}, {})
    local.put("a/b.txt", b"hello", attributes=Attributes("text/plain"))
    mine = make()
    copied(local, mine, next(iter(local.list())), "c.txt")
    copied(mine, local, next(iter(mine.list("c.txt"))), "back.txt")
    with local.read("back.txt") as reading:
        assert reading.read_all() == b"hello"
    local.close()
