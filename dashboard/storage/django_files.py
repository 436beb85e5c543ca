"""A backend of Stowage among Django's ``STORAGES``.

https://docs.djangoproject.com/en/5.2/howto/custom-file-storage/. It holds no path of a file system and
cannot be serialised into migrations, where its options, secrets among them, would stand in clear: name it in
``STORAGES`` and use the alias.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.core.files import File
from django.core.files.storage import Storage as DjangoStorage
from django.utils.module_loading import import_string
from django.utils.timezone import make_naive

from dashboard.storage.backend import Backend
from dashboard.storage.content_types import guessed_type
from dashboard.storage.driver import SMALL
from dashboard.storage.errors import Exists, NotFound, Unsupported
from dashboard.storage.manager import Storage
from dashboard.storage.open_files import open_file
from dashboard.storage.operations import Operations
from dashboard.storage.types import Attributes, ObjectInfo


class StowageStorage(DjangoStorage):  # type: ignore[misc]  # Django has no types of its own
    """One backend. Thread-safe.

    One of: ``driver`` with its own options; ``config``, the path of a TOML file as ``Storage.from_toml``
    reads it; ``storage``, a ``Storage`` or the dotted path of one. ``backend`` is its name there, by default
    the default one. ``overwrite``: a name that is taken is replaced, as static files want it.
    ``signed_seconds``: addresses are signed and good for so long. ``cache_control`` is stored with every
    file.
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

    def _open(self, name: str, mode: str = "rb") -> Any:
        if mode not in ("rb", "r"):
            raise ValueError("Files are opened for reading; write them with save().")
        try:
            return File(open_file(self.backend, name), name)
        except NotFound as error:
            raise FileNotFoundError(error.reason) from error

    def _save(self, name: str, content: Any) -> str:
        kind = getattr(content, "content_type", None) or guessed_type(name)
        attributes = Attributes(content_type=kind, cache_control=self._cache_control or None)
        create_only = not self._overwrite
        while True:
            try:
                self._write(name, content, attributes, create_only=create_only)
                return name
            except Exists:
                # Somebody took the name between the look and the write.
                name = str(self.get_available_name(name))
            except Unsupported:
                if not create_only:
                    raise
                # The server cannot refuse to replace; the look before has to do.
                create_only = False

    def _write(self, name: str, content: Any, attributes: Attributes, *, create_only: bool) -> None:
        with self.backend.write_stream(name, attributes=attributes, create_only=create_only) as writing:
            for chunk in _chunks(content):
                writing.write(chunk)
            writing.commit()

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        """The name itself where it may be replaced, else one that is free."""
        if self._overwrite:
            return name
        return str(super().get_available_name(name, max_length))

    def delete(self, name: str) -> None:
        """Remove a file; a missing one is success."""
        if not name:
            raise ValueError("The name must be given to delete().")
        self.backend.delete(name)

    def exists(self, name: str) -> bool:
        """Whether there is such a file."""
        return self.backend.exists(name)

    def listdir(self, path: str) -> tuple[list[str], list[str]]:
        """The names of the directories and of the files directly in a directory."""
        directories = [posixpath.basename(each) for each in self.backend.directories(path)]
        return directories, [posixpath.basename(entry.key) for entry in self.backend.files(path)]

    def size(self, name: str) -> int:
        """Bytes. Raises ``FileNotFoundError``."""
        return self._stat(name).size

    def url(self, name: str) -> str:
        """The lasting address, or a signed one where ``signed_seconds`` is set."""
        if self._signed:
            return self.backend.temporary_url(name, seconds=self._signed)
        return self.backend.url(name)

    def get_modified_time(self, name: str) -> datetime:
        """When the file was written: with its time zone if ``USE_TZ``, else in local time."""
        modified = self._stat(name).modified
        if modified is None:
            raise NotImplementedError("This backend does not tell when a file was written.")
        aware = datetime.fromtimestamp(modified, UTC)
        local: datetime = aware if settings.USE_TZ else make_naive(aware)
        return local

    def _stat(self, name: str) -> ObjectInfo:
        try:
            return self.backend.stat(name)
        except NotFound as error:
            raise FileNotFoundError(error.reason) from error


def _chunks(content: Any) -> Iterator[bytes]:
    for chunk in content.chunks(SMALL // 8):
        yield chunk.encode() if isinstance(chunk, str) else bytes(chunk)
