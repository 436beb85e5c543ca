"""Google Cloud Storage: bucket settings, permissions, batch deletion."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import urllib3

from dashboard.errors import InvalidInput, Kind
from dashboard.storage.driver import Driver
from dashboard.storage.drivers.gcs.driver import GcsDriver
from dashboard.storage.errors import Changed, ContainerMissing, NotFound, StorageError, Unsupported
from dashboard.storage.types import Attributes, Visibility
from tests.servers.drivers import gcs_on
from tests.servers.faults import FaultProxy
from tests.servers.gcs.server import GoogleStorage
from tests.storage.objects import get, keys_of

HERE = "https://www.example.org"
OURS = {
    "origin": [HERE],
    "method": ["GET", "HEAD", "PUT"],
    "responseHeader": ["Content-Type", "ETag", "x-goog-content-length-range"],
    "maxAgeSeconds": 3600,
}
ABORT = {"action": {"type": "AbortIncompleteMultipartUpload"}, "condition": {"age": 7}}


@pytest.fixture
def bucket(google: GoogleStorage) -> str:
    return google.new_bucket()


@pytest.fixture
def driver(google: GoogleStorage, bucket: str) -> Iterator[GcsDriver]:
    driver = gcs_driver(gcs_on(google, bucket, google.writer))
    yield driver
    driver.close()


@pytest.fixture
def proxy(google: GoogleStorage) -> Iterator[FaultProxy]:
    with FaultProxy(google.endpoint) as proxy:
        yield proxy


@pytest.fixture
def watched(google: GoogleStorage, bucket: str, proxy: FaultProxy) -> Iterator[GcsDriver]:
    """A driver that talks through the fault proxy."""
    key = google.writer.replace(google.endpoint, proxy.endpoint)
    driver = gcs_driver(gcs_on(google, bucket, key, endpoint=proxy.endpoint))
    yield driver
    driver.close()


def gcs_driver(driver: Driver) -> GcsDriver:
    assert isinstance(driver, GcsDriver)
    return driver


def names(driver: GcsDriver, *, good: bool) -> set[str]:
    return {each.name for each in driver.findings(HERE) if each.good is good}


def sentence(driver: GcsDriver, name: str) -> str:
    return next(each.sentence for each in driver.findings(HERE) if each.name == name)


# Bucket settings


def test_a_new_bucket_has_two_faults_and_both_can_be_fixed(
    driver: GcsDriver, google: GoogleStorage, bucket: str
) -> None:
    assert names(driver, good=False) == {"cors", "unfinished-uploads"}
    assert sentence(driver, "cors") == f"Browser uploads will fail: no CORS rule for {HERE}."
    assert "Google deletes those of this backend after a week" in sentence(driver, "unfinished-uploads")
    for name in ("cors", "unfinished-uploads"):
        driver.fix(name, HERE)
        driver.fix(name, HERE)
    assert names(driver, good=True) == {"cors", "unfinished-uploads"}
    held = google.settings[bucket]
    assert held["cors"] == [OURS]
    assert held["lifecycle"] == {"rule": [ABORT]}
    assert held["metageneration"] == "3"


def test_fixing_keeps_the_rules_that_are_there(driver: GcsDriver, google: GoogleStorage, bucket: str) -> None:
    theirs = {"origin": ["https://other.example.org"], "method": ["PUT"], "responseHeader": ["*"]}
    kept = {"action": {"type": "Delete"}, "condition": {"age": 30, "matchesPrefix": ["logs/"]}}
    google.settings[bucket] |= {"cors": [theirs], "lifecycle": {"rule": [kept]}, "labels": {"by": "them"}}
    inner = gcs_driver(gcs_on(google, bucket, google.writer, "photos/"))
    for name in ("cors", "unfinished-uploads"):
        inner.fix(name, HERE)
    held = google.settings[bucket]
    assert held["cors"] == [theirs, OURS]
    ours = ABORT | {"condition": {"age": 7, "matchesPrefix": ["photos/"]}}
    assert held["lifecycle"]["rule"] == [kept, ours]
    assert held["labels"] == {"by": "them"}
    assert "unfinished-uploads" in names(inner, good=True)
    assert "unfinished-uploads" in names(driver, good=False)


def test_a_rule_before_ours_that_refuses_our_headers_is_named_and_overtaken(
    driver: GcsDriver, google: GoogleStorage, bucket: str
) -> None:
    first = {"origin": ["*"], "method": ["GET"], "responseHeader": ["X-Theirs"]}
    strict = {"origin": ["*"], "method": ["*"], "responseHeader": ["Content-Type"]}
    google.settings[bucket]["cors"] = [first, strict]
    assert sentence(driver, "cors") == (
        "Browser uploads that send x-goog-content-length-range will fail: the CORS rule for "
        f"{HERE} does not allow that."
    )
    driver.fix("cors", HERE)
    assert google.settings[bucket]["cors"] == [first, OURS | {"method": ["PUT"]}, strict]
    assert "cors" in names(driver, good=True)


@pytest.mark.parametrize(
    ("origin", "methods", "headers", "enough"),
    [
        (HERE, ["PUT"], ["*"], True),
        ("*", ["GET", "PUT"], ["Content-Type", "X-Goog-Content-Length-Range"], True),
        (HERE, ["*"], ["*"], True),
        (HERE, ["GET"], ["*"], False),
        ("https://*.example.org", ["PUT"], ["*"], False),
        (HERE, ["PUT"], [], False),
    ],
)
def test_only_a_rule_that_lets_this_site_upload_is_enough(
    driver: GcsDriver,
    google: GoogleStorage,
    bucket: str,
    origin: str,
    methods: list[str],
    headers: list[str],
    enough: bool,
) -> None:
    rule = {"origin": [origin], "method": methods, "responseHeader": headers}
    google.settings[bucket]["cors"] = [rule]
    assert ("cors" in names(driver, good=True)) is enough


@pytest.mark.parametrize(
    ("action", "condition", "told"),
    [
        ("Delete", {"age": 3}, "Objects are deleted by the bucket itself 3 days after they were written."),
        (
            "Delete",
            {"age": 3, "matchesPrefix": ["tmp/"], "matchesStorageClass": ["NEARLINE"]},
            "Objects under “tmp/” that meet further conditions are deleted by the bucket itself 3 days after "
            "they were written.",
        ),
        (
            "Delete",
            {"createdBefore": "2024-05-01"},
            "Objects are deleted by the bucket itself if they were written before 2024-05-01.",
        ),
        (
            "Delete",
            {"daysSinceCustomTime": 5},
            "Objects that meet further conditions are deleted by the bucket itself.",
        ),
        ("Delete", {"age": 3, "isLive": False}, ""),
        ("Delete", {"numNewerVersions": 2}, ""),
        ("SetStorageClass", {"age": 3}, ""),
    ],
)
def test_a_rule_that_deletes_objects_is_reported(
    google: GoogleStorage, bucket: str, action: str, condition: dict[str, Any], told: str
) -> None:
    rule = {"action": {"type": action}, "condition": condition}
    google.settings[bucket]["lifecycle"] = {"rule": [rule]}
    for prefix in ("", "photos/"):
        found = gcs_driver(gcs_on(google, bucket, google.writer, prefix)).findings(HERE)
        elsewhere = prefix and condition.get("matchesPrefix")
        sentences = [each.sentence for each in found if each.name == "expiry"]
        assert sentences == ([told] if told and not elsewhere else [])


def test_a_concurrent_change_is_kept(
    watched: GcsDriver, proxy: FaultProxy, google: GoogleStorage, bucket: str
) -> None:
    theirs = {"origin": ["https://other.example.org"], "method": ["GET"]}

    def change() -> None:
        held = google.settings[bucket]
        held |= {"cors": [theirs], "metageneration": str(int(held["metageneration"]) + 1)}

    proxy.then(change, method="GET", key="fields=metageneration")
    watched.fix("cors", HERE)
    assert google.settings[bucket]["cors"] == [theirs, OURS]


def test_a_bucket_that_changes_all_the_time_is_left_alone(watched: GcsDriver, proxy: FaultProxy) -> None:
    proxy.answer(412, "conditionNotMet", method="PATCH", times=None)
    with pytest.raises(StorageError) as caught:
        watched.fix("cors", HERE)
    assert caught.value.kind is Kind.CHANGED
    assert caught.value.reason.startswith("Someone else changed")
    assert sum(method == "PATCH" for method, _ in proxy.seen) == 3


def test_a_change_whose_response_is_lost_is_made_once(
    watched: GcsDriver, proxy: FaultProxy, google: GoogleStorage, bucket: str
) -> None:
    proxy.reset(method="PATCH", after=0)
    watched.fix("cors", HERE)
    assert google.settings[bucket]["cors"] == [OURS]


def test_a_key_that_may_not_change_the_bucket_is_reported(google: GoogleStorage, bucket: str) -> None:
    reader = gcs_driver(gcs_on(google, bucket, google.reader))
    assert "cors" in names(reader, good=False)
    with pytest.raises(StorageError) as caught:
        reader.fix("cors", HERE)
    assert caught.value.kind is Kind.DENIED
    assert "Storage Admin" in caught.value.remedy


def test_a_denied_check_is_a_finding_and_one_without_response_an_error(
    watched: GcsDriver, proxy: FaultProxy
) -> None:
    proxy.answer(403, "forbidden", key="fields=metageneration")
    found = watched.findings(HERE)
    assert [each.name for each in found] == ["cors", "unfinished-uploads"]
    for each in found:
        assert "could not be seen" in each.sentence
        assert "Storage Legacy Bucket Reader" in each.remedy
        assert not each.good
        assert not each.fixable
    proxy.reset(key="fields=metageneration")
    with pytest.raises(StorageError) as caught:
        watched.findings(HERE)
    assert caught.value.kind is Kind.UNREACHABLE


def test_no_bucket_has_no_findings_and_no_unknown_one_is_fixed(
    google: GoogleStorage, driver: GcsDriver
) -> None:
    with pytest.raises(ContainerMissing):
        gcs_driver(gcs_on(google, "no-such-bucket-here", google.writer)).findings(HERE)
    with pytest.raises(InvalidInput):
        driver.fix("weather", HERE)


# Batch deletion


def test_more_than_a_hundred_go_in_several_requests(driver: GcsDriver, google: GoogleStorage) -> None:
    odd = ["ü & <x>.txt", "a//b", "/lead", "trail/", "a%2Fb", "bell\x07", " spaces ", "#?"]
    keys = [*odd, *(f"k{number:03}" for number in range(120))]
    for key in [*keys, "kept"]:
        driver.put(key, b"x")
    google.requests.clear()
    assert driver.delete_many(iter([*keys, "never/there", odd[0]])) == {}
    assert google.requests == [("POST", "/batch/storage/v1")] * 2
    assert keys_of(driver) == ["kept"]
    assert driver.delete_many([]) == {}


def test_what_cannot_be_deleted_is_reported_by_key(
    google: GoogleStorage, bucket: str, driver: GcsDriver
) -> None:
    for key in ("a", "b"):
        driver.put(key, b"x")
    reader = gcs_driver(gcs_on(google, bucket, google.reader))
    failed = reader.delete_many(["a", "x" * 2000, "b"])
    assert {key: error.kind for key, error in failed.items()} == {
        "x" * 2000: Kind.INVALID_KEY,
        "a": Kind.DENIED,
        "b": Kind.DENIED,
    }
    assert "Storage Object User" in failed["a"].remedy
    assert keys_of(driver) == ["a", "b"]


def test_no_bucket_is_not_many_failures(google: GoogleStorage) -> None:
    with pytest.raises(ContainerMissing):
        gcs_driver(gcs_on(google, "no-such-bucket-here", google.writer)).delete_many(["a"])


def test_calls_that_a_busy_server_rejected_are_retried(driver: GcsDriver, google: GoogleStorage) -> None:
    for key in ("a", "b", "c"):
        driver.put(key, b"x")
    google.throttled_calls = 2
    google.requests.clear()
    assert driver.delete_many(["a", "b", "c"]) == {}
    assert keys_of(driver) == []
    assert google.requests.count(("POST", "/batch/storage/v1")) == 2


def test_a_server_without_batches_deletes_one_by_one(watched: GcsDriver, proxy: FaultProxy) -> None:
    for key in ("a", "b"):
        watched.put(key, b"x")
    proxy.answer(404, "notFound", key="/batch/", times=None)
    assert watched.delete_many(["a", "b", "c"]) == {}
    assert keys_of(watched) == []


def test_a_response_that_is_not_a_batch_deletes_nothing(watched: GcsDriver, proxy: FaultProxy) -> None:
    watched.put("a", b"x")
    proxy.answer(200, "nonsense", key="/batch/", times=None)
    failed = watched.delete_many(["a"])
    assert failed["a"].kind is Kind.UNREACHABLE
    assert keys_of(watched) == ["a"]


def test_a_revoked_token_is_replaced_within_a_batch(driver: GcsDriver, google: GoogleStorage) -> None:
    driver.put("a", b"x")
    google.tokens.clear()
    assert driver.delete_many(["a"]) == {}


# Public or private


def test_a_public_object_is_read_by_everybody_and_a_private_one_by_nobody(
    driver: GcsDriver, google: GoogleStorage, bucket: str
) -> None:
    driver.put("a b", b"content")
    assert urllib3.request("GET", driver.url("a b"), retries=False).status == 403
    driver.set_visibility("a b", Visibility.PUBLIC)
    assert urllib3.request("GET", driver.url("a b"), retries=False).data == b"content"
    assert get(driver, "a b") == b"content"
    google.grants[bucket, b"a b"]["allAuthenticatedUsers"] = "READER"
    google.grants[bucket, b"a b"]["user-friend@example.org"] = "READER"
    for _ in range(2):
        driver.set_visibility("a b", Visibility.PRIVATE)
    assert urllib3.request("GET", driver.url("a b"), retries=False).status == 403
    left = set(google.grants[bucket, b"a b"])
    assert left == {"user-friend@example.org", f"user-{json.loads(google.writer)['client_email']}"}


def test_a_bucket_with_uniform_access_has_no_permissions_of_objects(google: GoogleStorage) -> None:
    bucket = google.new_bucket(uniformBucketLevelAccess={"enabled": True})
    driver = gcs_driver(gcs_on(google, bucket, google.writer))
    driver.put("a", b"x")
    for call in (
        lambda: driver.visibility("a"),
        lambda: driver.set_visibility("a", Visibility.PUBLIC),
        lambda: driver.set_visibility("a", Visibility.PRIVATE),
    ):
        with pytest.raises(Unsupported) as caught:
            call()
        assert "uniform access" in caught.value.reason
        assert "fine-grained" in caught.value.remedy


def test_prevented_public_access_is_denied(google: GoogleStorage) -> None:
    bucket = google.new_bucket(publicAccessPrevention="enforced")
    driver = gcs_driver(gcs_on(google, bucket, google.writer))
    driver.put("a", b"x")
    with pytest.raises(StorageError) as caught:
        driver.set_visibility("a", Visibility.PUBLIC)
    assert caught.value.kind is Kind.DENIED
    assert "prevention" in caught.value.reason
    assert driver.visibility("a") is Visibility.PRIVATE


def test_a_key_that_may_not_read_permissions_is_reported(
    google: GoogleStorage, bucket: str, driver: GcsDriver
) -> None:
    driver.put("a", b"x")
    reader = gcs_driver(gcs_on(google, bucket, google.reader))
    with pytest.raises(StorageError) as caught:
        reader.visibility("a")
    assert caught.value.kind is Kind.DENIED
    assert "Storage Object Admin" in caught.value.remedy
    with pytest.raises(NotFound):
        driver.set_visibility("nothing", Visibility.PRIVATE)


# Headers and metadata

OLD = Attributes("text/html", "no-cache", metadata={"old": "1", "kept": "2"})
NEW = Attributes("text/plain", content_language="de", metadata={"kept": "zwei"})


def test_attributes_change_once_even_if_the_answer_is_lost(
    driver: GcsDriver, watched: GcsDriver, proxy: FaultProxy
) -> None:
    driver.put("a", b"x", attributes=OLD)
    before = driver.stat("a")
    lost = proxy.lose_answer(method="PATCH")
    watched.set_attributes("a", NEW, if_version=before.version)
    assert lost.hits == 1
    assert (driver.stat("a").attributes, driver.stat("a").version) == (NEW, before.version)


def test_attributes_that_somebody_else_changes_meanwhile_stay(
    driver: GcsDriver, watched: GcsDriver, proxy: FaultProxy
) -> None:
    theirs = Attributes("image/png", metadata={"by": "them"})
    driver.put("a", b"x", attributes=OLD)
    proxy.then(lambda: driver.set_attributes("a", theirs), method="GET")
    with pytest.raises(Changed):
        watched.set_attributes("a", NEW)
    assert driver.stat("a").attributes == theirs
    proxy.then(lambda: driver.put("a", b"other", attributes=theirs), method="GET")
    with pytest.raises(Changed):
        watched.set_attributes("a", NEW)
    assert get(driver, "a") == b"other"


def test_headers_that_no_response_can_have_are_refused(driver: GcsDriver) -> None:
    driver.put("a", b"x", attributes=OLD)
    with pytest.raises(InvalidInput) as caught:
        driver.set_attributes("a", Attributes("text/plain\r\nx: y"))
    assert caught.value.subject == "content_type"
    assert driver.stat("a").attributes == OLD
