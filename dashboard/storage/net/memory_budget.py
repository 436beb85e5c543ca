"""The memory that transfers may use together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

NEGLIGIBLE_BYTES = 64 * 1024
"""Transfers of up to this many bytes are not counted."""
_CHECK_SECONDS = 0.1
_NOTHING = nullcontext()


class MemoryBudget:
    """A number of bytes shared by threads."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._free = total
        self._changed = threading.Condition()

    def limit_to(self, total: int) -> None:
        """Have this many bytes from now on. Call it before the first reservation."""
        self._total = self._free = total

    def reserve(self, amount: int, check: Callable[[], None]) -> AbstractContextManager[None]:
        """Wait until this many bytes are free, calling ``check`` meanwhile, which may raise to give up. More
        than there are in all counts as all of them."""
        return _NOTHING if amount <= NEGLIGIBLE_BYTES else self._reserve(amount, check)

    @contextmanager
    def _reserve(self, amount: int, check: Callable[[], None]) -> Iterator[None]:
        amount = min(amount, self._total)
        with self._changed:
            while self._free < amount:
                check()
                self._changed.wait(_CHECK_SECONDS)
            self._free -= amount
        try:
            yield
        finally:
            with self._changed:
                self._free += amount
                self._changed.notify_all()
