"""``stowage://backend/key`` for everything that uses fsspec: pandas, pyarrow, dask, zarr.

https://filesystem-spec.readthedocs.io/en/latest/developer.html. A path begins with the name of a backend.
Deliberately different from fsspec's buffered files: an exception inside ``with`` discards what was written
instead of keeping half of it, and so does a file that is never closed.
"""

from __future__ import annotations

import errno
import io
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, ClassVar

from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper
from fsspec.spec import AbstractBufferedFile, AbstractFileSystem

from dashboard.errors import Kind, StowageError
from dashboard.storage.driver import KeepsFolders
from dashboard.storage.errors import NotFound, Unsupported
from dashboard.storage.library.backend import Backend
from dashboard.storage.library.folders import Folders
from dashboard.storage.library.manager import Storage
from dashboard.storage.types import Entry

_NUMBERS = {
    Kind.NOT_FOUND: errno.ENOENT,
    Kind.CONFLICT: errno.EEXIST,
    Kind.DENIED: errno.EACCES,
    Kind.BAD_CREDENTIALS: errno.EACCES,
    Kind.TIMEOUT: errno.ETIMEDOUT,
    Kind.FULL: errno.ENOSPC,
    Kind.TOO_LARGE: errno.EFBIG,
    Kind.UNSUPPORTED: errno.ENOTSUP,
}


@contextmanager
def _as_os_errors() -> Iterator[None]:
    """Translate errors into those of a file system, such as ``FileNotFoundError``, with the cause chained."""
    try:
        yield
    except StowageError as error:
        # A temporary conflict, such as a write waiting to be written back, is not an existing file.
        passing = error.kind is Kind.CONFLICT and error.retryable
        number = errno.EBUSY if passing else _NUMBERS.get(error.kind, errno.EIO)
        raise OSError(number, error.reason, error.subject) from error


class StowageFileSystem(AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types of its own
    """The backends of a :class:`Storage`. Thread-safe.

    ``storage`` is one, or ``config`` the path of a TOML file as ``Storage.from_toml`` reads it (without
    environment variables). Only a file system created with ``config`` can be pickled for other processes,
    without secrets. With ``asynchronous`` it is used from an event loop, as zarr does. A directory stays when
    its last file is removed, if the container keeps directories at all.
    """

    protocol: ClassVar[str] = "stowage"
    async_impl: ClassVar[bool] = True
    mirror_sync_methods: ClassVar[bool] = False
    """Of the two forms of each method the plain one is ours; the other is the same call in a thread."""

    def __init__(
        self, storage: Storage | None = None, config: str = "", *, asynchronous: bool = False, **options: Any
    ) -> None:
        super().__init__(storage=storage, config=config, asynchronous=asynchronous, **options)
        self.asynchronous = asynchronous
        if storage is None and not config:
            raise ValueError("Say which backends: storage=Storage(...) or config='storage.toml'.")
        self._storage = storage if storage is not None else Storage.from_toml(config)

    def __getattr__(self, name: str) -> Any:
        """The coroutines ``_ls``, ``_cat_file`` and so on that programs with an event loop call."""
        if name.startswith("__") or not name.startswith("_"):
            raise AttributeError(name)
        if not hasattr(AsyncFileSystemWrapper, name) and not callable(getattr(type(self), name[1:], None)):
            raise AttributeError(name)
        return getattr(AsyncFileSystemWrapper(self, asynchronous=self.asynchronous), name)

    # Looking

    def ls(self, path: str, detail: bool = True, **options: Any) -> list[Any]:
        """What is directly in a directory, or the one file of this name. Raises ``FileNotFoundError``."""
        name, key = self._split(path)
        if not name:
            found = [_directory(each) for each in self._storage.names()]
        else:
            with _as_os_errors():
                backend = self._storage.backend(name)
                found = [_directory(f"{name}/{each}") for each in backend.directories(key)]
                found += [_file(name, entry) for entry in backend.files(key)]
        if not found and key:
            found = [each for each in (self.info(path),) if each["type"] == "file"]
        return found if detail else [each["name"] for each in found]

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        """Name, size and type, and of a file its time, ETag and version. Raises ``FileNotFoundError``."""
        name, key = self._split(path)
        if not name:
            return _directory("")
        with _as_os_errors():
            backend = self._storage.backend(name)
            if not key:
                return _directory(name)
            try:
                seen = backend.stat(key)
            except NotFound:
                if not Folders(backend.driver).has(key):
                    raise
                return _directory(f"{name}/{key}")
            entry = Entry(key, seen.size, seen.modified, seen.etag)
            return _file(name, entry) | {
                "version": seen.version,
                "ContentType": seen.attributes.content_type,
            }

    def find(
        self,
        path: str,
        maxdepth: int | None = None,
        withdirs: bool = False,
        detail: bool = False,
        **options: Any,
    ) -> Any:
        """All files below, with one listing if neither depth nor directories are requested."""
        name, key = self._split(path)
        if maxdepth is not None or withdirs or not name:
            return super().find(path, maxdepth=maxdepth, withdirs=withdirs, detail=detail, **options)
        with _as_os_errors():
            files = [_file(name, each) for each in self._storage.backend(name).files(key, recursive=True)]
        if not files and key and self.exists(path):
            files = [each for each in (self.info(path),) if each["type"] == "file"]
        ordered = {each["name"]: each for each in sorted(files, key=lambda each: str(each["name"]))}
        return ordered if detail else list(ordered)

    def modified(self, path: str) -> datetime:
        """When the file was last written, with its time zone."""
        return datetime.fromtimestamp(self.info(path)["mtime"], UTC)

    def sign(self, path: str, expiration: int = 100, **options: Any) -> str:
        """An address that reads this one file until it expires."""
        name, key = self._split(path)
        with _as_os_errors():
            return self._storage.backend(name).temporary_url(key, seconds=expiration)

    # Changing

    def mkdir(self, path: str, create_parents: bool = True, **options: Any) -> None:
        """Make a directory. Where a place has directories only while files are in them, nothing has to be
        done: writing below it works. Raises ``FileExistsError``."""
        if self.exists(path):
            raise FileExistsError(errno.EEXIST, "It already exists.", path)
        self.makedirs(path)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Like ``mkdir``; with ``exist_ok`` the directory may exist."""
        name, key = self._split(path)
        if not exist_ok and self.exists(path):
            raise FileExistsError(errno.EEXIST, "It already exists.", path)
        if key:
            with _as_os_errors():
                try:
                    self._storage.backend(name).make_directory(key)
                except Unsupported:
                    return

    def rmdir(self, path: str) -> None:
        """Remove an empty directory. Raises ``OSError`` if it is not empty."""
        name, key = self._split(path)
        with _as_os_errors():
            backend = self._storage.backend(name)
            if next(backend.files(key, recursive=True), None) is not None:
                raise OSError(errno.ENOTEMPTY, "The directory is not empty.", path)
            backend.delete_directory(key)
            _keep_parent(backend, key)

    def rm_file(self, path: str) -> None:
        """Remove one file; a missing one is success."""
        name, key = self._split(path)
        with _as_os_errors():
            backend = self._storage.backend(name)
            if _keeps_folders(backend) and not backend.exists(key):
                return
            backend.delete(key)
            _keep_parent(backend, key)

    def rm(self, path: str | list[str], recursive: bool = False, maxdepth: int | None = None) -> None:
        """Remove files, and with ``recursive`` directories with all below them. Raises
        ``FileNotFoundError``."""
        for each in self.expand_path(path):
            if self.info(each)["type"] == "directory":
                if not recursive:
                    raise IsADirectoryError(errno.EISDIR, "It is a directory.", each)
                name, key = self._split(each)
                with _as_os_errors():
                    backend = self._storage.backend(name)
                    backend.delete_directory(key)
                    _keep_parent(backend, key)
            else:
                self.rm_file(each)

    def cp_file(self, path1: str, path2: str, **options: Any) -> None:
        """Copy one file, within a backend or between two, on the server where that is possible."""
        if self.isdir(path1):
            self.makedirs(path2, exist_ok=True)
            return
        (name, key), (to_name, to_key) = self._split(path1), self._split(path2)
        with _as_os_errors():
            self._storage.backend(name).copy_to(key, self._storage.backend(to_name), to_key)

    # Files

    def open(self, path: str, mode: str = "rb", *arguments: Any, **options: Any) -> Any:
        """Open a file: ``rb``, ``wb``, ``xb`` (only where none is), or the same as text."""
        if "b" in mode:
            return super().open(path, mode, *arguments, **options)
        names = ("encoding", "errors", "newline")
        text = {name: options.pop(name) for name in names if name in options}
        opened = self.open(path, mode.replace("t", "") + "b", *arguments, **options)
        return _Text(opened, **{"encoding": "utf-8", **text})

    def _open(self, path: str, mode: str = "rb", **options: Any) -> StowageFile:
        if "a" in mode or "+" in mode:
            raise NotImplementedError("Objects are written whole; nothing can be appended.")
        # The commit refuses to replace as well: somebody may be faster.
        if "x" in mode and self.exists(path):
            raise FileExistsError(errno.EEXIST, "It already exists.", path)
        with _as_os_errors():
            return StowageFile(self, path, mode, **options)

    def _split(self, path: str) -> tuple[str, str]:
        name, _, key = self._strip_protocol(path).removeprefix("/").partition("/")
        return name, key

    def backend_of(self, path: str) -> tuple[Backend, str]:
        """The backend and the key a path means."""
        name, key = self._split(path)
        return self._storage.backend(name), key


class StowageFile(AbstractBufferedFile):  # type: ignore[misc]
    """One file. Reads stay in the version that was opened. Written bytes are visible after a clean close
    (or the end of the transaction), whole or not at all."""

    _writing: Any = None

    def _fetch_range(self, start: int, end: int) -> bytes:
        backend, key = self.fs.backend_of(self.path)
        with _as_os_errors():
            return bytes(backend.read_range(key, start, end - start, if_version=self.details.get("version")))

    def _initiate_upload(self) -> None:
        backend, key = self.fs.backend_of(self.path)
        with _as_os_errors():
            self._writing = backend.write_stream(key, create_only="x" in self.mode)
            self._writing.__enter__()

    def _upload_chunk(self, final: bool = False) -> bool:
        with _as_os_errors():
            self._writing.write(self.buffer.getvalue())
        if final and self.autocommit:
            self.commit()
        return True

    def commit(self) -> None:
        """Make what was written the file."""
        writing, self._writing = self._writing, None
        if writing is not None:
            with _as_os_errors(), writing:
                writing.commit()

    def discard(self) -> None:
        """Drop what was written."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.__exit__(None, None, None)

    def close(self) -> None:
        """Finish; what could not be finished is dropped."""
        try:
            super().close()
        except BaseException:
            self.abandon()
            raise

    def abandon(self) -> None:
        """Close without keeping what was written."""
        if not getattr(self, "_closed", True):
            self._closed = True
            self.discard()

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if kind is not None and self.mode != "rb":
            self.abandon()
        else:
            self.close()

    def __del__(self) -> None:
        self.abandon()


class _Text(io.TextIOWrapper):
    """Text over a file that is dropped when an exception leaves the ``with`` block."""

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if kind is not None and isinstance(self.buffer, StowageFile):
            self.buffer.__exit__(kind, error, trace)
        else:
            self.close()


def _keep_parent(backend: Backend, key: str) -> None:
    """Drivers remove the folders that a deletion leaves empty; a file system keeps them."""
    parent = key.rpartition("/")[0]
    if parent and _keeps_folders(backend):
        backend.make_directory(parent)


def _keeps_folders(backend: Backend) -> bool:
    return isinstance(backend.driver, KeepsFolders)


def _directory(name: str) -> dict[str, Any]:
    return {"name": name, "size": 0, "type": "directory"}


def _file(backend: str, entry: Entry) -> dict[str, Any]:
    return {
        "name": f"{backend}/{entry.key}",
        "size": entry.size,
        "type": "file",
        "mtime": entry.modified,
        "ETag": entry.etag,
    }
