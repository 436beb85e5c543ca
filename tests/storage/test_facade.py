"""``Storage`` and ``Backend``: what application code sees."""

from __future__ import annotations

from pathlib import Path

import pytest

from dashboard.errors import InvalidInput
from dashboard.storage import Backend, Storage
from dashboard.storage.driver import Driver
from dashboard.storage.errors import NotFound, PlaceMissing, Unsupported
from dashboard.storage.registry import build
from dashboard.storage.types import Attributes


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    (tmp_path / "media").mkdir()

    def resolve(name: str) -> Driver:
        if name not in ("media", "missing"):
            raise InvalidInput("backend", f"There is no backend “{name}”.")
        return build("local", {"root": str(tmp_path / name)})

    return Storage(resolve)


def test_a_backend_is_found_by_name_and_kept(storage: Storage) -> None:
    media = storage.backend("media")
    assert isinstance(media, Backend)
    assert media.name == "media"
    assert storage.backend("media") is media
    assert storage.disk("media") is media
    storage.forget("media")
    assert storage.backend("media") is not media
    with pytest.raises(InvalidInput):
        storage.backend("nowhere")
    storage.close()
    storage.close()


def test_the_everyday_calls(storage: Storage) -> None:
    media = storage.backend("media")
    media.put("hello.txt", "Grüße", attributes=Attributes(content_type="text/plain"))
    assert media.get("hello.txt").decode() == "Grüße"
    assert media.exists("hello.txt")
    assert not media.exists("bye.txt")
    assert media.stat("hello.txt").size == 7
    with media.write_stream("a/b", size=6) as writing:
        writing.write(b"stream")
        writing.commit()
    with media.read_stream("a/b") as reading:
        assert b"".join(reading.chunks()) == b"stream"
    assert [entry.key for entry in media.list("a/")] == ["a/b"]
    media.delete("a/b")
    media.delete("a/b")
    with pytest.raises(NotFound):
        media.get("a/b")


def test_copy_and_move_within_a_backend(storage: Storage) -> None:
    media = storage.backend("media")
    media.put("a", b"content")
    receipt = media.copy("a", "b/c")
    assert receipt is not None
    assert receipt.proven
    assert media.get("b/c") == b"content"
    media.move("a", "d")
    assert not media.exists("a")
    media.move("d", "d")
    assert media.copy("d", "d") is None
    assert media.get("d") == b"content"
    with pytest.raises(NotFound):
        media.move("gone", "x")
    assert sorted(entry.key for entry in media.list()) == ["b/c", "d"]


def test_addresses_are_unsupported_on_a_disk(storage: Storage) -> None:
    media = storage.backend("media")
    for call in (media.url, media.temporary_url):
        with pytest.raises(Unsupported) as caught:
            call("a")
        assert caught.value.reason


def test_an_unmounted_disk_is_not_an_absent_object(storage: Storage) -> None:
    with pytest.raises(PlaceMissing):
        storage.backend("missing").exists("a")
