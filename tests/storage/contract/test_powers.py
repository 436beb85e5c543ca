"""What only some places can do: done where the driver says so, else refused with a reason."""

from __future__ import annotations

import pytest
import urllib3

from dashboard.storage.driver import Driver
from dashboard.storage.errors import Changed, Exists, NotFound, Unsupported
from dashboard.storage.inspection.powers import ChecksSettings
from dashboard.storage.library.backend import Backend
from dashboard.storage.object_powers import (
    HasTiers,
    HasTrash,
    HoldsTags,
    KeepsVersions,
    MovesWithin,
    SetsAttributes,
    SignsUploads,
)
from dashboard.storage.powers import require_power
from dashboard.storage.types import Attributes
from tests.storage.objects import unsupported


def test_many_objects_are_deleted_and_missing_ones_are_success(driver: Driver) -> None:
    backend = Backend("b", driver)
    for number in range(12):
        driver.put(f"many/{number}", b"x")
    driver.put("kept", b"x")
    assert backend.delete_many([f"many/{number}" for number in range(14)]) == {}
    assert [entry.key for entry in driver.list()] == ["kept"]


def test_a_signed_upload_writes_one_object_and_reads_none(driver: Driver) -> None:
    backend = Backend("b", driver)
    if not isinstance(driver, SignsUploads):
        unsupported(lambda: backend.upload_url("a"))
    upload = backend.upload_url("folder/a b.txt", seconds=60, content_type="text/plain", size=3)
    with urllib3.PoolManager(retries=False) as http:
        sent = http.request(upload.method, upload.url, body=b"abc", headers=dict(upload.headers))
        assert sent.status in (200, 201), sent.data
        for method in ("GET", "DELETE"):
            assert http.request(method, upload.url).status in (403, 401)
    assert backend.get("folder/a b.txt") == b"abc"
    assert driver.stat("folder/a b.txt").attributes.content_type == "text/plain"


def test_a_signed_address_reads_one_object_and_changes_nothing(driver: Driver) -> None:
    backend = Backend("b", driver)
    driver.put("folder/a b.txt", b"abc")
    driver.put("other", b"private")
    try:
        url = backend.temporary_url("folder/a b.txt", seconds=60)
    except Unsupported:
        unsupported(lambda: backend.temporary_url("folder/a b.txt"))
    with urllib3.PoolManager(retries=False) as http:
        assert http.request("GET", url).data == b"abc"
        for method in ("PUT", "POST", "DELETE"):
            changed = http.request(method, url, body=b"new", headers={"x-ms-blob-type": "BlockBlob"})
            assert changed.status >= 400, method
        elsewhere = url.replace("folder/a%20b.txt", "other")
        assert elsewhere != url
        assert http.request("GET", elsewhere).status >= 400
    assert backend.get("folder/a b.txt") == b"abc"


def test_tags_are_set_read_replaced_and_removed(driver: Driver) -> None:
    backend = Backend("b", driver)
    if not isinstance(driver, HoldsTags):
        unsupported(lambda: backend.tags("a"))
    driver.put("a", b"x")
    for tags in ({"project": "one", "owner": "me"}, {"project": "two"}, {}):
        backend.set_tags("a", tags)
        assert backend.tags("a") == tags
    assert backend.get("a") == b"x"
    with pytest.raises(NotFound):
        backend.tags("missing")


def test_the_tier_of_an_object_is_told(driver: Driver) -> None:
    backend = Backend("b", driver)
    if not isinstance(driver, HasTiers):
        unsupported(lambda: backend.tier("a"))
    driver.put("a", b"x")
    before = backend.tier("a")
    assert before
    backend.set_tier("a", before)
    assert backend.get("a") == b"x"
    with pytest.raises(NotFound):
        backend.tier("missing")
    with pytest.raises(Unsupported):
        backend.set_tier("a", "no-such-tier")


def test_versions_are_listed_where_they_are_kept(driver: Driver) -> None:
    backend = Backend("b", driver)
    if not isinstance(driver, KeepsVersions):
        unsupported(lambda: backend.versions())
    driver.put("a", b"one")
    driver.put("a", b"two")
    found = list(backend.versions("a"))
    assert [version.current for version in found][:1] == [True]
    assert len(found) == (2 if driver.keeps_versions() else 1)


def test_the_settings_of_the_place_are_looked_at(driver: Driver) -> None:
    backend = Backend("b", driver)
    if not isinstance(driver, ChecksSettings):
        unsupported(lambda: backend.findings("https://www.example.com"))
    for finding in backend.findings("https://www.example.com"):
        assert finding.sentence.endswith(".")
        assert finding.good or finding.remedy


def test_an_object_is_moved_without_copying_and_never_over_another(driver: Driver) -> None:
    if not isinstance(driver, MovesWithin):
        unsupported(lambda: require_power(driver, "move"))
    driver.put("a", b"one")
    driver.put("b", b"two")
    with pytest.raises(Exists):
        driver.move_within("a", "b")
    with pytest.raises(Changed):
        driver.move_within("a", "c", if_version="another")
    with pytest.raises(NotFound):
        driver.move_within("missing", "c")
    driver.move_within("a", "deep/er/a", if_version=driver.stat("a").version)
    assert [entry.key for entry in driver.list()] == ["b", "deep/er/a"]
    driver.move_within("deep/er/a", "b", replace=True)
    assert [entry.key for entry in driver.list()] == ["b"]
    assert Backend("b", driver).get("b") == b"one"


def test_a_deleted_object_comes_back_from_the_trash_and_never_over_another(driver: Driver) -> None:
    if not isinstance(driver, HasTrash):
        unsupported(lambda: require_power(driver, "trash"))
    driver.put("deep/a", b"one")
    with pytest.raises(Changed):
        driver.move_to_trash("deep/a", "first", if_version="another")
    driver.move_to_trash("deep/a", "first", if_version=driver.stat("deep/a").version)
    assert list(driver.list()) == []
    with pytest.raises(NotFound):
        driver.move_to_trash("deep/a", "second")
    driver.put("deep/a", b"two")
    with pytest.raises(Exists):
        driver.restore_from_trash("first", "deep/a")
    driver.delete("deep/a")
    driver.restore_from_trash("first", "deep/a")
    assert Backend("b", driver).get("deep/a") == b"one"
    driver.move_to_trash("deep/a", "third")
    for _ in range(2):
        driver.remove_from_trash("third", "deep/a")
    with pytest.raises(NotFound):
        driver.restore_from_trash("third", "deep/a")


def test_attributes_are_replaced_and_the_content_stays(driver: Driver) -> None:
    if not isinstance(driver, SetsAttributes):
        unsupported(lambda: require_power(driver, "attributes"))
    driver.put("a", b"one", attributes=Attributes("text/html", "no-cache", metadata={"old": "1"}))
    with pytest.raises(Changed):
        driver.set_attributes("a", Attributes(), if_version="another")
    new = Attributes("text/plain", content_language="de", metadata={"new": "zwei"})
    driver.set_attributes("a", new, if_version=driver.stat("a").version)
    assert driver.stat("a").attributes == new
    assert Backend("b", driver).get("a") == b"one"
    with pytest.raises(NotFound):
        driver.set_attributes("missing", new)
