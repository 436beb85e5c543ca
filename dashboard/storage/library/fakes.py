"""A backend in memory with assertions, for the tests of programs that use the library."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self

from dashboard.storage.library.backend import Backend
from dashboard.storage.types import EMPTY


class FakeBackend(Backend):
    """A backend in memory that keeps every promise of a real one. The assertions raise ``AssertionError``.

    It replaces the real backend until :meth:`restore`, which leaving a ``with`` block calls.
    """

    def __init__(self, name: str, restored: Callable[[FakeBackend], None] = lambda _: None) -> None:
        from dashboard.storage.registry import build

        super().__init__(name, build("memory", EMPTY))
        self._restored = restored

    def restore(self) -> None:
        """Put the real backend back, or the fake before this one. Idempotent."""
        self._restored(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.restore()

    def assert_exists(self, *keys: str, content: bytes | str | None = None) -> None:
        """Assert that these objects exist and, with ``content``, contain exactly that."""
        for key in keys:
            assert self.exists(key), f"“{self.name}” has no object “{key}”, only {self._keys()}."
            if content is not None:
                wanted = content.encode() if isinstance(content, str) else content
                assert self.get(key) == wanted, f"“{key}” on “{self.name}” holds something else."

    def assert_missing(self, *keys: str) -> None:
        """Assert that these objects do not exist."""
        for key in keys:
            assert not self.exists(key), f"“{self.name}” has an object “{key}”."

    def assert_count(self, count: int, prefix: str = "") -> None:
        """Assert the number of objects whose key begins with ``prefix``."""
        found = sum(1 for _ in self.list(prefix))
        assert found == count, f"“{self.name}” has {found} objects, not {count}: {self._keys(prefix)}."

    def _keys(self, prefix: str = "") -> str:
        keys = [entry.key for entry in self.list(prefix)]
        shown = ", ".join(f"“{key}”" for key in keys[:10])
        return f"{shown} and {len(keys) - 10} more" if len(keys) > 10 else shown or "none"
