"""The folder of derivatives: made once, named by content, bounded, and removed with their file."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Barrier
from typing import BinaryIO

import pytest

from dashboard.errors import InvalidInput
from dashboard.media.derivatives import DerivativeStore
from dashboard.media.pipeline import Derived, Pipeline
from dashboard.media.recipes import RECIPES, ImageFormat, parse_recipe
from dashboard.media.sandbox import MediaError, Sandbox
from dashboard.storage.errors import Damaged
from tests.media.samples import corners, encoded, opened

PHOTO = encoded(corners((640, 480)), "JPEG")
DIGEST = hashlib.sha256(PHOTO).hexdigest()
SMALL = RECIPES["small"]


@pytest.fixture(scope="module")
def pipeline() -> Iterator[Pipeline]:
    sandbox = Sandbox()
    yield Pipeline(sandbox)
    sandbox.close()


class StoredPhoto:
    """A stored file; counts how often it is opened."""

    def __init__(self, content: bytes = PHOTO) -> None:
        self.content = content
        self.opened = 0

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        self.opened += 1
        yield io.BytesIO(self.content)


def store_in(folder: Path, pipeline: Pipeline, **options: object) -> DerivativeStore:
    return DerivativeStore(folder / "derived", pipeline, **options)  # type: ignore[arg-type]


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("derived/??/*/*"))


def test_a_thumbnail_is_made_once_and_found_again(tmp_path: Path, pipeline: Pipeline) -> None:
    store, source = store_in(tmp_path, pipeline), StoredPhoto()
    assert store.find(DIGEST, SMALL) is None
    made = store.thumbnail(DIGEST, SMALL, source.open, name="a.jpg")
    assert (made.content_type, made.size) == ("image/jpeg", made.path.stat().st_size)
    assert opened(made.path.read_bytes()).size == (150, 112)
    assert store.thumbnail(DIGEST, SMALL, source.open) == made
    assert store_in(tmp_path, pipeline).find(DIGEST, SMALL) == made
    assert source.opened == 1
    other = store.thumbnail(DIGEST, parse_recipe("50x50-crop-webp"), source.open)
    assert (other.content_type, opened(other.path.read_bytes()).size) == ("image/webp", (50, 50))
    assert other.etag != made.etag


def test_concurrent_makers_make_one(tmp_path: Path, pipeline: Pipeline) -> None:
    source, ready = StoredPhoto(), Barrier(8)

    def make(_: int) -> str:
        store = store_in(tmp_path, pipeline)
        ready.wait()
        return str(store.thumbnail(DIGEST, SMALL, source.open).path)

    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(make, range(8)))) == 1
    assert source.opened == 1
    assert len(files_in(tmp_path)) == 1


def test_other_content_than_asked_for_is_never_shown(tmp_path: Path, pipeline: Pipeline) -> None:
    store = store_in(tmp_path, pipeline)
    with pytest.raises(Damaged):
        store.thumbnail(DIGEST, SMALL, StoredPhoto(encoded(corners(), "PNG")).open, name="a.jpg")
    assert files_in(tmp_path) == []


def test_a_file_of_which_nothing_can_be_made_is_not_decoded_again_for_a_day(
    tmp_path: Path, pipeline: Pipeline
) -> None:
    now = [1_000_000.0]
    store, source = store_in(tmp_path, pipeline, clock=lambda: now[0]), StoredPhoto(PHOTO[:2000])
    digest = hashlib.sha256(source.content).hexdigest()
    for _ in range(3):
        with pytest.raises(MediaError) as raised:
            store.thumbnail(digest, SMALL, source.open)
        assert raised.value.cause == "broken"
    assert source.opened == 1
    now[0] += 25 * 3600
    with pytest.raises(MediaError):
        store.thumbnail(digest, SMALL, source.open)
    assert source.opened == 2
    text = StoredPhoto(b"no image")
    digest = hashlib.sha256(text.content).hexdigest()
    with pytest.raises(MediaError) as raised:
        store.thumbnail(digest, SMALL, text.open)
    assert raised.value.cause == "unsupported"


def test_the_least_recently_used_go_first(tmp_path: Path, pipeline: Pipeline) -> None:
    now = [1_000_000.0]
    store = store_in(tmp_path, pipeline, max_bytes=10_000, clock=lambda: now[0])
    digests = [hashlib.sha256(bytes([n])).hexdigest() for n in range(12)]
    for digest in digests[:9]:
        now[0] += 4000
        store.keep(digest, Derived(SMALL, ImageFormat.PNG, bytes(1000), 1, 1))
    now[0] += 4000
    assert store.find(digests[0], SMALL) is not None
    for digest in digests[9:]:
        now[0] += 4000
        store.keep(digest, Derived(SMALL, ImageFormat.PNG, bytes(1000), 1, 1))
    kept = [store.find(digest, SMALL) is not None for digest in digests]
    assert kept == [True, False, False, *[True] * 9]
    assert store.used_bytes() <= 10_000


def test_derivatives_go_with_their_file(tmp_path: Path, pipeline: Pipeline) -> None:
    now = [1_000_000.0]
    store = store_in(tmp_path, pipeline, clock=lambda: now[0])
    digests = [hashlib.sha256(bytes([n])).hexdigest() for n in range(3)]
    for digest in digests:
        store.keep(digest, Derived(SMALL, ImageFormat.PNG, b"png", 1, 1))
    store.remove(digests[0])
    store.remove(digests[0])
    leftover = tmp_path / "derived" / digests[1][:2] / digests[1] / ".new-interrupted"
    leftover.write_bytes(b"half")
    os.utime(leftover, (now[0] - 4000, now[0] - 4000))
    # Made a moment ago: its file may be about to be stored.
    assert store.sweep(lambda some: [digests[1]]) == 0
    for digest in digests[1:]:
        folder = tmp_path / "derived" / digest[:2] / digest
        os.utime(folder, (now[0] - 4000, now[0] - 4000))
    assert store.sweep(lambda some: [digests[1]], stop=lambda: True) == 0
    assert store.sweep(lambda some: [digests[1]]) == 1
    assert not leftover.exists()
    assert [store.find(digest, SMALL) is not None for digest in digests] == [False, True, False]


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "A" * 64, "0" * 63, "0" * 64 + "\n"])
def test_only_checksums_name_folders(tmp_path: Path, pipeline: Pipeline, name: str) -> None:
    with pytest.raises(InvalidInput):
        store_in(tmp_path, pipeline).find(name, SMALL)


def test_a_killed_maker_leaves_nothing_half_visible(tmp_path: Path, pipeline: Pipeline) -> None:
    """Killed between writing and renaming: the lock is free again, and the thumbnail is made anew."""
    script = """
import os, signal, sys, io, contextlib, json
from pathlib import Path
from dashboard.media.derivatives import DerivativeStore
from dashboard.media.pipeline import Pipeline
from dashboard.media.recipes import RECIPES
from dashboard.media.sandbox import Sandbox
folder, photo, digest = json.loads(sys.argv[1])
Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
data = Path(photo).read_bytes()
store = DerivativeStore(Path(folder), Pipeline(Sandbox()))
store.thumbnail(digest, RECIPES["small"], lambda: contextlib.closing(io.BytesIO(data)))
"""
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(PHOTO)
    arguments = json.dumps([str(tmp_path / "derived"), str(photo), DIGEST])
    ran = subprocess.run([sys.executable, "-c", script, arguments], check=False, timeout=60)
    assert ran.returncode == -9
    assert [name[:5] for name in files_in(tmp_path)] == [".new-"]
    store = store_in(tmp_path, pipeline)
    assert store.find(DIGEST, SMALL) is None
    assert store.thumbnail(DIGEST, SMALL, StoredPhoto().open).size > 100
