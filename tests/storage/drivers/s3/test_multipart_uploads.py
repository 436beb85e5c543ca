"""Uploads in parts that were interrupted: listed, reported, and aborted once they are old."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from dashboard.storage.drivers.s3.errors import ErrorContext
from dashboard.storage.drivers.s3.listing import uploaded_parts
from dashboard.storage.errors import StorageError
from dashboard.storage.inspection.findings import DAYS, LEFTOVERS
from dashboard.storage.inspection.powers import ChecksSettings, Finding, KeepsUnfinished
from dashboard.storage.object_powers import SentPart
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


class Scripted:
    """A server that lists parts as it is told, page by page."""

    def __init__(self, *pages: str) -> None:
        self.pages = list(pages)
        self.asked: list[dict[str, str]] = []

    def send(self, method: str, context: object, *, key: str, query: dict[str, str]) -> SimpleNamespace:
        self.asked.append(query)
        page = self.pages[min(len(self.asked), len(self.pages)) - 1]
        return SimpleNamespace(body=page.encode())


def page_of(*parts: tuple[object, object], more: str = "") -> str:
    listed = "".join(
        f'<Part><PartNumber>{number}</PartNumber><Size>{size}</Size><ETag>"{number}"</ETag></Part>'
        for number, size in parts
    )
    ending = f"<NextPartNumberMarker>{more}</NextPartNumberMarker>" if more else ""
    is_truncated = "true" if more else "false"
    return f"<ListPartsResult>{listed}{ending}<IsTruncated>{is_truncated}</IsTruncated></ListPartsResult>"


def listed_parts(*pages: str) -> tuple[list[SentPart], Scripted]:
    server: Any = Scripted(*pages)
    context = ErrorContext("list parts", "key", "bucket", "localhost", "us-east-1")
    return list(uploaded_parts(server, context, "key", "id")), server


def test_parts_are_listed_page_by_page() -> None:
    parts, server = listed_parts(page_of((1, 5), (2, 5), (2, 5), more="2"), page_of((7, 3)))
    assert [(part.number, part.size, part.etag) for part in parts] == [
        *((1, 5, "1"), (2, 5, "2"), (2, 5, "2"), (7, 3, "7"))
    ]
    assert [query.get("part-number-marker") for query in server.asked] == [None, "2"]


@pytest.mark.parametrize(
    "pages",
    [
        pytest.param((page_of((1, 5), more="1"),), id="the same page for ever"),
        pytest.param((page_of((2, 5), (1, 5)),), id="descending"),
        pytest.param((page_of((0, 5)),), id="no part 0"),
        pytest.param((page_of((10_001, 5)),), id="beyond all parts"),
        pytest.param((page_of((1, -5)),), id="a negative size"),
        pytest.param((page_of(("one", 5)),), id="no number"),
        pytest.param((page_of(more="5"),), id="an empty page that goes on"),
        pytest.param((page_of((1, 5)).replace("<IsTruncated>false</IsTruncated>", ""),), id="no end"),
        pytest.param(("<html>",), id="no XML"),
    ],
)
def test_a_listing_of_parts_that_cannot_be_is_an_error(pages: tuple[str, ...]) -> None:
    with pytest.raises(StorageError):
        listed_parts(*pages)
