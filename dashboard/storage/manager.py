"""Backends by name, for application code; knows nothing of where their settings are kept."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock

from dashboard.storage.backend import Backend
from dashboard.storage.driver import Driver


class Storage:
    """Every backend a program has, built when it is first asked for and kept. Thread-safe.

    ``resolve`` turns a name into a driver and raises ``StowageError`` for names it does not know::

        storage = Storage(lambda name: build("local", {"root": f"/srv/{name}"}))
        storage.backend("media").put("hello.txt", "Hello")
    """

    def __init__(self, resolve: Callable[[str], Driver]) -> None:
        self._resolve = resolve
        self._lock = Lock()
        self._backends: dict[str, Backend] = {}

    def backend(self, name: str) -> Backend:
        """The backend of this name; the same object every time."""
        with self._lock:
            found = self._backends.get(name)
            if found is None:
                found = self._backends[name] = Backend(name, self._resolve(name))
            return found

    disk = backend
    """The same call under the name other frameworks know it by."""

    def forget(self, name: str) -> None:
        """Close the backend and build it anew when it is next asked for: its settings changed."""
        with self._lock:
            found = self._backends.pop(name, None)
        if found is not None:
            found.driver.close()

    def close(self) -> None:
        """Close every backend. Idempotent."""
        with self._lock:
            backends, self._backends = list(self._backends.values()), {}
        for each in backends:
            each.driver.close()
