"""A backend of Stowage in Django's ``STORAGES``.

https://docs.djangoproject.com/en/5.2/howto/custom-file-storage/. It has no file system paths. It cannot be
serialized into migrations, which would contain its options, including secrets, in plain text: configure it in
``STORAGES`` and use the alias.
"""

from __future__ import annotations

import errno
import io
import os
import posixpath
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import IO, Any

from django.conf import settings
from django.core.exceptions import SuspiciousFileOperation
from django.core.files import File
from django.core.files.storage import Storage as DjangoStorage
from django.utils.module_loading import import_string

from dashboard.errors import Kind
from dashboard.storage.errors import ContainerMissing, Exists, InvalidKey, NotFound, StorageError, Unsupported
from dashboard.storage.library.backend import Backend
from dashboard.storage.library.environment_variables import VARIABLES
from dashboard.storage.library.folders import Folders
from dashboard.storage.library.manager import Storage
from dashboard.storage.library.open_files import ObjectWriter, open_file
from dashboard.storage.library.operations import Operations
from dashboard.storage.library.purposes import YEAR
from dashboard.storage.naming import UniqueKey, add_unique_suffix
from dashboard.storage.paths import guess_content_type
from dashboard.storage.types import Attributes, ObjectInfo
from dashboard.storage.wrappers.fallback.waiting_writes import KeepsWhileAway, is_unavailable


class StowageStorage(DjangoStorage):  # type: ignore[misc]  # Django has no types of its own
    """One backend. Thread-safe.

    One of: ``driver`` with its own options; ``config``, the path of a TOML file as ``Storage.from_toml``
    reads it; ``storage``, a ``Storage`` or the dotted path of one. ``backend`` is its name there, by default
    the default one. ``overwrite``: an existing file is replaced, as static files need it. ``signed_seconds``:
    URLs are signed and expire after this time. ``cache_control`` is stored with every file.
    """

    def __init__(
        self,
        *,
        driver: str = "",
        config: str = "",
        storage: Storage | str | None = None,
        backend: str = "",
        overwrite: bool = False,
        signed_seconds: int = 0,
        cache_control: str = "",
        **options: Any,
    ) -> None:
        if sum(bool(each) for each in (driver, config, storage)) != 1:
            raise ValueError("Give exactly one of driver, config and storage.")
        if options and not driver:
            raise ValueError(f"Without driver there is no option {next(iter(options))}.")
        self._driver, self._options = driver, options
        self._config, self._storage, self._name = config, storage, backend
        self._overwrite, self._signed, self._cache_control = overwrite, signed_seconds, cache_control
        self._backend: Backend | None = None
        if driver:
            self._backend = Storage().configure(backend or "default", driver, **options)
            self._options = {}

    @property
    def backend(self) -> Operations:
        """The backend that does the work."""
        if self._backend is not None:
            return self._backend
        if self._config:
            self._backend = Storage.from_toml(self._config).backend(self._name)
            return self._backend
        # Asked for every time, so that storage.fake() works in a project's tests.
        found = import_string(self._storage) if isinstance(self._storage, str) else self._storage
        assert isinstance(found, Storage)
        return found.backend(self._name)

    # What Django calls

    def _open(self, name: str | os.PathLike[str], mode: str = "rb") -> StoredFile:
        return StoredFile(self, _plain(name), mode)

    def opened(self, name: str, mode: str) -> IO[Any] | ObjectWriter:
        """What a :class:`StoredFile` reads from or writes to."""
        with _as_django_errors():
            match mode.replace("b", "").replace("t", ""):
                case "r":
                    return self._readable(name, text="b" not in mode)
                case "w" | "x" as way:
                    writing = self.backend.write_stream(
                        name, attributes=self._attributes(name), create_only=way == "x"
                    )
                    return ObjectWriter(writing, text="b" not in mode)
        raise ValueError(f"Files are opened with r, w or x, not “{mode}”: objects are written whole.")

    def _readable(self, name: str, *, text: bool) -> IO[Any]:
        try:
            file = open_file(self.backend, name)
        except NotFound:
            if self._is_directory(name):
                raise IsADirectoryError(errno.EISDIR, "It is a directory.", name) from None
            raise
        return io.TextIOWrapper(file, encoding="utf-8") if text else file

    def _save(self, name: str, content: Any) -> str:
        name = _plain(name)
        attributes = self._attributes(name, getattr(content, "content_type", None))
        create_only, wanted = not self._overwrite, name
        while True:
            try:
                with _as_django_errors():
                    self._write(name, content, attributes, create_only=create_only)
                return name
            except FileExistsError as error:
                # Somebody took the name between the look and the write, or what has it is no file.
                taken = isinstance(error.__cause__, Exists)
                if not create_only or not (taken or name == wanted):
                    raise
                folder, file_name = posixpath.split(wanted)
                alternative = self.get_alternative_name(*posixpath.splitext(file_name))
                name = posixpath.join(folder, str(alternative))
            except Unsupported:
                if not create_only:
                    raise
                # The server cannot refuse to replace; the look before has to do.
                create_only = False
            except (StorageError, FileNotFoundError) as error:
                if not (create_only and self._is_kept(error)) or isinstance(name, UniqueKey):
                    raise
                # Whether the name is free cannot be known now. This one is.
                name = add_unique_suffix(name, longest=max(len(name), 40))

    def _is_kept(self, error: Exception) -> bool:
        """Whether others take new files while the backend is away, which the error says it is."""
        driver = self.backend.driver
        # A place that is not there was turned into an error of Python's.
        found = error if isinstance(error, StorageError) else error.__cause__
        away = isinstance(found, StorageError) and is_unavailable(found)
        return away and isinstance(driver, KeepsWhileAway) and driver.keeps_while_away()

    def _attributes(self, name: str, kind: str | None = None) -> Attributes:
        return Attributes(
            content_type=kind or guess_content_type(name), cache_control=self._cache_control or None
        )

    def _write(self, name: str, content: Any, attributes: Attributes, *, create_only: bool) -> None:
        with self.backend.write_stream(name, attributes=attributes, create_only=create_only) as writing:
            for chunk in _chunks(content):
                writing.write(chunk)
            writing.commit()

    def delete(self, name: str) -> None:
        """Delete a file. Succeeds if it does not exist."""
        if not name:
            raise ValueError("The name must be given to delete().")
        with _as_django_errors():
            self.backend.delete(_plain(name))

    def is_name_available(self, name: str, max_length: int | None = None) -> bool:
        """Whether a new file can have this name. Unlike ``exists`` it does not look for a directory of the
        name on every upload: a place that cannot hold both refuses the write."""
        if max_length and len(name) > max_length:
            return False
        with _as_django_errors():
            return self._overwrite or not self.backend.exists(name)

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        """Return a free name. While the backend is unavailable and others stand in, one that nobody can
        have."""
        try:
            return str(super().get_available_name(name, max_length))
        except (StorageError, FileNotFoundError) as error:
            if not self._is_kept(error):
                raise
            return add_unique_suffix(_plain(name), longest=max_length)

    def get_alternative_name(self, file_root: str, file_ext: str) -> str:
        """Return another name for a file whose own is taken or too long."""
        if self._overwrite:
            return file_root + file_ext
        return str(super().get_alternative_name(file_root, file_ext))

    def exists(self, name: str) -> bool:
        """Whether the file or the directory exists; the container itself, ``""``, always does."""
        plain = _directory(name)
        if not plain:
            return True
        with _as_django_errors():
            return self.backend.exists(plain) or self._is_directory(plain)

    def _is_directory(self, name: str) -> bool:
        return Folders(self.backend.driver).has(name)

    def listdir(self, path: str) -> tuple[list[str], list[str]]:
        """Return the names of the directories and of the files directly in a directory."""
        path = _directory(path)
        with _as_django_errors():
            directories = [posixpath.basename(each) for each in self.backend.directories(path)]
            return directories, [posixpath.basename(entry.key) for entry in self.backend.files(path)]

    def size(self, name: str) -> int:
        """Return the size in bytes. Raises ``FileNotFoundError``."""
        return self._stat(name).size

    def url(self, name: str) -> str:
        """Return the permanent URL, or a signed one if ``signed_seconds`` is set."""
        if self._signed:
            return self.backend.temporary_url(_plain(name), seconds=self._signed)
        return self.backend.url(_plain(name))

    def get_modified_time(self, name: str) -> datetime:
        """Return when the file was written: with its time zone if ``USE_TZ``, else in local time."""
        modified = self._stat(name).modified
        if modified is None:
            raise NotImplementedError("This backend does not tell when a file was written.")
        return datetime.fromtimestamp(modified, UTC if settings.USE_TZ else None)

    def _stat(self, name: str) -> ObjectInfo:
        with _as_django_errors():
            return self.backend.stat(_plain(name))


class _S3Storage(StowageStorage):
    """A bucket as the ``AWS_*`` settings of the project describe it, see docs/library.md; ``location`` is the
    folder in it, below ``AWS_LOCATION``. Raises ``InvalidInput`` naming a setting that is missing."""

    location = ""
    cache_control = ""
    overwrite = False
    signed = False

    def __init__(self, **options: Any) -> None:
        given = {variable.name: getattr(settings, variable.name, None) for variable in VARIABLES}
        environ = {name: str(value) for name, value in given.items() if value not in (None, "")}
        location = options.pop("location", self.location)
        folder = "/".join(part.strip("/") for part in (environ.pop("AWS_LOCATION", ""), location) if part)
        if folder:
            environ["AWS_LOCATION"] = f"{folder}/"
        environ["STORAGE_BACKEND"] = "s3"
        seconds = int(getattr(settings, "AWS_QUERYSTRING_EXPIRE", 3600)) if self.signed else 0
        defaults: dict[str, Any] = {
            "overwrite": self.overwrite,
            "signed_seconds": seconds,
            "cache_control": self.cache_control,
        }
        super().__init__(storage=Storage.from_environment(environ), **(defaults | options))


class S3MediaStorage(_S3Storage):
    """What people upload for everybody to see: an existing file is never replaced."""

    location = "media"
    cache_control = f"public, max-age={YEAR}, immutable"


class S3StaticStorage(_S3Storage):
    """Static files: the same name replaces, and browsers keep them for a year."""

    location = "static"
    cache_control = f"public, max-age={YEAR}"
    overwrite = True


class S3PrivateStorage(_S3Storage):
    """Files that only some may read: signed URLs that expire (``AWS_QUERYSTRING_EXPIRE``), nothing cached."""

    location = "private"
    cache_control = "private, no-store"
    signed = True


class StoredFile(File):  # type: ignore[misc]
    """A file as Django uses it. Closing it stores what was written, atomically; an exception inside ``with``
    discards it. A closed file can be opened again."""

    def __init__(self, storage: StowageStorage, name: str, mode: str) -> None:
        super().__init__(storage.opened(name, mode), name)
        self.mode = mode
        self._storage = storage

    def open(self, mode: str | None = None, *arguments: Any, **options: Any) -> StoredFile:
        """Go back to the beginning, or open it again, perhaps in another mode."""
        if not self.closed and mode in (None, self.mode):
            self.seek(0)
            return self
        if not self.closed:
            self.close()
        self.mode = mode or self.mode
        self.file = self._storage.opened(self.name, self.mode)
        return self

    def close(self) -> None:
        """Store what was written. Idempotent."""
        with _as_django_errors():
            self.file.close()

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if kind is not None and isinstance(self.file, ObjectWriter):
            self.file.abandon()
        else:
            self.close()


@contextmanager
def _as_django_errors() -> Iterator[None]:
    """Translate errors into those that Django and its users expect of a storage, with the cause chained."""
    try:
        yield
    except (NotFound, ContainerMissing) as error:
        raise FileNotFoundError(errno.ENOENT, error.reason, error.subject) from error
    except InvalidKey as error:
        raise SuspiciousFileOperation(error.reason) from error
    except StorageError as error:
        # A temporary conflict, such as a write waiting to be written back, is not an existing file.
        if error.kind is not Kind.CONFLICT or error.retryable:
            raise
        raise FileExistsError(errno.EEXIST, error.reason, error.subject) from error


def _plain(name: str | os.PathLike[str]) -> str:
    return os.fspath(name)


def _directory(path: str | os.PathLike[str]) -> str:
    """A path without what means nothing in it: ``./``, doubled slashes, a slash at its end."""
    plain = posixpath.normpath(os.fspath(path))
    return "" if plain == "." else plain


def _chunks(content: Any) -> Iterator[bytes]:
    for chunk in content.chunks():
        yield chunk.encode() if isinstance(chunk, str) else bytes(chunk)
