"""Uploads in parts that were interrupted: listed, reported, and aborted once they are old."""

from __future__ import annotations

import time

import pytest

from dashboard.storage.inspection.findings import DAYS, LEFTOVERS
from dashboard.storage.inspection.powers import ChecksSettings, Finding, KeepsUnfinished
from dashboard.storage.wrappers.read_only import ReadOnly
from tests.servers.drivers import s3_on
from tests.servers.faults import FaultProxy
from tests.servers.seaweedfs import SeaweedFS

SITE = "https://www.example.com"


def create_uploads(server: SeaweedFS, bucket: str, *keys: str) -> None:
    for key in keys:
        server.client().create_multipart_upload(Bucket=bucket, Key=key)


def left(server: SeaweedFS, bucket: str) -> set[str]:
    return {each["Key"] for each in server.client().list_multipart_uploads(Bucket=bucket).get("Uploads", [])}


def leftovers_finding(driver: ChecksSettings) -> Finding | None:
    return next((each for each in driver.findings(SITE) if each.name == LEFTOVERS), None)


def test_old_uploads_are_found_and_aborted(seaweedfs: SeaweedFS, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = seaweedfs.new_bucket()
    driver = s3_on(seaweedfs, bucket, "mine/")
    assert isinstance(driver, ChecksSettings)
    finding = leftovers_finding(driver)
    assert finding == Finding(LEFTOVERS, "It contains no unfinished uploads.", good=True)
    create_uploads(seaweedfs, bucket, "mine/a", "mine/b ü", "elsewhere")
    young = leftovers_finding(driver)
    assert young is not None
    assert (young.good, young.fixable) == (True, False)
    assert "Unfinished uploads in it: 2" in young.sentence
    driver.fix(LEFTOVERS, SITE)
    assert len(left(seaweedfs, bucket)) == 3
    later = time.time() + (DAYS + 1) * 86_400
    monkeypatch.setattr("dashboard.storage.drivers.s3.multipart_uploads.time.time", lambda: later)
    old = leftovers_finding(driver)
    assert old is not None
    assert (old.good, old.fixable, old.button) == (False, True, "Abort them")
    assert old.remedy.startswith(f"2 of them began more than {DAYS} days ago")
    read_only = ReadOnly(driver)
    assert isinstance(read_only, ChecksSettings)
    seen = leftovers_finding(read_only)
    assert seen is not None
    assert not seen.fixable
    driver.fix(LEFTOVERS, SITE)
    assert left(seaweedfs, bucket) == {"elsewhere"}
    driver.close()


def test_one_can_be_aborted_twice(seaweedfs: SeaweedFS) -> None:
    bucket = seaweedfs.new_bucket()
    driver = s3_on(seaweedfs, bucket, "")
    assert isinstance(driver, KeepsUnfinished)
    create_uploads(seaweedfs, bucket, "a", "b")
    (first, _) = driver.unfinished()
    assert (first.key, [each.key for each in driver.unfinished("b")]) == ("a", ["b"])
    driver.abort(first)
    driver.abort(first)
    assert left(seaweedfs, bucket) == {"b"}
    driver.close()


def test_a_place_that_does_not_tell_has_no_such_finding(seaweedfs: SeaweedFS) -> None:
    with FaultProxy(seaweedfs.endpoint) as proxy:
        driver = s3_on(seaweedfs, seaweedfs.new_bucket(), "", endpoint=proxy.endpoint)
        assert isinstance(driver, ChecksSettings)
        proxy.answer(403, "AccessDenied", key="uploads", times=None)
        denied = leftovers_finding(driver)
        assert denied is not None
        assert (denied.good, denied.fixable) == (False, False)
        assert "s3:ListBucketMultipartUploads" in denied.remedy
        proxy.clear()
        proxy.answer(501, "NotImplemented", key="uploads", times=None)
        assert leftovers_finding(driver) is None
        driver.close()
