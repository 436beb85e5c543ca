"""``Storage`` and ``Backend``: what application code sees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dashboard.errors import InvalidInput
from dashboard.storage import Backend, Storage, copying
from dashboard.storage.driver import Driver, Reading
from dashboard.storage.drivers.memory import MemoryDriver
from dashboard.storage.errors import Changed, ContainerMissing, NotFound, Unsupported
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


def test_a_move_keeps_what_was_written_after_it_was_copied(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    media = storage.backend("media")
    media.put("a", b"first")
    real = copying.copy_object

    def and_then_somebody_writes(*args: Any, **more: Any) -> copying.Copied:
        copied = real(*args, **more)
        media.put("a", b"newer")
        return copied

    monkeypatch.setattr(copying, "copy_object", and_then_somebody_writes)
    with pytest.raises(Changed):
        media.move("a", "b")
    assert media.get("a") == b"newer"


def test_addresses_are_unsupported_on_a_disk(storage: Storage) -> None:
    media = storage.backend("media")
    for call in (media.url, media.temporary_url):
        with pytest.raises(Unsupported) as caught:
            call("a")
        assert caught.value.reason


def test_an_unmounted_disk_is_not_an_absent_object(storage: Storage) -> None:
    with pytest.raises(ContainerMissing):
        storage.backend("missing").exists("a")


class Replaced(MemoryDriver):
    """Its object is replaced under the first reads of it."""

    times = 0

    def read(self, key: str, *, if_version: str | None = None) -> Reading:
        if self.times:
            self.times -= 1
            raise Changed(key)
        return super().read(key, if_version=if_version)


def test_what_is_replaced_while_it_is_read_is_read_again() -> None:
    place = Replaced()
    place.put("a", b"new")
    backend = Backend("media", place)
    place.times = 4
    assert backend.get("a") == b"new"
    place.times = 5
    with pytest.raises(Changed):
        backend.get("a")
    place.times = 1
    with pytest.raises(Changed):
        backend.read_stream("a")


@pytest.mark.parametrize(
    ("options", "field"),
    [({"fallback": True}, "fallback"), ({"cache": True}, "cache"), ({"cache": "on"}, "cache")],
)
def test_what_needs_a_console_is_refused_without_one(
    tmp_path: Path, options: dict[str, bool | str], field: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        Storage().configure("media", "local", root=str(tmp_path), **options)
    assert caught.value.subject == field
    assert "console" in caught.value.remedy
    with pytest.raises(InvalidInput):
        Storage.from_mapping({"backends": {"media": {"driver": "local", "root": str(tmp_path), **options}}})
    Storage().configure(
        "media", "local", root=str(tmp_path), cache=True, cache_redis="redis://127.0.0.1:1/0", fallback="off"
    )
