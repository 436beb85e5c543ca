"""Atomic writes: temporary file, fsync, rename, fsync of the folder.

Temporary files are in ``.stowage-tmp`` in the root, or, if a folder is on another file system (a mount, a
btrfs subvolume), in a ``.stowage-tmp`` of that folder. Their names contain a hash of the key and the time the
write began, so that leftovers of a killed program can be found by key.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import stat
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

from dashboard.storage.drivers.common.path_errors import removed_meanwhile_error, wrong_size_error
from dashboard.storage.drivers.local.errors import translate
from dashboard.storage.drivers.local.tree import (
    ABSENT,
    OPEN_FOLDER,
    TEMPORARY,
    UNLINKABLE,
    Tree,
    path_conflict_error,
    split_key,
    sync_folder,
    write_all,
)
from dashboard.storage.errors import Exists, InvalidKey, StorageError, Unsupported
from dashboard.storage.paths import key_bytes
from dashboard.storage.types import Written

_CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_ATTEMPTS = 50
_BLOCK = 1 << 20
_WRITEBACK_BYTES = 16 * _BLOCK
_ADVISES = hasattr(os, "posix_fadvise")
_MD5_DIGITS = 32


def _hash(key: str) -> bytes:
    return hashlib.sha256(key_bytes(key)).hexdigest()[:32].encode()


class LocalWriting:
    """One open write. Not for use from two threads at once."""

    def __init__(self, tree: Tree, key: str, *, size: int | None, create_only: bool) -> None:
        self._tree = tree
        self._key = key
        self._segments = split_key(key)
        self._expected = size
        self._create_only = create_only
        self._md5: hashlib._Hash | None = hashlib.md5(usedforsecurity=False)
        self._size = 0
        self._handed_on = 0
        began = int(time.time() * 1000)
        self._name = b"%s.%x.%s" % (_hash(key), began, secrets.token_hex(6).encode())
        self._closed = False
        self._named = True
        try:
            root = tree.open_root("write")
            try:
                self._folder, self._file = _create(root, self._name)
            finally:
                os.close(root)
        except OSError as error:
            raise translate(error, "write", key) from error

    def write(self, chunk: bytes) -> None:
        """Append to the file. Raises ``StorageError`` of kind ``full`` and others."""
        try:
            write_all(self._file, chunk)
        except OSError as error:
            raise translate(error, "write", self._key) from error
        if self._md5 is not None:
            self._md5.update(chunk)
        self._size += len(chunk)
        if self._size - self._handed_on >= _WRITEBACK_BYTES:
            self._hand_on()

    def take_checksum(self, checksum: Callable[[], str]) -> None:
        """See ``TakesChecksum``."""
        self._md5, self._checksum = None, checksum

    def _hand_on(self) -> None:
        """Let the disk write what is complete while the rest arrives, so that the end need not wait."""
        if _ADVISES:
            # Only an improvement: not every file system takes advice.
            with contextlib.suppress(OSError):
                os.posix_fadvise(
                    self._file, self._handed_on, self._size - self._handed_on, os.POSIX_FADV_DONTNEED
                )
        self._handed_on = self._size

    def commit(self) -> Written:
        """Sync the file, rename it into place, sync the folder. ``stored_checksum`` says that the file system
        stored as many bytes as were written; only a read-back proves every byte."""
        key = self._key
        digest = self._checksum() if self._md5 is None else self._md5.hexdigest()
        if self._expected is not None and self._size != self._expected:
            raise wrong_size_error(key, self._expected, self._size)
        try:
            os.fsync(self._file)
            held = os.fstat(self._file).st_size
            self._publish()
        except OSError as error:
            raise translate(error, "write", key) from error
        finally:
            self._discard()
        stored = digest if held == self._size else None
        md5 = digest if len(digest) == _MD5_DIGITS else ""
        return Written(key=key, size=self._size, md5=md5, expected_checksum=digest, stored_checksum=stored)

    def _publish(self) -> None:
        """Give the temporary file its name; retries if a folder was removed at the same moment."""
        for attempt in range(_ATTEMPTS):
            try:
                parent = self._tree.make_folder(self._segments[:-1], self._key)
                try:
                    with self._tree.names.exclusive_rename(parent, self._segments[-1]):
                        self._refuse_non_regular(parent)
                        self._rename_into_place(parent)
                        self._tree.names.detect(parent, self._segments[-1])
                    sync_folder(parent)
                    return
                finally:
                    os.close(parent)
            except FileNotFoundError as error:
                if os.fstat(self._file).st_nlink == 0 or attempt == _ATTEMPTS - 1:
                    raise removed_meanwhile_error("unfinished file", self._key) from error

    def _refuse_non_regular(self, parent: int) -> None:
        """Refuse to replace a link, folder or device; ``rename`` itself would replace a link."""
        with contextlib.suppress(FileNotFoundError):
            found = os.stat(self._segments[-1], dir_fd=parent, follow_symlinks=False)
            if not stat.S_ISREG(found.st_mode):
                raise path_conflict_error(self._key, self._key)
            self._tree.names.refuse_collision(parent, self._segments[-1], self._key)

    def _rename_into_place(self, parent: int) -> None:
        try:
            self._rename(parent)
        except OSError as error:
            if error.errno in (errno.EISDIR, errno.ENOTEMPTY):
                raise path_conflict_error(self._key, self._key) from error
            if error.errno != errno.EXDEV:
                raise
            self._copy_across_filesystems(parent)
            self._rename(parent)

    def _rename(self, parent: int) -> None:
        name = self._segments[-1]
        if not self._create_only:
            os.rename(self._name, name, src_dir_fd=self._folder, dst_dir_fd=parent)
            self._named = False
            return
        try:
            os.link(self._name, name, src_dir_fd=self._folder, dst_dir_fd=parent, follow_symlinks=False)
        except FileExistsError as error:
            self._tree.names.refuse_collision(parent, name, self._key)
            raise Exists(self._key) from error
        except OSError as error:
            if error.errno in UNLINKABLE:
                raise Unsupported(
                    "write", "This disk's file system cannot create a file only where there is none."
                ) from error
            raise

    def _copy_across_filesystems(self, parent: int) -> None:
        """Copy the bytes into a temporary file on the file system of the target folder."""
        folder, file = _create(parent, self._name)
        try:
            os.lseek(self._file, 0, os.SEEK_SET)
            while block := os.read(self._file, _BLOCK):
                write_all(file, block)
            os.fsync(file)
        except BaseException:
            _remove(folder, self._name)
            os.close(folder)
            os.close(file)
            raise
        self._discard()
        self._folder, self._file, self._closed = folder, file, False

    def _discard(self) -> None:
        """Remove the temporary name, if it still exists, and close the descriptors. Idempotent."""
        if self._closed:
            return
        self._closed = True
        if self._named:
            _remove(self._folder, self._name)
        os.close(self._file)
        os.close(self._folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._discard()


def _create(parent: int, name: bytes) -> tuple[int, int]:
    """Create a file in the parent's folder of unfinished writes; returns descriptors of that folder and of
    the file."""
    for attempt in range(_ATTEMPTS):
        try:
            folder = open_temporary(parent)
            try:
                return folder, os.open(name, _CREATE, 0o666, dir_fd=folder)
            except OSError:
                os.close(folder)
                raise
        except FileNotFoundError:
            # Another program may remove the empty folder between any two of these calls.
            if attempt == _ATTEMPTS - 1:
                raise
            time.sleep(attempt * 0.0002)
    raise AssertionError("unreachable")


def open_temporary(parent: int) -> int:
    """Return a descriptor of a folder's ``.stowage-tmp``, made if needed."""
    try:
        return os.open(TEMPORARY, OPEN_FOLDER, dir_fd=parent)
    except FileNotFoundError:
        with contextlib.suppress(FileExistsError):
            os.mkdir(TEMPORARY, 0o700, dir_fd=parent)
        return os.open(TEMPORARY, OPEN_FOLDER, dir_fd=parent)


def _remove(folder: int, name: bytes) -> bool:
    try:
        os.unlink(name, dir_fd=folder)
    except OSError:
        return False
    return True


def remove_empty_temporary_folder(tree: Tree) -> None:
    """Remove the root's folder of unfinished writes if it is empty."""
    with contextlib.suppress(OSError, StorageError):
        root = tree.open_root("sweep")
        try:
            os.rmdir(TEMPORARY, dir_fd=root)
        finally:
            os.close(root)


def sweep(tree: Tree, keys: Iterable[str], since: float) -> int:
    """Remove the temporary files of writes to these keys that began at or after ``since``; returns how
    many."""
    digests_by_folder: dict[bytes, set[bytes]] = {b"": set()}
    for key in keys:
        with contextlib.suppress(InvalidKey):
            digest = _hash(key)
            *folders, _ = split_key(key)
            digests_by_folder[b""].add(digest)
            digests_by_folder.setdefault(b"/".join(folders), set()).add(digest)
    return sum(
        _sweep_folder(tree, path, digests, int(since * 1000)) for path, digests in digests_by_folder.items()
    )


def _sweep_folder(tree: Tree, path: bytes, digests: set[bytes], since: int) -> int:
    """Sweep one folder's ``.stowage-tmp``, and remove it if it becomes empty."""
    removed = 0
    try:
        parent = tree.open_folder(path.split(b"/") if path else [], "sweep")
        try:
            folder = os.open(TEMPORARY, OPEN_FOLDER, dir_fd=parent)
            try:
                for name in map(os.fsencode, os.listdir(folder)):
                    digest, _, rest = name.partition(b".")
                    if digest in digests and _start_time(rest) >= since and _remove(folder, name):
                        removed += 1
            finally:
                os.close(folder)
            with contextlib.suppress(OSError):
                os.rmdir(TEMPORARY, dir_fd=parent)
        finally:
            os.close(parent)
    except OSError as error:
        if error.errno not in ABSENT:
            raise translate(error, "sweep", tree.display_name) from error
    return removed


def _start_time(rest: bytes) -> int:
    """Return the milliseconds since the epoch in a temporary name, or -1 for a name that is not ours."""
    try:
        return int(rest.partition(b".")[0], 16)
    except ValueError:
        return -1
