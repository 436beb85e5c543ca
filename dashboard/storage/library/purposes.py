"""Three ways files are kept for a web site: media everybody sees, static files, and private ones.

Each is a view of a backend; the bytes are where the backend keeps them. Headers are kept where the driver
keeps attributes; a local disk does not, there the web server sets them.
"""

from __future__ import annotations

from urllib.parse import quote

from dashboard.storage.errors import Exists, Unsupported
from dashboard.storage.library.operations import Content, Operations
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
"""Types that a browser would run in the name of the site they come from."""


class _Purpose:
    """Saving under a policy. Thread-safe."""

    _cache_control = ""

    def __init__(self, backend: Operations, names: Naming) -> None:
        self.backend = backend
        self.names = names

    def save(self, name: str, content: Content, *, content_type: str | None = None) -> str:
        """Store a file that a person calls ``name``, atomically; returns its key. Without ``content_type``
        the name's ending says it. Raises as ``put``; ``InvalidInput`` for a name that cannot be one."""
        kind = content_type or guess_content_type(name)
        key = self.names.key_for(name)
        attributes = Attributes(
            content_type=kind, cache_control=self._cache_control, content_disposition=self._disposition(kind)
        )
        if self.names.unique and isinstance(content, bytes | str):
            try:
                self.backend.put(key, content, attributes=attributes, create_only=True)
            except Exists:
                key = self.names.key_for(name)
                self.backend.put(key, content, attributes=attributes)
            except Unsupported:
                # The server has no such call; 64 random bits are unique enough.
                self.backend.put(key, content, attributes=attributes)
        else:
            self.backend.put(key, content, attributes=attributes)
        return key

    def delete(self, key: str) -> None:
        """Remove a file; a missing one is success."""
        self.backend.delete(key)

    def _disposition(self, kind: str | None) -> str | None:
        return None


class PublicMedia(_Purpose):
    """What people upload for everybody to see: unique names in folders of the day, cached for a year.

    ``base_url`` is where the backend is seen from outside, such as a CDN; without it the backend's own
    addresses are given out. HTML, SVG, XML and JavaScript are marked to be downloaded and not shown, because
    shown they could act for whoever looks at them.
    """

    _cache_control = f"public, max-age={YEAR}, immutable"

    def __init__(self, backend: Operations, *, base_url: str = "", names: Naming | None = None) -> None:
        super().__init__(backend, names or UniqueNames(dated=True))
        self._base_url = base_url

    def url(self, key: str) -> str:
        """The lasting address. Raises ``Unsupported`` where there is neither a base URL nor one."""
        return _address(self.backend, self._base_url, key)

    def _disposition(self, kind: str | None) -> str | None:
        return (
            "attachment"
            if kind is None or kind.partition(";")[0].strip().lower() in _RUNS_IN_BROWSERS
            else None
        )


class StaticFiles(_Purpose):
    """What belongs to a program: the same name replaces, cached for a year. Let names change with their
    content, or browsers show the old one for as long."""

    _cache_control = f"public, max-age={YEAR}"

    def __init__(self, backend: Operations, *, base_url: str = "", folder: str = "") -> None:
        super().__init__(backend, AsGiven(folder))
        self._base_url = base_url

    def url(self, key: str) -> str:
        """The lasting address. Raises ``Unsupported`` where there is neither a base URL nor one."""
        return _address(self.backend, self._base_url, key)


class PrivateFiles(_Purpose):
    """What only some may read: unique names, nothing cached, and no address but signed ones that expire.

    Whether the place itself is closed to strangers is the place's own setting.
    """

    _cache_control = "private, no-store"

    def __init__(self, backend: Operations, *, names: Naming | None = None) -> None:
        super().__init__(backend, names or UniqueNames(dated=True))

    def url(self, key: str) -> str:
        """Raises ``Unsupported``."""
        raise Unsupported("url", "Private files have no lasting address; ask for a temporary one.")

    def temporary_url(self, key: str, *, seconds: int = 300) -> str:
        """An address that expires. Raises ``Unsupported`` where the driver cannot make one."""
        return self.backend.temporary_url(key, seconds=seconds)


def _address(backend: Operations, base_url: str, key: str) -> str:
    return f"{base_url.rstrip('/')}/{quote(key, safe='/~')}" if base_url else backend.url(key)
