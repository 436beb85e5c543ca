"""What S3 can do beyond the contract, against SeaweedFS where it has it and moto where it has not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import urllib3

from dashboard.errors import InvalidInput, Kind
from dashboard.storage.driver import Driver
from dashboard.storage.drivers.s3.driver import S3Driver
from dashboard.storage.errors import ContainerMissing, InvalidKey, NotFound, StorageError, Unsupported
from dashboard.storage.object_powers import SignedUpload
from dashboard.storage.types import Attributes, Secret
from tests.servers.drivers import s3_on
from tests.servers.faults import FaultProxy
from tests.servers.moto import MotoS3
from tests.servers.seaweedfs import SeaweedFS

HERE = "https://console.example.org"


def opened(made: Driver) -> S3Driver:
    assert isinstance(made, S3Driver)
    return made


@pytest.fixture
def weed(seaweedfs: SeaweedFS, shared_bucket: str) -> Iterator[S3Driver]:
    driver = opened(s3_on(seaweedfs, shared_bucket, f"powers-{id(object())}/"))
    yield driver
    driver.close()


@pytest.fixture
def bucket(moto_s3: MotoS3) -> str:
    return moto_s3.new_bucket()


@pytest.fixture(params=["", "under/here/"])
def moto(request: pytest.FixtureRequest, moto_s3: MotoS3, bucket: str) -> Iterator[S3Driver]:
    driver = opened(s3_on(moto_s3, bucket, request.param))
    yield driver
    driver.close()


@pytest.fixture
def large(moto_s3: MotoS3, bucket: str) -> Iterator[S3Driver]:
    """A whole bucket, for tests that need many objects."""
    driver = opened(s3_on(moto_s3, bucket, ""))
    yield driver
    driver.close()


def filled(driver: S3Driver, keys: list[str]) -> None:
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda key: driver.put(key, b""), keys))


def content(driver: S3Driver, key: str) -> bytes:
    with driver.read(key) as reading:
        return reading.read_all()


# ---- signed uploads


def send(upload: SignedUpload, body: bytes, **changed: str) -> int:
    headers = dict(upload.headers) | {name.replace("_", "-"): value for name, value in changed.items()}
    with urllib3.PoolManager(retries=False) as http:
        return http.request(upload.method, upload.url, body=body, headers=headers).status


def test_a_signed_upload_writes_exactly_what_it_was_signed_for(weed: S3Driver) -> None:
    upload = weed.upload_url("photos/cat é.jpg", seconds=60, content_type="image/jpeg", size=5)
    assert send(upload, b"12345") == 200
    assert content(weed, "photos/cat é.jpg") == b"12345"
    assert weed.stat("photos/cat é.jpg").attributes.content_type == "image/jpeg"
    assert send(upload, b"12345", content_type="text/html") == 403
    assert send(upload, b"123456", content_length="6") == 403


def test_a_signed_upload_can_neither_read_nor_delete_nor_write_elsewhere(weed: S3Driver) -> None:
    weed.put("private", b"old")
    upload = weed.upload_url("private", seconds=60)
    with urllib3.PoolManager(retries=False) as http:
        for method in ("GET", "DELETE", "HEAD"):
            assert http.request(method, upload.url).status == 403, method
        other = http.request("PUT", upload.url.replace("/private?", "/other?"), body=b"x")
        assert other.status == 403
    assert content(weed, "private") == b"old"


def test_a_signed_download_can_neither_write_nor_delete(weed: S3Driver) -> None:
    weed.put("private", b"old")
    url = weed.temporary_url("private", seconds=60)
    with urllib3.PoolManager(retries=False) as http:
        assert http.request("GET", url).data == b"old"
        assert http.request("PUT", url, body=b"new").status == 403
        assert http.request("DELETE", url).status == 403
    assert content(weed, "private") == b"old"


def test_a_key_that_browsers_change_is_not_signed(weed: S3Driver) -> None:
    with pytest.raises(Unsupported):
        weed.upload_url("a//b", seconds=60)
    with pytest.raises(InvalidKey):
        weed.upload_url("", seconds=60)


# ---- many at once


def test_many_objects_are_deleted_and_missing_ones_are_success(weed: S3Driver) -> None:
    for number in range(30):
        weed.put(f"{number:02}/ü&<x>.txt", b"x")
    weed.put("kept", b"x")
    keys = [entry.key for entry in weed.list() if entry.key != "kept"]
    assert weed.delete_many([*keys, "never/there"]) == {}
    assert [entry.key for entry in weed.list()] == ["kept"]
    assert weed.delete_many([]) == {}


def test_odd_keys_are_deleted_too(moto: S3Driver) -> None:
    odd = ["tab\there", "a//b", "/lead", "trail/", "bell\x07", " spaces "]
    filled(moto, odd)
    assert moto.delete_many(iter(odd)) == {}
    assert list(moto.list()) == []


def test_more_than_a_thousand_go_in_several_requests(large: S3Driver) -> None:
    keys = [f"k{number:04}" for number in range(1003)]
    # S3 takes a key that is not there for deleted; these are on both sides of its limit.
    filled(large, [*keys[:20], *keys[980:]])
    assert large.delete_many(iter(keys)) == {}
    assert list(large.list()) == []


def test_an_invalid_key_is_reported_and_the_others_go(moto: S3Driver) -> None:
    moto.put("there", b"")
    failed = moto.delete_many(["there", "x" * 2000])
    assert {key: error.kind for key, error in failed.items()} == {"x" * 2000: Kind.INVALID_KEY}
    assert list(moto.list()) == []


def test_what_may_not_be_deleted_is_reported_by_key(seaweedfs: SeaweedFS, shared_bucket: str) -> None:
    admin = opened(s3_on(seaweedfs, shared_bucket, "protected/"))
    admin.put("a", b"x")
    reader = seaweedfs.add_identity("powers-reader", f"Read:{shared_bucket}", f"List:{shared_bucket}")
    limited = opened(s3_on(seaweedfs, shared_bucket, "protected/", identity=reader))
    failed = limited.delete_many(["a"])
    assert failed["a"].kind is Kind.DENIED
    assert failed["a"].remedy
    assert content(admin, "a") == b"x"


def test_no_bucket_is_not_many_failures(moto_s3: MotoS3) -> None:
    with pytest.raises(ContainerMissing):
        opened(s3_on(moto_s3, "no-such-bucket-here", "")).delete_many(["a"])


# ---- versions


@pytest.fixture
def versioned(moto: S3Driver, moto_s3: MotoS3, bucket: str) -> S3Driver:
    moto_s3.client().put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    return moto


def test_a_bucket_says_whether_it_keeps_versions(moto: S3Driver, moto_s3: MotoS3, bucket: str) -> None:
    assert not moto.keeps_versions()
    moto_s3.client().put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    assert moto.keeps_versions()
    moto_s3.client().put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    assert not moto.keeps_versions()


def test_older_states_are_listed_read_and_restored(versioned: S3Driver) -> None:
    versioned.put("a", b"first", attributes=Attributes("text/plain", metadata={"by": "me"}))
    versioned.put("a", b"second!")
    versioned.put("b/c", b"other")
    found = list(versioned.versions("a"))
    assert [(v.key, v.size, v.current, v.deleted) for v in found] == [
        ("a", 7, True, False),
        ("a", 5, False, False),
    ]
    with versioned.read_version("a", found[1].id) as reading:
        assert reading.read_all() == b"first"
    receipt = versioned.restore_version("a", found[1].id)
    assert receipt.size == 5
    assert content(versioned, "a") == b"first"
    assert versioned.stat("a").attributes.metadata == {"by": "me"}
    assert len(list(versioned.versions("a"))) == 3, "nothing is lost by restoring"


def test_a_deleted_object_is_found_and_brought_back(versioned: S3Driver) -> None:
    versioned.put("gone", b"content")
    versioned.delete("gone")
    mark, old = versioned.versions()
    assert (mark.deleted, mark.current, old.deleted, old.current) == (True, True, False, False)
    with pytest.raises(NotFound):
        versioned.stat("gone")
    versioned.restore_version("gone", old.id)
    assert content(versioned, "gone") == b"content"


def test_an_unknown_version_is_not_found(versioned: S3Driver) -> None:
    versioned.put("a", b"x")
    with pytest.raises(StorageError) as caught, versioned.read_version("a", "no-such-version"):
        pass
    assert caught.value.kind in (Kind.NOT_FOUND, Kind.UNSUPPORTED)


def test_versions_come_in_pages(large: S3Driver, moto_s3: MotoS3, bucket: str) -> None:
    moto_s3.client().put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    for _ in range(2):
        filled(large, [f"k{number:03}" for number in range(502)])
    found = list(large.versions())
    assert len(found) == len({(v.key, v.id) for v in found}) == 1004
    assert sum(v.current for v in found) == 502


# ---- tags


def test_tags_are_replaced_as_a_whole_and_removed(weed: S3Driver) -> None:
    weed.put("a", b"x")
    assert weed.tags("a") == {}
    weed.set_tags("a", {"project": "stowage", "owner": "me"})
    assert weed.tags("a") == {"project": "stowage", "owner": "me"}
    weed.set_tags("a", {"only": "this"})
    assert weed.tags("a") == {"only": "this"}
    weed.set_tags("a", {})
    assert weed.tags("a") == {}
    assert content(weed, "a") == b"x"


def test_tags_of_what_is_not_there_are_not_found(moto: S3Driver) -> None:
    for act in (
        lambda: moto.tags("nothing"),
        lambda: moto.set_tags("nothing", {"a": "b"}),
        lambda: moto.set_tags("nothing", {}),
    ):
        with pytest.raises(NotFound):
            act()


@pytest.mark.parametrize(
    "tags", [{"": "x"}, {"a" * 129: "x"}, {"a": "x" * 257}, {str(n): "" for n in range(11)}, {"a\n": "b"}]
)
def test_tags_that_s3_cannot_hold_are_refused_before_anything_is_sent(
    moto: S3Driver, tags: dict[str, str]
) -> None:
    moto.put("a", b"x")
    with pytest.raises(InvalidInput):
        moto.set_tags("a", tags)
    assert moto.tags("a") == {}


# ---- tiers


def test_an_object_moves_to_another_tier_with_all_it_has(moto: S3Driver) -> None:
    moto.put("a", b"content", attributes=Attributes("text/plain", "no-store", metadata={"by": "me"}))
    assert moto.tier("a") == "STANDARD"
    moto.set_tier("a", "STANDARD_IA")
    assert moto.tier("a") == "STANDARD_IA"
    moto.set_tier("a", "STANDARD_IA")
    assert content(moto, "a") == b"content"
    attributes = moto.stat("a").attributes
    assert (attributes.content_type, attributes.cache_control) == ("text/plain", "no-store")
    assert attributes.metadata == {"by": "me"}


def test_a_tier_that_does_not_exist_is_refused(moto: S3Driver) -> None:
    moto.put("a", b"x")
    with pytest.raises(Unsupported):
        moto.set_tier("a", "COLDEST")
    with pytest.raises(NotFound):
        moto.set_tier("nothing", "STANDARD_IA")
    with pytest.raises(NotFound):
        moto.tier("nothing")


# ---- settings of the bucket


def names(driver: S3Driver, *, good: bool) -> set[str]:
    return {each.name for each in driver.findings(HERE) if each.good is good}


def test_a_new_bucket_has_two_faults_and_both_can_be_fixed(moto: S3Driver) -> None:
    assert names(moto, good=False) == {"cors", "unfinished-uploads"}
    sentences = [each.sentence for each in moto.findings(HERE)]
    assert f"Browser uploads will fail: no CORS rule for {HERE}." in sentences
    for name in ("cors", "unfinished-uploads"):
        moto.fix(name, HERE)
        moto.fix(name, HERE)
    assert names(moto, good=False) == set()
    assert names(moto, good=True) == {"cors", "unfinished-uploads", "leftover-uploads"}


def test_fixing_keeps_the_rules_that_are_there(moto: S3Driver, moto_s3: MotoS3, bucket: str) -> None:
    s3 = moto_s3.client()
    theirs = {"AllowedMethods": ["GET"], "AllowedOrigins": ["https://www.example.com"], "MaxAgeSeconds": 60}
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [theirs]})
    kept = {
        "ID": "logs",
        "Filter": {"Prefix": "logs/"},
        "Status": "Enabled",
        "Expiration": {"Days": 30},
    }
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [kept]})
    assert names(moto, good=False) >= {"cors", "unfinished-uploads"}
    moto.fix("cors", HERE)
    moto.fix("unfinished-uploads", HERE)
    rules = s3.get_bucket_cors(Bucket=bucket)["CORSRules"]
    assert rules[0] == theirs
    assert rules[1]["AllowedOrigins"] == [HERE]
    after = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    assert [rule["ID"] for rule in after] == ["logs", "stowage-drop-unfinished-uploads"]
    assert after[0]["Expiration"] == {"Days": 30}


@pytest.mark.parametrize(
    ("origin", "methods", "headers", "enough"),
    [
        (HERE, ["PUT"], ["*"], True),
        ("*", ["GET", "PUT"], ["Content-Type"], True),
        ("https://*.example.org", ["PUT"], ["*"], True),
        (HERE, ["GET"], ["*"], False),
        ("https://other.example.org", ["PUT"], ["*"], False),
        (HERE, ["PUT"], [], False),
    ],
)
def test_only_a_rule_that_lets_this_site_upload_is_enough(
    moto_s3: MotoS3, bucket: str, origin: str, methods: list[str], headers: list[str], enough: bool
) -> None:
    rule = {"AllowedMethods": methods, "AllowedOrigins": [origin], "AllowedHeaders": headers}
    moto_s3.client().put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [rule]})  # type: ignore[list-item]
    driver = opened(s3_on(moto_s3, bucket, ""))
    assert ("cors" in names(driver, good=True)) is enough


def test_a_rule_that_deletes_objects_is_a_finding(moto_s3: MotoS3, bucket: str) -> None:
    rules = [
        {"ID": "1", "Filter": {"Prefix": "tmp/"}, "Status": "Enabled", "Expiration": {"Days": 3}},
        {"ID": "2", "Filter": {"Prefix": "off/"}, "Status": "Disabled", "Expiration": {"Days": 3}},
    ]
    moto_s3.client().put_bucket_lifecycle_configuration(
        Bucket=bucket,
        LifecycleConfiguration={"Rules": rules},  # type: ignore[typeddict-item]
    )
    expirations = [
        each for each in opened(s3_on(moto_s3, bucket, "")).findings(HERE) if each.name == "expiry"
    ]
    assert [each.sentence for each in expirations] == [
        "Objects under “tmp/” are deleted by the bucket itself 3 days after they were written."
    ]
    assert not expirations[0].fixable
    elsewhere = opened(s3_on(moto_s3, bucket, "photos/"))
    assert "expiry" not in {each.name for each in elsewhere.findings(HERE)}


@pytest.fixture
def watched(fault_proxy: FaultProxy, seaweedfs: SeaweedFS, shared_bucket: str) -> S3Driver:
    options = {
        "endpoint": fault_proxy.endpoint,
        "bucket": shared_bucket,
        "access_key_id": seaweedfs.admin.access_key,
    }
    return S3Driver.from_options(options, {"secret_access_key": Secret(seaweedfs.admin.secret_key)})


def test_a_look_that_is_refused_is_a_finding(watched: S3Driver, fault_proxy: FaultProxy) -> None:
    fault_proxy.answer(403, "AccessDenied", key="?cors", times=None)
    fault_proxy.answer(403, "AccessDenied", key="?lifecycle", times=None)
    fault_proxy.answer(403, "AccessDenied", key="uploads=", times=None)
    found = watched.findings(HERE)
    assert [each.name for each in found] == ["cors", "unfinished-uploads", "leftover-uploads"]
    for each in found:
        assert "could not be seen" in each.sentence
        assert re.search("s3:(Get|List)", each.remedy)
        assert not each.good
        assert not each.fixable


def test_a_look_that_nobody_answers_is_an_error(watched: S3Driver, fault_proxy: FaultProxy) -> None:
    fault_proxy.reset(key="?cors", times=None)
    with pytest.raises(StorageError) as caught:
        watched.findings(HERE)
    assert caught.value.kind is Kind.UNREACHABLE


def test_a_server_without_the_request_deletes_one_by_one(watched: S3Driver, fault_proxy: FaultProxy) -> None:
    for key in ("one", "two"):
        watched.put(f"singly/{key}", b"x")
    fault_proxy.answer(501, "NotImplemented", method="POST", key="?delete", times=None)
    assert watched.delete_many(["singly/one", "singly/two"]) == {}
    assert list(watched.list("singly/")) == []


def test_no_bucket_has_no_findings(moto_s3: MotoS3) -> None:
    with pytest.raises(ContainerMissing):
        opened(s3_on(moto_s3, "no-such-bucket-here", "")).findings(HERE)


def test_an_unknown_finding_cannot_be_fixed(moto: S3Driver) -> None:
    with pytest.raises(InvalidInput):
        moto.fix("weather", HERE)
