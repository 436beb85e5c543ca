"""New small files that are flushed together: written without a name, then one flush for all of them, then
their names, then one flush for all names.

A killed program leaves nothing behind, and after a power cut no name is without its content. What replaces a
file is not written in groups: what is there has to be checked right before.
"""

from __future__ import annotations

import hashlib
import os
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Lock

from dashboard.storage.drivers.local.errors import translate
from dashboard.storage.drivers.local.syncing import FileSystem
from dashboard.storage.drivers.local.tmpfile import Named, name_unnamed, open_unnamed, removed_error
from dashboard.storage.drivers.local.tree import Tree, split_key, sync_folder, write_all
from dashboard.storage.drivers.local.writing import LocalWriting
from dashboard.storage.errors import StorageError
from dashboard.storage.types import Written

FEW = 4
"""So few files are flushed one by one: nothing else on the disk has to be written for them."""
SLOW_SECONDS = 2.0
"""A flush that takes longer has others' files to write: then no groups for a while."""
PAUSE_SECONDS = 30.0
_FRESH_SECONDS = 0.5
"""How long a descriptor of the root serves new files, until it is opened and checked again."""
_ATTEMPTS = 50
_BLOCK = 1 << 20


class UnnamedFile:
    """A new file that is complete and has no name. See ``Prepared``. Leaving it is discarding it."""

    __slots__ = ("_discarded", "disk", "file", "folders", "key", "md5", "name", "size")

    def __init__(self, key: str, path: list[bytes], disk: FileSystem, file: int) -> None:
        self.key = key
        *self.folders, self.name = path
        self.disk = disk
        self.file = file
        self.size, self.md5 = 0, ""
        self._discarded = False

    def fill(self, data: bytes, md5: str) -> None:
        """Write the content. Raises ``OSError``."""
        write_all(self.file, data)
        self.size, self.md5 = len(data), md5 or hashlib.md5(data, usedforsecurity=False).hexdigest()

    def receipt(self) -> Written:
        """See ``LocalWriting.commit``. Raises ``OSError``."""
        stored = self.md5 if os.fstat(self.file).st_size == self.size else None
        return Written(self.key, self.size, self.md5, expected_checksum=self.md5, stored_checksum=stored)

    def content(self) -> Iterator[bytes]:
        """Yield what was written. Raises ``OSError``."""
        start = 0
        while block := os.pread(self.file, _BLOCK, start):
            yield block
            start += len(block)

    def discard(self) -> None:
        """See ``Prepared``."""
        if not self._discarded:
            self._discarded = True
            os.close(self.file)
            # An error may live longer, and with it what it was about.
            del self.disk

    def __del__(self) -> None:
        self.discard()


class FileGroups:
    """Prepares and publishes the files of one root. Thread-safe; holds a descriptor of the root only as long
    as there are files without a name."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._lock = Lock()
        self._disk: weakref.ref[FileSystem] | None = None
        self._disk_until = self._paused_until = 0.0
        self._supported = True

    def prepare(self, key: str, data: bytes, md5: str) -> UnnamedFile | None:
        """See ``WritesInGroups``."""
        path = split_key(key)
        if not (self._supported and self._tree.supports_tmpfile) or time.monotonic() < self._paused_until:
            return None
        try:
            disk = self._open_disk()
            if disk is None:
                return None
            file = open_unnamed(disk.fd, readable=True)
            if file is None:
                self._tree.supports_tmpfile = False
                return None
            prepared = UnnamedFile(key, path, disk, file)
            try:
                prepared.fill(data, md5)
            except BaseException:
                prepared.discard()
                raise
            return prepared
        except OSError as error:
            raise translate(error, "write", key) from error

    def _open_disk(self) -> FileSystem | None:
        """Return the file system of the root; the one that this group began with."""
        now = time.monotonic()
        with self._lock:
            disk = self._disk() if self._disk else None
            if disk is not None and now < self._disk_until:
                return disk
        # Opened before anything of the group is written, so that every error of writing it is seen.
        disk = FileSystem(self._tree.open_root("write"))
        if not disk.flushes:
            self._supported = False
            return None
        with self._lock:
            self._disk, self._disk_until = weakref.ref(disk), now + _FRESH_SECONDS
        return disk

    def publish(self, group: Sequence[UnnamedFile]) -> list[Written | StorageError]:
        """See ``WritesInGroups``."""
        with self._lock:
            self._disk = None
        try:
            return _Publication(self._tree, self).run(group)
        finally:
            for each in group:
                each.discard()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Around a flush: see ``SLOW_SECONDS``."""
        began = time.monotonic()
        try:
            yield
        finally:
            now = time.monotonic()
            if now - began > SLOW_SECONDS:
                self._paused_until = now + PAUSE_SECONDS


class _Publication:
    """One group on its way to its names."""

    def __init__(self, tree: Tree, groups: FileGroups) -> None:
        self._tree = tree
        self._groups = groups
        self._results: dict[UnnamedFile, Written | StorageError] = {}
        self._together = False

    def run(self, group: Sequence[UnnamedFile]) -> list[Written | StorageError]:
        """Return a result for each file, in their order."""
        self._together = len(group) > FEW
        parents: list[tuple[int, list[UnnamedFile]]] = []
        try:
            folders: dict[tuple[bytes, ...], list[UnnamedFile]] = {}
            for each in self._flush(group):
                folders.setdefault(tuple(each.folders), []).append(each)
            for path, files in folders.items():
                parents += self._name(list(path), files)
            self._flush_names(parents)
        finally:
            for parent, _ in parents:
                os.close(parent)
        return [self._results[each] for each in group]

    def _fail(self, each: UnnamedFile, error: OSError | StorageError) -> None:
        if isinstance(error, OSError):
            error, cause = translate(error, "write", each.key), error
            error.__cause__ = cause
        self._results[each] = error

    def _flush(self, group: Sequence[UnnamedFile]) -> list[UnnamedFile]:
        """Bring the contents to the disk; return the files of which that is certain."""
        failed = self._flush_disks(group) if self._together else {}
        flushed = []
        for each in group:
            try:
                if each.disk.device in failed:
                    raise failed[each.disk.device]
                if not self._together:
                    os.fsync(each.file)
                flushed.append(each)
            except OSError as error:
                self._fail(each, error)
        return flushed

    def _flush_disks(self, files: Sequence[UnnamedFile]) -> dict[int, OSError]:
        """Flush the file systems of these files; return those that failed. There is more than one only if
        another was mounted meanwhile."""
        failed: dict[int, OSError] = {}
        oldest: dict[int, FileSystem] = {}
        for disk in {each.disk for each in files}:
            oldest[disk.device] = min(disk, oldest.get(disk.device, disk), key=lambda each: each.opened)
        for disk in oldest.values():
            try:
                with self._groups.watched():
                    disk.flush()
            except OSError as error:
                failed[disk.device] = error
        return failed

    def _name(self, folders: list[bytes], files: list[UnnamedFile]) -> list[tuple[int, list[UnnamedFile]]]:
        """Give the files of one folder their names; return its open descriptor, and what it got."""
        opened: list[tuple[int, list[UnnamedFile]]] = []
        left = list(files)
        for _ in range(_ATTEMPTS):
            if not left:
                break
            try:
                parent = self._tree.make_folder(folders, left[0].key, durably=not self._together)
            except (OSError, StorageError) as error:
                self._fail(left.pop(0), error)
                continue
            named: list[UnnamedFile] = []
            opened.append((parent, named))
            left = [each for each in left if not self._name_one(each, parent, named)]
        for each in left:
            self._fail(each, removed_error(each.key))
        if len(named_files(opened)) < len(files):
            self._tree.remove_empty_folders(folders)
        return opened

    def _name_one(self, each: UnnamedFile, parent: int, named: list[UnnamedFile]) -> bool:
        """Return whether the file has a result or its name; not if its folder was removed meanwhile."""
        try:
            receipt = each.receipt()
            match name_unnamed(each.file, parent, each.name, each.key, names=self._tree.names):
                case Named.YES:
                    self._results[each] = receipt
                    named.append(each)
                case Named.FOLDER_REMOVED:
                    return False
                case Named.UNSUPPORTED:
                    self._results[each] = self._write_alone(each)
        except (OSError, StorageError) as error:
            self._fail(each, error)
        return True

    def _write_alone(self, each: UnnamedFile) -> Written:
        """Where a file without a name cannot get one: in a folder on another file system, for example."""
        with LocalWriting(self._tree, each.key, size=each.size, create_only=True) as writing:
            for block in each.content():
                writing.write(block)
            return writing.commit()

    def _flush_names(self, parents: list[tuple[int, list[UnnamedFile]]]) -> None:
        if self._together:
            named = named_files(parents)
            failed = self._flush_disks(named)
            for each in named:
                if each.disk.device in failed:
                    self._fail(each, failed[each.disk.device])
            return
        for parent, files in parents:
            try:
                if files:
                    sync_folder(parent)
            except OSError as error:
                for each in files:
                    self._fail(each, error)


def named_files(parents: list[tuple[int, list[UnnamedFile]]]) -> list[UnnamedFile]:
    """Return the files of all these folders."""
    return [each for _, files in parents for each in files]
