"""Opening files below the root folder without ever leaving it.

Every step is ``openat`` with ``O_NOFOLLOW`` from the parent folder, so neither ``..`` nor a symbolic link
leads outside, not even one created between two calls. The root's own path may contain links: it is the
administrator's choice. File descriptors are not kept between calls, because nothing must be written to a
folder that was moved away or a share that was unmounted.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from threading import Lock

from dashboard.errors import Kind
from dashboard.storage.checks.folders import UNRESTRICTED, Identity, console_file_error, real_path_of
from dashboard.storage.drivers.common import keys, path_errors
from dashboard.storage.drivers.local.collisions import NameCollisions
from dashboard.storage.errors import ContainerMissing, StorageError
from dashboard.storage.paths import key_text

TEMPORARY = b".stowage-tmp"
"""The folder of unfinished writes: in the root, and in folders on another file system than the root."""

ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
"""What opening a path raises if a folder is missing or is a file or link: the object does not exist."""

UNLINKABLE = frozenset({errno.EPERM, errno.ENOTSUP, errno.EMLINK})
"""What creating a link raises if the file system supports none."""

OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_REMEMBERED = 20_000


def split_key(key: str) -> list[bytes]:
    """Return the folders and the file name of a key. Raises ``InvalidKey`` if a disk cannot store it
    exactly."""
    return keys.split_key(key, "A disk", _reserved)


def _reserved(name: bytes) -> str:
    mine = name.lower() == TEMPORARY
    return f"“{TEMPORARY.decode()}” is where Stowage keeps unfinished writes" if mine else ""


path_conflict_error = partial(path_errors.path_conflict_error, "A disk")


class Tree:
    """A root folder, and which folders below it are known to survive a power cut. Thread-safe."""

    def __init__(self, root: bytes, *, mounted: bool = False) -> None:
        self.root = root
        self.display_name = key_text(root)
        self._mounted = mounted
        self.policy = UNRESTRICTED
        self._allowed_path = ""
        self._console_folders: tuple[float, frozenset[Identity]] = (0.0, frozenset())
        self.names = NameCollisions()
        self.supports_tmpfile = True
        """Whether this disk supports files without a name; false once it reported that it does not."""
        self._lock = Lock()
        self._durable: set[bytes] = set()
        self._removals = 0

    def open_root(self, operation: str) -> int:
        """Return a descriptor of the root. Raises ``ContainerMissing``, and kind ``unreachable`` if a share
        should be mounted and is not."""
        return self._open_root(operation)[0]

    def _open_root(self, operation: str) -> tuple[int, os.stat_result]:
        try:
            fd = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            if error.errno not in ABSENT:
                raise
            there = "is not there" if error.errno == errno.ENOENT else "is not a folder"
            raise ContainerMissing(
                self.display_name,
                f"The folder “{self.display_name}” {there}.",
                operation=operation,
                remedy="Create it, or mount the disk or share it belongs to.",
            ) from error
        try:
            found = os.fstat(fd)
            self.check_mounted(found, operation)
            self._check_policy(fd, found, operation)
        except BaseException:
            os.close(fd)
            raise
        return fd, found

    def _check_policy(self, fd: int, found: os.stat_result, operation: str) -> None:
        """Check every time, because another folder may be there by now; quick if it is the same one."""
        if self.policy.own or self.policy.allowed:
            real = real_path_of(fd, self.display_name)
            if real != self._allowed_path:
                self.policy.check_open(real, self.display_name, operation)
                self._allowed_path = real
            self._refuse_own_folder(found, self.display_name, operation)

    def _refuse_own_folder(self, found: os.stat_result, shown: str, operation: str) -> None:
        """Refuse a folder of the console's own that was moved below the root since."""
        looked, own = self._console_folders
        now = time.monotonic()
        if now - looked > 1.0:
            own = self.policy.own_folders()
            self._console_folders = (now, own)
        if (found.st_dev, found.st_ino) in own:
            raise console_file_error(shown, operation)

    def check_mounted(self, found: os.stat_result, operation: str) -> None:
        """Raise if the root must be a mounted share but is a folder on the system's disk: files written there
        would be hidden below the share when it is mounted again."""
        if self._mounted and found.st_dev == os.stat("/").st_dev:
            raise StorageError(
                Kind.UNREACHABLE,
                f"Nothing is mounted at “{self.display_name}”.",
                operation=operation,
                subject=self.display_name,
                remedy="Mount the share, then try again.",
            )

    def check_above(self, operation: str) -> None:
        """Like :meth:`check_mounted`, for the nearest existing folder while the root does not exist."""
        above = os.path.dirname(self.root.rstrip(b"/"))
        while above.strip(b"/") and not os.path.isdir(above):
            above = os.path.dirname(above)
        self.check_mounted(os.stat(above or b"/"), operation)

    def open_folder(self, folders: list[bytes], operation: str) -> int:
        """Return a descriptor of a folder below the root. Raises ``OSError`` from ``ABSENT`` if it does not
        exist."""
        return self._open_folder(folders, operation)[0]

    def _open_folder(self, folders: list[bytes], operation: str) -> tuple[int, os.stat_result]:
        fd, found = self._open_root(operation)
        for name in folders:
            try:
                self.names.require_exact(fd, name, found.st_dev)
                inner = self._open_inner(name, fd, operation)
            finally:
                os.close(fd)
            fd, found = inner
        return fd, found

    @contextmanager
    def parent_of(self, folders: list[bytes], name: bytes, operation: str) -> Iterator[int]:
        """Yield a descriptor of the folder of a file. Raises ``OSError`` from ``ABSENT`` if the folder does
        not exist, or would open another file under this name."""
        fd, found = self._open_folder(folders, operation)
        try:
            self.names.require_exact(fd, name, found.st_dev)
            yield fd
        finally:
            os.close(fd)

    def _open_inner(self, name: bytes, parent: int, operation: str) -> tuple[int, os.stat_result]:
        inner = os.open(name, OPEN_FOLDER, dir_fd=parent)
        try:
            found = os.fstat(inner)
            if self.policy.own:
                self._refuse_own_folder(found, key_text(name), operation)
        except BaseException:
            os.close(inner)
            raise
        return inner, found

    def inner_folders(self, folders: list[bytes]) -> list[bytes]:
        """Return the names of the folders in a folder, without links and our own temporary one. Raises
        ``OSError`` from ``ABSENT`` if it does not exist."""
        fd = self.open_folder(folders, "list")
        try:
            with os.scandir(fd) as found:
                names = [os.fsencode(each.name) for each in found if each.is_dir(follow_symlinks=False)]
        finally:
            os.close(fd)
        return [name for name in names if name != TEMPORARY]

    def make_folder(self, folders: list[bytes], key: str, *, durably: bool = True) -> int:
        """Like :meth:`open_folder`, but create missing folders durably: after a power cut they still exist.
        ``key`` is the object that needs the folder. Not ``durably``: the caller flushes them."""
        if not durably:
            return self._make(folders, key, durable=True, sync=False)
        path = b"/".join(folders)
        with self._lock:
            removals, durable = self._removals, path in self._durable
        fd = self._make(folders, key, durable=durable)
        if durable and removals != self._removals:
            # It may have been removed and made again by a thread that has not synced it yet.
            os.close(fd)
            fd = self._make(folders, key, durable=False)
        return fd

    def _make(self, folders: list[bytes], key: str, *, durable: bool, sync: bool = True) -> int:
        removals = self._removals
        fd = self.open_root("write")
        for depth in range(len(folders)):
            try:
                inner, created = self._enter(fd, folders, depth, key)
                # Not only our own: one that another thread has just made may not be on disk yet.
                if sync and (created or not durable):
                    self._make_durable(fd, b"/".join(folders[: depth + 1]), removals, created=created)
                elif created:
                    with self._lock:
                        self._durable.discard(b"/".join(folders[: depth + 1]))
            finally:
                os.close(fd)
            fd = inner
        return fd

    def _make_durable(self, parent: int, path: bytes, removals: int, *, created: bool) -> None:
        with self._lock:
            if not created and path in self._durable and self._removals == removals:
                return
        sync_folder(parent)
        with self._lock:
            if self._removals == removals:
                if len(self._durable) >= _REMEMBERED:
                    self._durable.clear()
                self._durable.add(path)

    def _enter(self, fd: int, folders: list[bytes], depth: int, key: str) -> tuple[int, bool]:
        name, created = folders[depth], False
        self.names.refuse_collision(fd, name, key)
        try:
            return self._open_inner(name, fd, "write")[0], False
        except OSError as error:
            if error.errno not in ABSENT:
                raise
            if error.errno != errno.ENOENT:
                raise path_conflict_error(key, key_text(b"/".join(folders[: depth + 1]))) from error
        try:
            os.mkdir(name, dir_fd=fd)
            created = True
        except FileExistsError:
            self.names.refuse_collision(fd, name, key)
        return self._open_inner(name, fd, "write")[0], created

    def remove_empty_folders(self, folders: list[bytes]) -> None:
        """Remove the deepest of these folders, then its parent and so on, as long as they are empty. Never
        the root. A write that loses its folder to this creates it again."""
        for depth in range(len(folders), 0, -1):
            try:
                fd, found = self._open_folder(folders[: depth - 1], "delete")
            except (OSError, StorageError):
                return
            try:
                self.names.require_exact(fd, folders[depth - 1], found.st_dev)
                with self._lock:
                    os.rmdir(folders[depth - 1], dir_fd=fd)
                    self._removals += 1
                    self._durable.clear()
            except OSError:
                return
            finally:
                os.close(fd)


def write_all(fd: int, data: bytes) -> None:
    """Write all of ``data`` to a file."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def sync_folder(fd: int) -> None:
    """Sync a folder's names to disk. Some network file systems cannot and need not."""
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
