"""What a directory or a prefix contains, as a stream that can also be counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Generic, Self, TypeVar, overload

from dashboard.storage.errors import Unsupported

T = TypeVar("T")

MAX_KEPT = 100_000
"""How many entries ``len`` and indexing keep in memory at most."""


class Listing(Generic[T]):
    """The results of a listing, each once, like any iterator: nothing is kept in memory.

    ``len()``, an index and ``==`` list everything once and keep it, up to ``MAX_KEPT`` entries; above that
    they raise ``Unsupported``, and only iterating is possible. ``in`` and ``bool`` stop as soon as the answer
    is known. Used by one thread. Raises ``StorageError`` while it is consumed.
    """

    def __init__(self, start: Callable[[], Iterator[T]]) -> None:
        self._start = start
        self._streaming: Iterator[T] | None = None
        self._kept: list[T] | None = None

    def __iter__(self) -> Iterator[T]:
        """Iterate over what is kept, or list from the beginning."""
        return iter(self._kept) if self._kept is not None else self._start()

    def __next__(self) -> T:
        if self._streaming is None:
            self._streaming = iter(self)
        return next(self._streaming)

    def __len__(self) -> int:
        return len(self._keep())

    def __bool__(self) -> bool:
        return next(iter(self), None) is not None

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: int | slice) -> T | list[T]:
        return self._keep()[index]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Listing):
            return self._keep() == other._keep()
        return isinstance(other, list | tuple) and self._keep() == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Listing({self._kept})" if self._kept is not None else "Listing(not read yet)"

    def _keep(self) -> list[T]:
        if self._kept is None:
            found = list(islice(self._start(), MAX_KEPT + 1))
            if len(found) > MAX_KEPT:
                raise Unsupported("list", f"More than {MAX_KEPT:,} entries: iterate over them instead.")
            self._kept = found
        return self._kept

    def __copy__(self) -> Self:
        return type(self)(self._start)
