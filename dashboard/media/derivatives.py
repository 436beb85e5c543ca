"""Thumbnails and other images made from stored files, in a folder.

Each is named by the SHA-256 of its source and its recipe: moving or renaming a file keeps them, two copies of
a file share them, and new content never gets an old thumbnail. All of them can be made again, so losing the
folder loses nothing.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from dashboard.errors import InvalidInput
from dashboard.media.pipeline import Derived, Pipeline, hash_content
from dashboard.media.recipes import CONTENT_TYPES, REVISION, ImageFormat, Recipe
from dashboard.media.sandbox import MediaError
from dashboard.media.sizes import GB
from dashboard.media.sniffing import compare, sniff
from dashboard.storage.errors import Damaged

_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_FAILED = f"failed-r{REVISION}.json"
_FAILED_SECONDS = 24 * 3600
"""For how long a file of which nothing could be made is not tried again."""
_TOUCH_SECONDS = 3600
_STALE_SECONDS = 3600
_SWEPT_AT_ONCE = 500
_COUNT_AGAIN_SECONDS = 600
_FULL_TO = 0.9
"""To which part of the limit the folder is emptied when it is exceeded."""


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A derivative in the folder. ``etag`` changes when its bytes do; it never does for the same name."""

    path: Path
    content_type: str
    size: int
    etag: str


class DerivativeStore:
    """Derivatives below ``folder``, at most ``max_bytes`` together: the least recently used go first.

    Safe for many threads and processes: each file appears complete or not at all, and concurrent makers of
    one make it once. ``clock``: seconds since the epoch.
    """

    def __init__(
        self,
        folder: Path,
        pipeline: Pipeline,
        *,
        max_bytes: int = 2 * GB,
        max_pixels: int = 100_000_000,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._folder = folder
        self._pipeline = pipeline
        self._max_bytes = max_bytes
        self._max_pixels = max_pixels
        self._clock = clock
        self._used: int | None = None
        self._counted_at = 0.0

    def find(self, sha256: str, recipe: Recipe) -> Thumbnail | None:
        """Return what was made before, or None. Reads no source."""
        folder = self._folder_of(sha256)
        for chosen in (recipe.format,) if recipe.format else ImageFormat:
            path = folder / f"{recipe.key}.{chosen}"
            with suppress(OSError):
                status = path.stat()
                if status.st_size:
                    self._touch(path, status.st_mtime)
                    etag = f'"{sha256[:32]}-{recipe.key}"'
                    return Thumbnail(path, CONTENT_TYPES[chosen], status.st_size, etag)
        return None

    def thumbnail(
        self,
        sha256: str,
        recipe: Recipe,
        open_source: Callable[[], AbstractContextManager[BinaryIO]],
        *,
        name: str = "",
    ) -> Thumbnail:
        """Return the derivative, made now if it does not exist. Idempotent.

        ``open_source`` opens the source, which must have this SHA-256 and be able to seek; ``name``: what it
        is called. Raises ``MediaError`` if nothing can be made of it, also without trying for a day after a
        failure; ``Damaged`` if the source is not the file that was asked for; ``SandboxError``; and whatever
        opening and reading the source raises.
        """
        if found := self.find(sha256, recipe):
            return found
        with self._only_one(sha256):
            if found := self.find(sha256, recipe):
                return found
            self._raise_known_failure(sha256)
            with open_source() as content:
                if hash_content(content) != sha256:
                    raise Damaged(name, "The file is no longer what the catalogue says it is.")
                row = sniff(content)
                try:
                    [made] = self._pipeline.derive(
                        content, compare(name, row) or row, [recipe], max_pixels=self._max_pixels
                    )
                except MediaError as error:
                    self._write(sha256, _FAILED, json.dumps([error.cause, error.details]).encode())
                    raise
            self.keep(sha256, made)
        found = self.find(sha256, recipe)
        if found is None:
            # Removed in this instant, with its file or because the folder is full.
            raise Damaged(name, "The file was removed meanwhile.")
        return found

    def keep(self, sha256: str, derived: Derived) -> None:
        """Store a derivative that was made ahead. Replaces the same one."""
        self._write(sha256, f"{derived.recipe.key}.{derived.format}", derived.data)
        self._make_room(len(derived.data))

    def remove(self, sha256: str) -> None:
        """Remove everything made from this source; for when no file has this content any more. Idempotent."""
        shutil.rmtree(self._folder_of(sha256), ignore_errors=True)

    def sweep(
        self, known: Callable[[Sequence[str]], Collection[str]], stop: Callable[[], bool] = lambda: False
    ) -> int:
        """Remove what belongs to sources that are not known any more, and what interrupted writes left
        behind; return the number of sources. What is younger than an hour stays: its file may be about to be
        stored. ``known`` returns those of up to 500 SHA-256 that are. ``stop`` ends it early without harm."""
        removed = 0
        sources = self._sources()
        while not stop() and (some := {folder.name: folder for folder in islice(sources, _SWEPT_AT_ONCE)}):
            still = set(known(list(some)))
            for sha256, folder in some.items():
                for leftover in folder.glob(".new-*"):
                    if self._is_old(leftover):
                        leftover.unlink(missing_ok=True)
                if sha256 not in still and self._is_old(folder):
                    shutil.rmtree(folder, ignore_errors=True)
                    removed += 1
        return removed

    def _is_old(self, path: Path) -> bool:
        try:
            return self._clock() - path.stat().st_mtime > _STALE_SECONDS
        except OSError:
            return False

    def used_bytes(self) -> int:
        """Return how many bytes the derivatives have together, from a look at all of them."""
        return sum(size for _, size, _ in self._files())

    def _folder_of(self, sha256: str) -> Path:
        if not _SHA256.match(sha256):
            raise InvalidInput("sha256", f"“{sha256[:80]}” is no SHA-256.")
        return self._folder / sha256[:2] / sha256

    def _touch(self, path: Path, modified: float) -> None:
        """Remember that it was used, at most once an hour."""
        now = self._clock()
        if now - modified > _TOUCH_SECONDS:
            with suppress(OSError):
                os.utime(path, (now, now))

    @contextmanager
    def _only_one(self, sha256: str) -> Iterator[None]:
        """One maker for each source at a time, in all processes: the others wait, and find what it made."""
        locks = self._folder / "locks"
        locks.mkdir(parents=True, exist_ok=True)
        # 256 files, never removed: a lock on a file that somebody removes protects nothing.
        with (locks / sha256[:2]).open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _raise_known_failure(self, sha256: str) -> None:
        path = self._folder_of(sha256) / _FAILED
        try:
            if self._clock() - path.stat().st_mtime > _FAILED_SECONDS:
                return
            cause, details = json.loads(path.read_bytes())
        except (OSError, ValueError):
            return
        raise MediaError(cause, details, limits=self._pipeline.sandbox.limits)

    def _write(self, sha256: str, name: str, data: bytes) -> None:
        folder = self._folder_of(sha256)
        try:
            self._write_into(folder, name, data)
        except FileNotFoundError:
            # The folder was removed in between, by somebody who knew nothing of this.
            self._write_into(folder, name, data)

    def _write_into(self, folder: Path, name: str, data: bytes) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor, path = tempfile.mkstemp(prefix=".new-", dir=folder)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            now = self._clock()
            os.utime(path, (now, now))
            Path(path).replace(folder / name)
        except BaseException:
            with suppress(OSError):
                Path(path).unlink()
            raise

    def _make_room(self, added: int) -> None:
        """Count again now and then, because other processes write too."""
        now = self._clock()
        if self._used is None or now - self._counted_at > _COUNT_AGAIN_SECONDS:
            self._used, self._counted_at = self.used_bytes(), now
        else:
            self._used += added
        if self._used <= self._max_bytes:
            return
        files = sorted(self._files())
        self._used = sum(size for _, size, _ in files)
        for _, size, path in files:
            if self._used <= self._max_bytes * _FULL_TO:
                break
            with suppress(OSError):
                path.unlink()
                self._used -= size

    def _sources(self) -> Iterator[Path]:
        for folder in self._folder.glob("??/*"):
            if _SHA256.match(folder.name):
                yield folder

    def _files(self) -> Iterator[tuple[float, int, Path]]:
        """When it was used last, bytes, path."""
        for folder in self._sources():
            for path in folder.glob("*"):
                with suppress(OSError):
                    status = path.stat()
                    yield status.st_mtime, status.st_size, path
