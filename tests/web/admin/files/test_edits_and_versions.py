"""Headers, metadata, tags and versions of a file in a bucket, changed on the Files page."""

from __future__ import annotations

import html
import re

import pytest

from dashboard.services.backends.values import Draft
from dashboard.storage.driver import Driver
from dashboard.storage.types import Attributes, Secret
from tests.servers.moto import MotoS3
from tests.services.console import ADMIN
from tests.web.admin.files.test_changes import sentences
from tests.web.conftest import Browser, WebConsole

PAGE = "/browse/versioned"


@pytest.fixture(scope="module", autouse=True)
def _backend(console: WebConsole, moto_s3: MotoS3) -> None:
    bucket = moto_s3.new_bucket("versioned")
    moto_s3.client().put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    options = {"endpoint": moto_s3.endpoint, "bucket": bucket, "access_key_id": moto_s3.admin.access_key}
    secrets = {"secret_access_key": Secret(moto_s3.admin.secret_key)}
    console.services.backends.add(ADMIN, Draft("versioned", "s3", {**options, "sse": "none"}, secrets))


@pytest.fixture
def bucket(console: WebConsole, _backend: None) -> Driver:
    driver = console.services.backends.driver("versioned", label="test")
    driver.put("a & b.txt", b"one", attributes=Attributes("text/plain", "no-cache", metadata={"old": "<1>"}))
    return driver


def form_of(page: str, action: str) -> list[tuple[str, str]]:
    """The fields of the form with this action, as a browser would send them."""
    body = re.search(rf'<form[^>]*action="{PAGE}/{action}"[^>]*>(.*?)</form>', page, re.DOTALL)
    assert body, action
    fields = []
    for tag in re.findall(r"<input[^>]*>", body[1]):
        name, value = (re.search(rf'{each}="([^"]*)"', tag) for each in ("name", "value"))
        if name and name[1] != "csrf_token":
            fields.append((name[1], html.unescape(value[1]) if value else ""))
    return fields


def sent(fields: list[tuple[str, str]], **changed: object) -> dict[str, object]:
    """The same with other values; a name that comes several times is a list."""
    found: dict[str, object] = {}
    for name, value in fields:
        before = found.get(name)
        found[name] = (
            value if before is None else [*(before if isinstance(before, list) else [before]), value]
        )
    return {**found, **changed}


def test_headers_metadata_and_tags_are_edited(admin: Browser, bucket: Driver) -> None:
    page = admin.get(f"{PAGE}/edit?key=a %26 b.txt").text
    fields = form_of(page, "edit")
    assert ("metadata.name", "old") in fields
    assert ("metadata.value", "<1>") in fields
    changed = sent(
        fields,
        content_type="text/markdown",
        cache_control="",
        **{
            "metadata.name": ["new", ""],
            "metadata.value": ["2 & 3", ""],
            "tag.name": ["project"],
            "tag.value": ["x"],
        },
    )
    answer = admin.post(f"{PAGE}/edit", **changed)
    assert answer.status_code == 303, answer.text
    shown = admin.get(answer.headers["Location"]).text
    assert "The details are saved." in sentences(shown)
    assert "project: x" in shown
    stored = bucket.stat("a & b.txt").attributes
    assert stored == Attributes("text/markdown", metadata={"new": "2 & 3"})
    with bucket.read("a & b.txt") as reading:
        assert reading.read_all() == b"one"


def test_what_cannot_be_stored_is_asked_for_again_and_nothing_typed_is_lost(
    admin: Browser, bucket: Driver
) -> None:
    fields = form_of(admin.get(f"{PAGE}/edit?key=a %26 b.txt").text, "edit")
    changed = sent(fields, **{"metadata.name": ["Größe"], "metadata.value": ["kept"]})
    answer = admin.post(f"{PAGE}/edit", **changed)
    assert answer.status_code == 400
    assert "cannot be the name of a metadata value" in sentences(answer.text)
    assert 'value="Größe"' in answer.text
    assert bucket.stat("a & b.txt").attributes.metadata == {"old": "<1>"}


def test_an_edit_of_a_file_that_somebody_else_wrote_since_changes_nothing(
    admin: Browser, bucket: Driver
) -> None:
    fields = form_of(admin.get(f"{PAGE}/edit?key=a %26 b.txt").text, "edit")
    bucket.put("a & b.txt", b"written by another program")
    answer = admin.post(f"{PAGE}/edit", **sent(fields, content_type="text/markdown"))
    assert answer.status_code == 409
    assert "changed by somebody else" in sentences(answer.text)
    assert bucket.stat("a & b.txt").attributes.content_type != "text/markdown"


def test_an_older_version_is_restored_and_the_newer_one_is_kept(admin: Browser, bucket: Driver) -> None:
    bucket.put("a & b.txt", b"two")
    address = f"{PAGE}?file=a %26 b.txt"
    page = admin.get(address).text
    before = int(re.findall(r"(\d+) kept", page)[0])
    answer = admin.post(f"{PAGE}/restore", **sent(form_of(page, "restore")))
    assert answer.status_code == 303, answer.text
    shown = admin.get(answer.headers["Location"]).text
    assert "The older version is the current one now." in sentences(shown)
    with bucket.read("a & b.txt") as reading:
        assert reading.read_all() == b"one"
    assert f"{before + 1} kept" in admin.get(address).text


def test_a_version_that_is_not_there_says_so(admin: Browser, bucket: Driver) -> None:
    answer = admin.post(f"{PAGE}/restore", key="a & b.txt", version="nonsense")
    assert answer.status_code in (400, 404)
    with bucket.read("a & b.txt") as reading:
        assert reading.read_all() == b"one"
