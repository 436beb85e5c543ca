"""A folder on a disk, with the promises of the driver protocol.

Names that differ only in case or spelling are two keys. A disk that treats them as the same raises kind
``conflict`` for the second. Object attributes are dropped on write, and the content type is guessed from the
name. Keys that are not exactly a path raise ``InvalidKey``. Symbolic links and special files are not objects:
they are neither listed, read, replaced nor deleted. The version of an object is its inode, both its times (of
change and of modification) and its size.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Self
from urllib.parse import quote

from dashboard.storage.checks.folders import FolderPolicy
from dashboard.storage.drivers.common.path_errors import not_a_folder_error
from dashboard.storage.drivers.common.reading import CheckedReading
from dashboard.storage.drivers.common.walking import SkipUnreadable
from dashboard.storage.drivers.local import moving
from dashboard.storage.drivers.local.errors import translate
from dashboard.storage.drivers.local.grouping import FileGroups, UnnamedFile
from dashboard.storage.drivers.local.listing import FOLDER_ERRORS, list_folder, walk
from dashboard.storage.drivers.local.tmpfile import put_new
from dashboard.storage.drivers.local.tree import ABSENT, OPEN_FILE, Tree, split_key, sync_folder
from dashboard.storage.drivers.local.versions import delete_unchanged, is_settled, version_of
from dashboard.storage.drivers.local.writing import LocalWriting, remove_empty_temporary_folder, sweep
from dashboard.storage.errors import Changed, NotFound, StorageError, Unsupported
from dashboard.storage.inspection.places import Folder
from dashboard.storage.inspection.powers import FolderListing
from dashboard.storage.net.ranges import check_length, check_range
from dashboard.storage.paths import guess_content_type, key_bytes, key_text
from dashboard.storage.types import Attributes, Entry, ObjectInfo, Secret, Written

_CHUNK = 1 << 20


def _describe(key: str, info: os.stat_result) -> ObjectInfo:
    return ObjectInfo(
        key=key,
        size=info.st_size,
        modified=info.st_mtime_ns / 1e9,
        version=version_of(info),
        attributes=Attributes(content_type=guess_content_type(key)),
        settled=is_settled(info),
    )


class LocalReading(CheckedReading):
    """One open read. Notices if the file was changed, replaced or deleted before its end."""

    def __init__(self, key: str, fd: int, info: os.stat_result) -> None:
        self._fd = fd
        super().__init__(_describe(key, info))

    def _raw_chunks(self) -> Iterator[bytes]:
        left = self.info.size
        try:
            while left and (chunk := os.read(self._fd, min(_CHUNK, left))):
                left -= len(chunk)
                yield chunk
        except OSError as error:
            raise translate(error, "read", self.info.key) from error

    def fileno(self) -> int:
        """See ``HasFile``."""
        return self._fd

    def check_unchanged(self) -> None:
        """See ``HasFile``."""
        self._check_unchanged()

    def _check_unchanged(self) -> None:
        try:
            after = os.fstat(self._fd)
        except OSError as error:
            raise translate(error, "read", self.info.key) from error
        # No name left: it was deleted, or another file was renamed over it.
        if version_of(after) != self.info.version or after.st_nlink == 0:
            raise Changed(self.info.key)

    def read_range(self, start: int, length: int) -> bytes:
        """Return a part of the content; see ``ReadsRanges``."""
        end = min(start + length, self.info.size)
        found = bytearray()
        try:
            while start + len(found) < end:
                chunk = os.pread(self._fd, min(_CHUNK, end - start - len(found)), start + len(found))
                if not chunk:
                    break
                found += chunk
            after = os.fstat(self._fd)
        except OSError as error:
            raise translate(error, "read", self.info.key) from error
        if version_of(after) != self.info.version:
            raise Changed(self.info.key)
        return check_length(self.info.key, bytes(found), max(0, end - start))

    def close(self) -> None:
        """Close the file. Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __del__(self) -> None:
        self.close()


class LocalDriver:
    """Objects as files below one root folder. Thread-safe; between calls it holds descriptors only
    of what is prepared."""

    name = "local"
    ordered = True

    def __init__(self, root: str | bytes, public_url: str = "", *, mounted: bool = False) -> None:
        self._tree = Tree(os.fsencode(root), mounted=mounted)
        self._groups = FileGroups(self._tree)
        self._public_url = public_url

    @classmethod
    def from_options(cls, options: Mapping[str, str], secrets: Mapping[str, Secret]) -> Self:
        """From checked options; there are no secrets."""
        root = options["root"].encode("utf-8", "surrogateescape")
        return cls(root, options.get("public_url", ""), mounted=options.get("mounted") == "true")

    def restrict_to(self, policy: FolderPolicy) -> None:
        """See ``UsesLocalFolders``. Checked whenever the root is opened."""
        self._tree.policy = policy

    @property
    def place(self) -> Folder:
        """See ``KnowsPlace``."""
        return Folder(self._tree.root)

    def check_key(self, key: str) -> None:
        """See ``Driver``. No empty part between slashes, no ``.`` or ``..``, no NUL, no part above 255
        bytes."""
        split_key(key)

    def read(self, key: str, *, if_version: str | None = None) -> LocalReading:
        """Open a file. Raises ``ContainerMissing`` if the root does not exist."""
        *folders, name = split_key(key)
        try:
            with self._tree.parent_of(folders, name, "read") as parent:
                fd = os.open(name, OPEN_FILE, dir_fd=parent)
        except OSError as error:
            # ENXIO: a socket or a pipe nobody reads.
            if error.errno in ABSENT or error.errno == errno.ENXIO:
                raise NotFound(key) from error
            raise translate(error, "read", key) from error
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode):
            os.close(fd)
            raise NotFound(key)
        try:
            self._tree.policy.refuse_console_file(info, key, "read")
        except StorageError:
            os.close(fd)
            raise
        if if_version is not None and if_version != version_of(info):
            os.close(fd)
            raise Changed(key)
        return LocalReading(key, fd, info)

    def read_range(self, key: str, start: int, length: int, *, if_version: str | None = None) -> bytes:
        """See ``ReadsRanges``."""
        check_range(start, length)
        with self.read(key, if_version=if_version) as reading:
            return reading.read_range(start, length)

    def write(
        self,
        key: str,
        *,
        size: int | None = None,
        attributes: Attributes | None = None,
        create_only: bool = False,
    ) -> LocalWriting:
        """Durable once committed. With ``size``, a commit after another number of bytes raises
        ``Damaged``. A file where a folder is needed, or the reverse, raises kind ``conflict``."""
        return LocalWriting(self._tree, key, size=size, create_only=create_only)

    def put(
        self, key: str, data: bytes, *, attributes: Attributes | None = None, create_only: bool = False
    ) -> Written:
        """Like ``write``."""
        if create_only and (written := put_new(self._tree, key, data)):
            return written
        with self.write(key, size=len(data), create_only=create_only) as writing:
            writing.write(data)
            return writing.commit()

    # WritesInGroups

    def prepare(self, key: str, data: bytes, *, md5: str = "") -> UnnamedFile | None:
        """See ``WritesInGroups``. Linux only, on file systems of its own disks."""
        return self._groups.prepare(key, data, md5)

    def publish(self, prepared: Sequence[UnnamedFile]) -> list[Written | StorageError]:
        """See ``WritesInGroups``. If flushing fails, none of them gets a name."""
        return self._groups.publish(prepared)

    def stat(self, key: str) -> ObjectInfo:
        """Read the file's inode, not its content."""
        *folders, name = split_key(key)
        try:
            with self._tree.parent_of(folders, name, "stat") as parent:
                info = os.stat(name, dir_fd=parent, follow_symlinks=False)
        except OSError as error:
            if error.errno in ABSENT:
                raise NotFound(key, operation="stat") from error
            raise translate(error, "stat", key) from error
        if not stat.S_ISREG(info.st_mode):
            raise NotFound(key, operation="stat")
        return _describe(key, info)

    def list(self, prefix: str = "", *, start_after: str = "") -> Iterator[Entry]:
        """List in UTF-8 byte order. Not a snapshot: files created or deleted meanwhile may or may not be
        listed."""
        return walk(self._tree, key_bytes(prefix), key_bytes(start_after))

    def list_readable(
        self,
        prefix: str = "",
        *,
        start_after: str = "",
        unreadable: Callable[[str, StorageError], None],
        enters: Callable[[str], bool] = lambda folder: True,
    ) -> Iterator[Entry]:
        """See ``ListsReadable``."""
        skip = SkipUnreadable(unreadable, enters, FOLDER_ERRORS)
        return walk(self._tree, key_bytes(prefix), key_bytes(start_after), skip)

    def list_folder(self, prefix: str, *, cursor: str = "", limit: int) -> FolderListing:
        """See ``ListsFolders``."""
        return list_folder(self._tree, prefix, cursor, limit)

    def delete(self, key: str) -> None:
        """Delete a file and the folders that become empty, but never the root. After a power cut the file may
        exist again."""
        *folders, name = split_key(key)
        try:
            with self._tree.parent_of(folders, name, "delete") as parent:
                if not stat.S_ISREG(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
                    return
                os.unlink(name, dir_fd=parent)
        except OSError as error:
            if error.errno in ABSENT:
                return
            raise translate(error, "delete", key) from error
        self._tree.remove_empty_folders(folders)

    def delete_unchanged(self, key: str, version: str) -> None:
        """See ``DeletesUnchanged``. A program that has the file open for writing counts as a change."""
        delete_unchanged(self._tree, key, version)

    # MovesWithin and HasTrash

    def move_within(self, key: str, to: str, *, if_version: str | None = None, replace: bool = False) -> None:
        """See ``MovesWithin``. Its time of change is new, so its version is another one."""
        moving.move_within(self._tree, key, to, if_version, replace=replace)

    def move_to_trash(self, key: str, name: str, *, if_version: str | None = None) -> None:
        """See ``HasTrash``."""
        moving.move_to_trash(self._tree, key, name, if_version)

    def restore_from_trash(self, name: str, key: str) -> None:
        """See ``HasTrash``. Its time of change is new, so its version is another one."""
        moving.restore_from_trash(self._tree, name, key)

    def remove_from_trash(self, name: str, key: str) -> None:
        """See ``HasTrash``."""
        moving.remove_from_trash(self._tree, name, key)

    def sweep(self, keys: Iterable[str], *, since: float) -> int:
        """See ``Driver``. Searches the root's ``.stowage-tmp`` and that of each key's folder."""
        return sweep(self._tree, keys, since)

    # KeepsFolders

    def make_folder(self, folder: str) -> None:
        """See ``KeepsFolders``. Durable. Deleting the last object in it removes it."""
        folders = split_key(folder)
        try:
            os.close(self._tree.make_folder(folders, folder))
        except OSError as error:
            raise translate(error, "write", folder) from error

    def folders(self, folder: str) -> Iterator[str]:
        """See ``KeepsFolders``. Symbolic links are not folders."""
        path = split_key(folder) if folder else []
        try:
            names = self._tree.inner_folders(path)
        except OSError as error:
            if error.errno not in ABSENT:
                raise translate(error, "list", folder) from error
            names = []
        return map(key_text, names)

    def remove_folder(self, folder: str) -> None:
        """See ``KeepsFolders``. Also removes parent folders that become empty, as ``delete`` does."""
        path = split_key(folder)
        for name in self.folders(folder):
            self.remove_folder(f"{folder}/{name}")
        self._tree.remove_empty_folders(path)

    # Links

    def url(self, key: str) -> str:
        """See ``Links``. Raises ``Unsupported`` if no public address is set."""
        self.check_key(key)
        if not self._public_url:
            raise Unsupported("url", "No public address is set for this folder, so its files have none.")
        return self._public_url + quote(key_bytes(key), safe="/~")

    def temporary_url(self, key: str, *, seconds: int) -> str:
        """Raises ``Unsupported``."""
        self.check_key(key)
        raise Unsupported("temporary url", "Nobody signs addresses of files on a disk.")

    # CreatesBuckets

    def bucket_exists(self) -> bool:
        """Whether the root folder exists. Raises kind ``conflict`` if it is a file, ``unreachable`` if a
        share should be mounted there and is not."""
        try:
            found = os.stat(self._tree.root)
        except FileNotFoundError:
            return False
        except NotADirectoryError as error:
            raise not_a_folder_error(self._tree.display_name) from error
        except OSError as error:
            raise translate(error, "stat", self._tree.display_name) from error
        if not stat.S_ISDIR(found.st_mode):
            raise not_a_folder_error(self._tree.display_name)
        self._tree.check_mounted(found, "stat")
        return True

    def create_bucket(self) -> None:
        """Create the root folder and its parents."""
        if self.bucket_exists():
            return
        self._tree.check_above("create bucket")
        try:
            os.makedirs(self._tree.root, exist_ok=True)
            above = os.open(os.path.dirname(self._tree.root.rstrip(b"/")) or b"/", os.O_RDONLY | os.O_CLOEXEC)
            try:
                sync_folder(above)
            finally:
                os.close(above)
        except (FileExistsError, NotADirectoryError) as error:
            raise not_a_folder_error(self._tree.display_name) from error
        except OSError as error:
            raise translate(error, "create bucket", self._tree.display_name) from error

    def close(self) -> None:
        """Remove ``.stowage-tmp`` if it is empty."""
        remove_empty_temporary_folder(self._tree)
