"""A named backend, as application code uses it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock

from dashboard.storage.driver import Driver
from dashboard.storage.library.operations import Operations


class Backend(Operations):
    """One backend by name. Thread-safe; see ``Operations`` for its methods.

    ``fakes``: drivers that replace it in a program's tests, the last one of them; see ``Storage.fake``. The
    list belongs to the creator of the backend.
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
        """Free its connections. A ``Storage`` closes its own backends. Idempotent."""
        self._driver.close()


class LazyBackend(Backend):
    """A backend whose driver, and the vendor's SDK with it, is loaded when it is first used."""

    def __init__(self, name: str, make: Callable[[], Driver], *, fakes: Sequence[Operations] = ()) -> None:
        self.name = name
        self._make = make
        self._fakes = fakes
        self._lock = Lock()
        self._made: Driver | None = None

    @property
    def driver(self) -> Driver:
        """The driver, built by the first call."""
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
    """A backend whose driver is looked up before every call, because its settings may change. Closes nothing,
    because the driver belongs to ``resolve``."""

    def __init__(
        self, name: str, resolve: Callable[[str], Driver], *, fakes: Sequence[Operations] = ()
    ) -> None:
        self.name = name
        self._resolve = resolve
        self._fakes = fakes

    @property
    def driver(self) -> Driver:
        """The current driver."""
        return self._fake() or self._resolve(self.name)

    def close(self) -> None:
        """Does nothing: it owns no connections."""
