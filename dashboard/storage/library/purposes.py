"""Three kinds of files of a web site: media for everybody, static files, and private ones.

Each is a view of a backend, which stores the bytes. Headers are stored if the driver keeps attributes; for a
local disk, set them in the web server.
"""

from __future__ import annotations

from urllib.parse import quote

from dashboard.storage.errors import Exists, Unsupported
from dashboard.storage.library.contents import Content, put_unique
from dashboard.storage.library.operations import Operations
from dashboard.storage.naming import AsGiven, Naming, UniqueNames
from dashboard.storage.paths import guess_content_type
from dashboard.storage.types import Attributes

YEAR = 365 * 24 * 3600
_RUNS_IN_BROWSERS = frozenset(
    {
        "text/html",
        "application/xhtml+xml",
        "image/svg+xml",
        "text/xml",
        "application/xml",
        "text/javascript",
        "application/javascript",
    }
)
"""Types that a browser would run with the rights of the site they come from."""


class _Purpose:
    """Saving under a policy. Thread-safe."""

    _cache_control = ""

    def __init__(self, backend: Operations, names: Naming) -> None:
        self.backend = backend
        self.names = names

    def save(self, name: str, content: Content, *, content_type: str | None = None) -> str:
        """Store a file that a person calls ``name``; returns its key. Atomic. Without ``content_type`` it is
        guessed from the name. Raises what ``put`` raises, and ``InvalidInput`` for an invalid name."""
        kind = content_type or guess_content_type(name)
        key = self.names.key_for(name)
        attributes = Attributes(
            content_type=kind, cache_control=self._cache_control, content_disposition=self._disposition(kind)
        )
        if self.names.unique and isinstance(content, bytes | str):
            try:
                put_unique(self.backend, key, content, attributes)
            except Exists:
                key = self.names.key_for(name)
                self.backend.put(key, content, attributes=attributes)
        else:
            self.backend.put(key, content, attributes=attributes)
        return key

    def delete(self, key: str) -> None:
        """Delete a file. Succeeds if it does not exist."""
        self.backend.delete(key)

    def _disposition(self, kind: str | None) -> str | None:
        return None


class PublicMedia(_Purpose):
    """What people upload for everybody to see: unique names in folders of the day, cached for a year.

    ``base_url`` is the public URL of the backend, such as a CDN; without it the backend's own URLs are used.
    HTML, SVG, XML and JavaScript are marked as downloads, because a browser that shows them runs their code.
    """

    _cache_control = f"public, max-age={YEAR}, immutable"

    def __init__(self, backend: Operations, *, base_url: str = "", names: Naming | None = None) -> None:
        super().__init__(backend, names or UniqueNames(dated=True))
        self._base_url = base_url

    def url(self, key: str) -> str:
        """Return the permanent URL. Raises ``Unsupported`` if there is neither a base URL nor one of the
        backend."""
        return _address(self.backend, self._base_url, key)

    def _disposition(self, kind: str | None) -> str | None:
        return (
            "attachment"
            if kind is None or kind.partition(";")[0].strip().lower() in _RUNS_IN_BROWSERS
            else None
        )


class StaticFiles(_Purpose):
    """Files of a program: the same name replaces, cached for a year. Change the names whenever the content
    changes, or browsers show the old one that long."""

    _cache_control = f"public, max-age={YEAR}"

    def __init__(self, backend: Operations, *, base_url: str = "", folder: str = "") -> None:
        super().__init__(backend, AsGiven(folder))
        self._base_url = base_url

    def url(self, key: str) -> str:
        """Return the permanent URL. Raises ``Unsupported`` if there is neither a base URL nor one of the
        backend."""
        return _address(self.backend, self._base_url, key)


class PrivateFiles(_Purpose):
    """Files that only some may read: unique names, nothing cached, and only signed URLs that expire.

    Whether the container itself is private is a setting of the container.
    """

    _cache_control = "private, no-store"

    def __init__(self, backend: Operations, *, names: Naming | None = None) -> None:
        super().__init__(backend, names or UniqueNames(dated=True))

    def url(self, key: str) -> str:
        """Raises ``Unsupported``."""
        raise Unsupported("url", "Private files have no lasting address; ask for a temporary one.")

    def temporary_url(self, key: str, *, seconds: int = 300) -> str:
        """Return a URL that expires. Raises ``Unsupported`` if the driver cannot create one."""
        return self.backend.temporary_url(key, seconds=seconds)


def _address(backend: Operations, base_url: str, key: str) -> str:
    return f"{base_url.rstrip('/')}/{quote(key, safe='/~')}" if base_url else backend.url(key)
