"""The power is cut at every moment of many writes: what was acknowledged is there, and nothing is half there.

The calls that reach the disk are recorded while real threads write. A model then replays them to every cut,
once as a disk that kept only what was flushed, and once as one that kept every name and lost all contents
that were not flushed.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from dashboard.storage.drivers.local import syncing
from dashboard.storage.drivers.local.driver import LocalDriver
from dashboard.storage.types import Written

Name = tuple[int, bytes]
"""The inode of a folder, and a name in it. No folder is deleted here."""
File = tuple[int, int]
"""An inode, and how often its number was given."""


class CallRecorder:
    """What was called, in order. ``flushes``: whether a flush of this descriptor counts; ``syncs``: whether
    the one of the file system with this number does."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        flushes: Callable[[int], bool] = lambda fd: True,
        syncs: Callable[[int], bool] = lambda number: True,
    ) -> None:
        self.events: list[tuple[Any, ...]] = []
        self._lock = threading.Lock()
        self._flushes = flushes
        self._real = {
            name: getattr(os, name) for name in ("open", "write", "fsync", "link", "rename", "mkdir")
        }
        for name in self._real:
            monkeypatch.setattr(os, name, getattr(self, name))
        self._syncs, self._counted_syncs = syncs, count()
        monkeypatch.setattr(syncing, "sync_file_system", self.sync)

    def note(self, *event: Any) -> None:
        with self._lock:
            self.events.append(event)

    def open(self, path: Any, flags: int, *args: Any, **more: Any) -> int:
        fd: int = self._real["open"](path, flags, *args, **more)
        if flags & os.O_CREAT or flags & os.O_TMPFILE == os.O_TMPFILE:
            self.note("new", os.fstat(fd).st_ino)
        return fd

    def write(self, fd: int, data: Any) -> int:
        inode = os.fstat(fd).st_ino
        self.note("dirty", inode)
        written: int = self._real["write"](fd, data)
        self.note("wrote", inode)
        return written

    def sync(self, fd: int) -> None:
        turn = object()
        self.note("sync", turn)
        # What is flushed is what the model says; others write now.
        time.sleep(0)
        if self._syncs(next(self._counted_syncs)):
            self.note("synced", turn)

    def fsync(self, fd: int) -> None:
        inode, turn = os.fstat(fd).st_ino, object()
        self.note("flush", turn, inode)
        time.sleep(0)
        if self._flushes(fd):
            self.note("flushed", turn, inode)

    def link(self, src: Any, dst: bytes, *, dst_dir_fd: int, **more: Any) -> None:
        self._name("link", src, dst, dst_dir_fd, more)

    def rename(self, src: Any, dst: bytes, *, dst_dir_fd: int, **more: Any) -> None:
        self._name("rename", src, dst, dst_dir_fd, more)

    def _name(self, call: str, src: Any, dst: bytes, folder: int, more: dict[str, Any]) -> None:
        inode = os.stat(src, dir_fd=more.get("src_dir_fd")).st_ino
        place = (os.fstat(folder).st_ino, dst)
        self.note("naming", place, inode)
        self._real[call](src, dst, dst_dir_fd=folder, **more)
        self.note("named", place, inode)

    def mkdir(self, path: bytes, mode: int = 0o777, *, dir_fd: int) -> None:
        # Another thread that finds the folder counts on it.
        with self._lock:
            self._real["mkdir"](path, mode, dir_fd=dir_fd)
            place, inode = (os.fstat(dir_fd).st_ino, path), os.stat(path, dir_fd=dir_fd).st_ino
            self.events += [("new", inode), ("naming", place, inode), ("named", place, inode)]


@dataclass
class CutModel:
    """What a power cut may leave of the calls so far."""

    root: int
    dirty: set[File] = field(default_factory=set)
    writing: set[File] = field(default_factory=set)
    pending: dict[Name, File] = field(default_factory=dict)
    durable: dict[Name, File] = field(default_factory=dict)
    visible: dict[Name, File] = field(default_factory=dict)
    begun: dict[object, tuple[set[File], dict[Name, File]]] = field(default_factory=dict)
    promised: set[Name] = field(default_factory=set)
    births: Counter[int] = field(default_factory=Counter)
    cuts: int = 0

    def apply(self, event: tuple[Any, ...]) -> None:
        match event:
            case ("new", inode):
                self.births[inode] += 1
            case ("dirty", inode):
                self.dirty.add(self.file(inode))
                self.writing.add(self.file(inode))
                for flushed, _ in self.begun.values():
                    flushed.discard(self.file(inode))
            case ("wrote", inode):
                self.writing.discard(self.file(inode))
            case ("flush", turn, inode):
                # What is written during a flush is not certain to be in it.
                names = {place: there for place, there in self.pending.items() if place[0] == inode}
                self.begun[turn] = ({self.file(inode)} - self.writing, names)
            case ("sync", turn):
                self.begun[turn] = (self.dirty - self.writing, dict(self.pending))
            case ("flushed", turn, _) | ("synced", turn):
                flushed, names = self.begun.pop(turn)
                self.dirty -= flushed
                self.durable |= names
            case ("naming", place, inode):
                self.visible[place] = self.file(inode)
            case ("named", place, inode):
                self.pending[place] = self.file(inode)
            case ("stored", path):
                self.promise(path)
        self.cuts += 1
        self.cut()

    def file(self, inode: int) -> File:
        """The file that has this number now: that of a deleted file is given again."""
        return inode, self.births[inode]

    def promise(self, path: bytes) -> None:
        """From now on each part of this path has to survive."""
        folder = self.root
        for part in path.split(b"/"):
            assert (folder, part) in self.durable, (
                f"{path!r} was acknowledged, and {part!r} is not on the disk"
            )
            self.promised.add((folder, part))
            folder = self.durable[folder, part][0]

    def cut(self) -> None:
        """The power is cut now."""
        assert self.promised <= self.durable.keys()
        for image in (self.durable, self.visible):
            half = [place for place, file in image.items() if file in self.dirty]
            assert not half, f"{half} has its name, and its content is not on the disk"


def replay(root: Path, events: list[tuple[Any, ...]]) -> CutModel:
    model = CutModel(root.stat().st_ino)
    for event in events:
        model.apply(event)
    return model


def store_many(root: Path, recorder: CallRecorder, *, tmpfile: bool) -> None:
    """New files in new folders and replaced ones, by eight threads."""
    driver = LocalDriver(str(root))
    driver._tree.supports_tmpfile = tmpfile

    def store(number: int) -> None:
        pair = number // 2
        key = f"folder {pair % 5}/{pair % 3}/object {pair:03}"
        driver.put(key, b"x" * (100 + number), create_only=number % 2 == 0)
        recorder.note("stored", key.encode())

    for half in (range(0, 80, 2), range(1, 80, 2)):
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(store, half))


def store_groups(root: Path, recorder: CallRecorder) -> None:
    """New files in new folders: groups of three threads, and single files of two others beside them."""
    driver = LocalDriver(str(root))

    def store(number: int) -> None:
        keys = [f"folder {each % 5}/{each % 3}/object {number} {each:02}" for each in range(16)]
        if number < 2:
            for key in keys:
                driver.put(key, b"x" * 100, create_only=True)
                recorder.note("stored", key.encode())
            return
        for some in (keys[:12], keys[12:]):
            prepared = [driver.prepare(key, b"x" * (100 + number)) for key in some]
            for receipt in driver.publish([each for each in prepared if each is not None]):
                assert isinstance(receipt, Written)
                recorder.note("stored", receipt.key.encode())

    with ThreadPoolExecutor(5) as pool:
        list(pool.map(store, range(8)))


@pytest.mark.parametrize("tmpfile", [True, False])
def test_a_power_cut_at_any_moment_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tmpfile: bool
) -> None:
    recorder = CallRecorder(monkeypatch)
    store_many(tmp_path, recorder, tmpfile=tmpfile)
    monkeypatch.undo()
    model = replay(tmp_path, recorder.events)
    assert sum(event[0] == "stored" for event in recorder.events) == 80
    assert model.cuts == len(recorder.events) > 500


@pytest.mark.parametrize(
    ("folders", "lost"), [(True, "is not on the disk"), (False, "has its name, and its")]
)
def test_the_model_notices_a_flush_that_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folders: bool, lost: str
) -> None:
    """Of folders, or of files."""
    skip = os.path.isdir if folders else os.path.isfile
    recorder = CallRecorder(monkeypatch, flushes=lambda fd: not skip(fd))
    store_many(tmp_path, recorder, tmpfile=False)
    monkeypatch.undo()
    with pytest.raises(AssertionError, match=lost):
        replay(tmp_path, recorder.events)


needs_groups = pytest.mark.skipif(syncing._LIBC is None, reason="files are flushed together on Linux only")


@needs_groups
def test_a_power_cut_at_any_moment_loses_nothing_of_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(syncing.FileSystem, "flushes", True)
    recorder = CallRecorder(monkeypatch)
    store_groups(tmp_path, recorder)
    monkeypatch.undo()
    model = replay(tmp_path, recorder.events)
    assert sum(event[0] == "stored" for event in recorder.events) == 128
    # Two flushes for each group of twelve; those of four are flushed one by one.
    assert sum(event[0] == "synced" for event in recorder.events) == 12
    assert model.cuts == len(recorder.events) > 500


@needs_groups
@pytest.mark.parametrize(("missing", "lost"), [(1, "is not on the disk"), (0, "has its name, and its")])
def test_the_model_notices_a_flush_of_a_group_that_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: int, lost: str
) -> None:
    """Of the names, or of the contents."""
    monkeypatch.setattr(syncing.FileSystem, "flushes", True)
    recorder = CallRecorder(monkeypatch, syncs=lambda number: number % 2 != missing)
    driver = LocalDriver(str(tmp_path))
    prepared = [driver.prepare(f"folder/{number}", b"x") for number in range(8)]
    for receipt in driver.publish([each for each in prepared if each is not None]):
        assert isinstance(receipt, Written)
        recorder.note("stored", receipt.key.encode())
    monkeypatch.undo()
    with pytest.raises(AssertionError, match=lost):
        replay(tmp_path, recorder.events)
