"""A backend with the seven calls that pluggable media storages have in other programs."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from dashboard.storage.errors import Unsupported
from dashboard.storage.library.contents import Content
from dashboard.storage.library.operations import Operations
from dashboard.storage.library.purposes import PublicMedia

_METADATA = ("size", "content_type", "last_modified", "etag")


class MediaBackend:
    """Media of an application on one backend, under unique names in folders by day. Thread-safe."""

    def __init__(self, backend: Operations, *, base_url: str = "") -> None:
        self._backend = backend
        self._media = PublicMedia(backend, base_url=base_url)

    def save(self, content: Content, filename: str, content_type: str | None = None) -> str:
        """Store a file; returns its key. Atomic."""
        return self._media.save(filename, content, content_type=content_type)

    def delete(self, key: str) -> bool:
        """Delete a file; returns whether there was one."""
        found = self._backend.exists(key)
        self._backend.delete(key)
        return found

    def get_url(self, key: str, expires_in: int = 3600) -> str:
        """Return a URL that expires after ``expires_in`` seconds, or the permanent one if the backend cannot
        sign. Raises ``Unsupported`` if it has neither."""
        try:
            return self._backend.temporary_url(key, seconds=expires_in)
        except Unsupported:
            return self._media.url(key)

    def exists(self, key: str) -> bool:
        """Whether the file exists."""
        return self._backend.exists(key)

    def get_metadata(self, key: str) -> Mapping[str, object]:
        """Return ``size``, ``content_type``, ``last_modified`` and ``etag``. Raises ``NotFound``."""
        info = self._backend.stat(key)
        return MappingProxyType({name: info[name] for name in _METADATA})

    def read(self, key: str) -> bytes:
        """Return the content. Raises ``NotFound``."""
        return self._backend.get(key)
