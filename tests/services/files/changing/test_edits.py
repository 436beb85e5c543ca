"""Headers, metadata, tags and versions of a stored file."""

from __future__ import annotations

import pytest

from dashboard.errors import InvalidInput, Kind, StowageError
from dashboard.services.files.changing.edits import FileEdit
from dashboard.services.files.changing.outcomes import FileRef
from dashboard.storage.driver import Driver
from dashboard.storage.types import Attributes, Visibility
from tests.servers.moto import MotoS3
from tests.services.console import OPERATOR, VIEWER, ServiceConsole
from tests.services.files.places import add_s3


@pytest.fixture
def bucket(console: ServiceConsole, moto_s3: MotoS3) -> Driver:
    add_s3(console, moto_s3, "bucket", versions=True)
    driver = console.services.backends.driver("bucket", label="test")
    driver.put("a", b"one", attributes=Attributes("text/html", "no-cache", metadata={"old": "1"}))
    return driver


def test_parts_are_changed_and_the_rest_stays(console: ServiceConsole, bucket: Driver) -> None:
    edits = console.services.file_edits
    edit = FileEdit(
        headers={"content_type": "text/plain", "cache_control": ""},
        tags={"project": "x"},
        visibility=Visibility.PUBLIC,
    )
    edits.edit(OPERATOR, "bucket", FileRef("a"), edit)
    edits.edit(OPERATOR, "bucket", FileRef("a"), FileEdit(metadata={"new": "2"}))
    details = console.services.file_details.of(VIEWER, "bucket", "a")
    assert details.info.attributes == Attributes("text/plain", metadata={"new": "2"})
    assert (details.tags, details.visibility) == ({"project": "x"}, "public")
    with bucket.read("a") as reading:
        assert reading.read_all() == b"one"
    rows = console.services.audit.rows(action="file.edit")
    assert rows[1].detail["changed"] == "headers and metadata, tags, visibility"


def test_what_could_not_be_stored_is_refused(console: ServiceConsole, bucket: Driver) -> None:
    edits = [
        FileEdit(),
        FileEdit(headers={"content_type": "text/html\r\nx: y"}),
        FileEdit(headers={"content_length": "3"}),
        FileEdit(headers={"content_type": "é"}),
        FileEdit(metadata={"Upper": "x"}),
        FileEdit(metadata={"a": "x\n"}),
        FileEdit(metadata={"a": "x" * 3000}),
    ]
    for edit in edits:
        with pytest.raises(InvalidInput):
            console.services.file_edits.edit(OPERATOR, "bucket", FileRef("a"), edit)
    assert bucket.stat("a").attributes.metadata == {"old": "1"}


def test_a_part_that_fails_says_what_was_changed(console: ServiceConsole, bucket: Driver) -> None:
    with pytest.raises(StowageError) as caught:
        console.services.file_edits.edit(
            OPERATOR, "bucket", FileRef("a"), FileEdit(tags={"a": "b"}, tier="NONE")
        )
    assert caught.value.reason.startswith("The tags were changed, but not the tier: ")


def test_an_edit_of_something_else_than_was_seen_is_refused(console: ServiceConsole, bucket: Driver) -> None:
    seen = bucket.stat("a").version
    bucket.put("a", b"two")
    with pytest.raises(StowageError) as caught:
        console.services.file_edits.edit(OPERATOR, "bucket", FileRef("a", seen), FileEdit(tags={}))
    assert caught.value.kind is Kind.CHANGED


def test_an_older_version_is_restored(console: ServiceConsole, bucket: Driver) -> None:
    bucket.put("a", b"two")
    versions = console.services.file_details.of(VIEWER, "bucket", "a").versions
    assert versions is not None
    console.services.file_edits.restore(OPERATOR, "bucket", "a", versions[1].id)
    with bucket.read("a") as reading:
        assert reading.read_all() == b"one"
    with pytest.raises(StowageError):
        console.services.file_edits.restore(VIEWER, "bucket", "a", versions[1].id)
