"""Calls in the words of other storage layers. docs/library.md runs them too; here are their edges."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.datastructures import FileStorage
from werkzeug.test import Client

from dashboard.errors import InvalidInput
from dashboard.storage import Storage
from dashboard.storage.errors import NotFound, Unsupported
from dashboard.storage.library import lazy_listing as listing
from dashboard.storage.library.class_level import answer_at_class_level
from dashboard.storage.library.configuring import describe_any
from dashboard.storage.library.lazy_listing import Listing
from dashboard.storage.library.media_backend import MediaBackend


@pytest.fixture
def storage() -> Iterator[Storage]:
    with Storage() as storage:
        storage.configure("media", "memory")
        yield storage


def test_a_class_answers_for_the_process_and_an_instance_for_itself() -> None:
    @answer_at_class_level
    class Counter:
        calls = 0

        def count(self) -> int:
            self.calls += 1
            return self.calls

    assert [Counter.count(), Counter.count(), Counter().count(), Counter.count()] == [1, 2, 1, 3]


def test_a_mapping_replaces_the_default_or_nothing(storage: Storage, tmp_path: Path) -> None:
    disks = {"local": {"driver": "local", "root": str(tmp_path)}, "other": {"driver": "memory"}}
    with pytest.raises(InvalidInput, match="colour"):
        storage.configure({"disks": {**disks, "bad": {"driver": "local", "root": "/x", "colour": "red"}}})
    assert storage.names() == ("media",)
    assert storage.configure({"default": "other", "disks": disks}).name == "other"
    assert storage.names() == ("media", "local", "other")
    storage.put("a", "x")
    assert storage.disk("other").exists("a")


@pytest.mark.parametrize(
    ("kind", "options", "preset", "expected"),
    [
        (
            "s3",
            {"bucket": "b", "key": "k", "secret": "s", "url": None, "endpoint": None},
            "aws",
            {"bucket": "b"},
        ),
        (
            "s3",
            {"bucket": "b", "endpoint_url": "h:9000", "use_ssl": False},
            "s3",
            {"endpoint": "http://h:9000"},
        ),
        ("s3", {"bucket": "b", "endpoint": "h:9000"}, "s3", {"endpoint": "https://h:9000"}),
        ("s3", {"bucket": "b", "url": "https://cdn.example.com/"}, "aws", {"cdn_domain": "cdn.example.com"}),
        ("azure", {"account_name": "a", "account_key": "k", "container": "c"}, "azure", {"account": "a"}),
        (
            "local",
            {"root": "/srv/x", "url": "/files", "visibility": "public"},
            "local",
            {"public_url": "/files"},
        ),
    ],
)
def test_options_have_the_names_of_other_layers(
    kind: str, options: dict[str, Any], preset: str, expected: dict[str, str]
) -> None:
    described = describe_any(kind, options)
    assert described.kind == preset
    assert expected.items() <= dict(described.options).items()


@pytest.mark.parametrize(
    ("kind", "options", "field"),
    [
        ("s3", {"bucket": "b", "key": "k", "access_key": "other"}, "access_key"),
        ("s3", {"bucket": "b", "visibility": "public"}, "visibility"),
        ("s3", {"bucket": "b", "url": "https://example.com/media"}, "url"),
        ("local", {"root": "/x", "visibility": "hidden"}, "visibility"),
        ("gcs", {"bucket": "b", "key_file": "/nowhere/sa.json"}, "key_file"),
    ],
)
def test_what_would_have_no_effect_is_refused(kind: str, options: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        describe_any(kind, options)
    assert refused.value.subject == field


def test_bytes_do_not_compare_with_text(storage: Storage) -> None:
    storage.put("a", "text")
    found = storage.get("a")
    assert found == b"text"
    assert found != b"other"
    assert {found: 1} == {b"text": 1}
    with pytest.raises(TypeError, match="get_text"):
        assert found == "text"
    assert storage.get_text("a") == "text"


def test_what_is_stored_may_come_from_an_iterable(storage: Storage) -> None:
    storage.put("a", (part for part in ("ä", "b")))
    storage.write_stream("b", iter([b"one", b"two"]))
    storage.put("c", io.StringIO("text"))  # type: ignore[arg-type]
    assert [storage.get(key) for key in "abc"] == ["äb".encode(), b"onetwo", b"text"]


def test_an_iterable_that_fails_stores_nothing(storage: Storage) -> None:
    def broken() -> Iterator[bytes]:
        yield b"half"
        raise ZeroDivisionError

    storage.put("a", b"before")
    with pytest.raises(ZeroDivisionError):
        storage.put("a", broken())
    for wrong in ([1], [None], 5):
        with pytest.raises(TypeError):
            storage.put("a", wrong)  # type: ignore[arg-type]
    assert storage.get("a") == b"before"


def test_a_read_is_a_file_and_an_iterable(storage: Storage) -> None:
    storage.put("a", b"0123456789")
    with storage.read_stream("a") as stream:
        assert [stream.read(4), stream.read(0), stream.read(), stream.read(1)] == [
            b"0123",
            b"",
            b"456789",
            b"",
        ]
    with storage.read_stream("a") as stream:
        assert b"".join(stream) == b"0123456789"
        assert stream.info.size == 10


def test_metadata_answers_to_keys(storage: Storage) -> None:
    storage.put("a.txt", b"x")
    found = storage.metadata("a.txt")
    assert (found["size"], found["path"], found["content_type"]) == (1, "a.txt", "text/plain")
    assert found["last_modified"] == found.modified
    with pytest.raises(KeyError):
        found["colour"]


def test_a_listing_is_counted_indexed_or_streamed(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("d/a", "d/b", "d/e/c"):
        storage.put(name, b"")
    found = storage.files("d")
    assert [next(found).key, next(found).key] == ["d/a", "d/b"]
    assert (len(found), found[0].key, bool(storage.files("nothing"))) == (2, "d/a", False)
    assert storage.directories("d") == ["d/e"]
    assert storage.directories("d") == storage.directories("d")
    monkeypatch.setattr(listing, "MAX_KEPT", 1)
    with pytest.raises(Unsupported, match="iterate"):
        len(storage.files("d"))
    assert len(list(iter(storage.files("d")))) == 2


def test_a_listing_is_read_only_as_far_as_needed() -> None:
    read = []

    def numbers() -> Iterator[int]:
        for number in range(10):
            read.append(number)
            yield number

    assert Listing(numbers)
    assert 2 in Listing(numbers)
    assert read == [0, 0, 1, 2]


def test_old_files_are_found_by_a_time_or_an_age(storage: Storage) -> None:
    storage.put("a", b"x")
    now = time.time()
    for cutoff in (now + 60, datetime.fromtimestamp(now + 60, UTC), timedelta(seconds=-60)):
        assert [each.key for each in storage.find_files_older_than(cutoff)] == ["a"]
    assert list(storage.find_files_older_than(timedelta(days=1))) == []


def test_an_upload_of_any_framework_is_stored(storage: Storage, tmp_path: Path) -> None:
    class Starlette:
        filename = "../Bild 1.PNG"
        file = io.BytesIO(b"png")

    flask = FileStorage(io.BytesIO(b"pdf"), filename="report.pdf", content_type="text/html")
    first = storage.put_upload(Starlette(), "in")
    second = storage.put_upload(flask)
    (tmp_path / "plain.txt").write_bytes(b"text")
    with (tmp_path / "plain.txt").open("rb") as file:
        third = storage.put_upload(file)
    assert first.startswith("in/Bild-1-")
    assert first.endswith(".png")
    assert [storage.get(key) for key in (first, second, third)] == [b"png", b"pdf", b"text"]
    # What the browser said about it is not believed.
    assert storage.stat(second).attributes.content_type == "application/pdf"


def test_a_download_answers_flask_wsgi_and_asgi(storage: Storage) -> None:
    storage.put('d/Zürich "1".html', b"<script>")
    app = Flask("download")
    app.add_url_rule("/", view_func=lambda: storage.download_response('d/Zürich "1".html'))
    response = Client(app).get("/")
    assert (response.status_code, response.data) == (200, b"<script>")
    assert response.headers["Content-Disposition"] == (
        "attachment; filename=\"Z_rich _1_.html\"; filename*=UTF-8''Z%C3%BCrich%20%221%22.html"
    )
    assert response.headers["Content-Security-Policy"] == "sandbox"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    head = Client(storage.download_response('d/Zürich "1".html')).head("/")
    assert (head.data, head.headers["Content-Length"]) == (b"", "8")
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(storage.download_response('d/Zürich "1".html')({"method": "GET"}, None, send))
    assert sent[0]["status"] == 200
    assert b"".join(each.get("body", b"") for each in sent) == b"<script>"
    assert sent[-1].get("more_body") is None
    with pytest.raises(NotFound):
        storage.download_response("nothing")


def test_a_media_backend_has_seven_calls(storage: Storage) -> None:
    media = MediaBackend(storage.backend("media"), base_url="https://cdn.example.com")
    key = media.save(b"png", "a b.png", "image/png")
    assert media.exists(key)
    assert media.read(key) == b"png"
    assert media.get_metadata(key)["content_type"] == "image/png"
    assert media.get_url(key) == f"https://cdn.example.com/{key}"
    assert (media.delete(key), media.delete(key)) == (True, False)


def test_a_server_that_cannot_refuse_to_replace_gets_the_whole_file(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = storage.backend("media").driver
    write = driver.write

    class SaysSoLate:
        def __init__(self, writing: Any) -> None:
            self.writing = writing

        def __enter__(self) -> Any:
            return self

        def __exit__(self, *error: Any) -> None:
            self.writing.__exit__(None, None, None)

        def write(self, chunk: bytes) -> None:
            self.writing.write(chunk)

        def commit(self) -> Any:
            raise Unsupported("write", "It cannot refuse to replace.")

    def opens(key: str, *, create_only: bool = False, **options: Any) -> Any:
        writing = write(key, create_only=create_only, **options)
        return SaysSoLate(writing) if create_only else writing

    monkeypatch.setattr(driver, "write", opens)
    file = io.BytesIO(b"skipped, then the content")
    file.seek(len(b"skipped, then "))
    assert storage.get(storage.put_upload(file)) == b"the content"

    class Once(io.BytesIO):
        def seekable(self) -> bool:
            return False

    with pytest.raises(Unsupported):
        storage.put_upload(Once(b"content"))
    assert len(list(storage.list())) == 1
