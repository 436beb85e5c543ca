"""The facade application code works with: a named backend with everything a driver leaves out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock

from dashboard.storage.driver import Driver
from dashboard.storage.library.operations import Operations


class Backend(Operations):
    """One backend by name. Thread-safe; see ``Operations`` for what it does.

    ``fakes``: in a program's tests the drivers that take its place, the last one of them; see
    ``Storage.fake``. The list belongs to whoever made the backend.
    """

    def __init__(self, name: str, driver: Driver, *, fakes: Sequence[Operations] = ()) -> None:
        self.name = name
        self._driver = driver
        self._fakes = fakes

    @property
    def driver(self) -> Driver:
        """The driver that does the work."""
        return self._fake() or self._driver

    def _fake(self) -> Driver | None:
        fakes = self._fakes
        return fakes[-1].driver if fakes else None

    def close(self) -> None:
        """Free its connections. Idempotent; a ``Storage`` does it for its own."""
        self._driver.close()


class LazyBackend(Backend):
    """Its driver, and the vendor's SDK with it, is loaded when it is first used."""

    def __init__(self, name: str, make: Callable[[], Driver], *, fakes: Sequence[Operations] = ()) -> None:
        self.name = name
        self._make = make
        self._fakes = fakes
        self._lock = Lock()
        self._made: Driver | None = None

    @property
    def driver(self) -> Driver:
        """The driver, made on the first call."""
        if fake := self._fake():
            return fake
        with self._lock:
            if self._made is None:
                self._made = self._make()
            return self._made

    def close(self) -> None:
        """See ``Backend``."""
        with self._lock:
            if self._made is not None:
                self._made.close()


class LiveBackend(Backend):
    """Its driver is asked for before every call, because its settings may change. Closes nothing: the
    driver belongs to whoever is asked."""

    def __init__(
        self, name: str, resolve: Callable[[str], Driver], *, fakes: Sequence[Operations] = ()
    ) -> None:
        self.name = name
        self._resolve = resolve
        self._fakes = fakes

    @property
    def driver(self) -> Driver:
        """The driver of the moment."""
        return self._fake() or self._resolve(self.name)

    def close(self) -> None:
        """There is nothing of its own to free."""
