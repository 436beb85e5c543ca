"""The files of an application that follows the console: whichever backend is active holds them."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING

from dashboard.errors import Kind, StowageError
from dashboard.storage.errors import NotFound, StorageError, Unsupported

if TYPE_CHECKING:
    from dashboard.services.services import Services
    from dashboard.storage import Backend
    from dashboard.storage.library.contents import Content


class ActiveStorage:
    """The active backend of an instance, and for reads the backends of its fallback order after it. Opened by
    the first call, looked up with each. Thread-safe. If no backend has the file, raises the error of one that
    cannot be reached, because it may have it, else ``NotFound``."""

    def __init__(self, open_services: Callable[[], Services]) -> None:
        self._open = open_services
        self._lock = Lock()
        self._services: Services | None = None

    def save(self, name: str, content: Content) -> str:
        """Store a file under this name and return it. Atomic; replaces an existing file."""
        self._in_order()[0].put(name, content)
        return name

    def read(self, name: str) -> bytes:
        """Return a file's content. Raises ``NotFound``."""
        return self._holder(name).get(name)

    def exists(self, name: str) -> bool:
        """Whether the file exists."""
        try:
            self._holder(name)
        except NotFound:
            return False
        return True

    def delete(self, name: str) -> None:
        """Delete a file at the active backend. Succeeds if it does not exist."""
        self._in_order()[0].delete(name)

    def url(self, name: str, *, seconds: int = 3600) -> str:
        """Return the file's permanent URL, or one that expires after ``seconds`` if it has none. Raises
        ``NotFound``, and ``Unsupported`` if the backend has neither."""
        holder = self._holder(name)
        try:
            return holder.url(name)
        except Unsupported:
            return holder.temporary_url(name, seconds=seconds)

    def close(self) -> None:
        """Close the instance; the next call opens it again. Idempotent."""
        with self._lock:
            services, self._services = self._services, None
        if services is not None:
            services.close()

    def _in_order(self) -> list[Backend]:
        with self._lock:
            if self._services is None:
                self._services = self._open()
            backends = self._services.backends
        # The active one comes first, then the fallback order.
        names = [each.name for each in backends.list() if each.active or each.fallback_position is not None]
        if not names or not backends.get(names[0]).active:
            raise StowageError(
                Kind.NOT_FOUND,
                "No backend is active.",
                operation="open storage",
                remedy="Make one active in the console.",
            )
        from dashboard.storage.library.backend import LiveBackend

        return [LiveBackend(name, backends.driver) for name in names]

    def _holder(self, name: str) -> Backend:
        """The first backend that has the file."""
        from dashboard.storage.wrappers.fallback.waiting_writes import is_unavailable

        first: StorageError | None = None
        for backend in self._in_order():
            try:
                backend.stat(name)
            except StorageError as error:
                if not isinstance(error, NotFound) and not is_unavailable(error):
                    raise
                # An unreachable backend may have it: that is not the same as not found.
                if first is None or isinstance(first, NotFound):
                    first = error
            else:
                return backend
        assert first is not None
        raise first
