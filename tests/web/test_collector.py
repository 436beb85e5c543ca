"""What the web server's process leaves out of the garbage collector, and what it does not."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from dashboard.app import FULL_COLLECTIONS, keep_from_collector


class Cycle:
    """Only the collector frees it."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    callbacks = list(gc.callbacks)
    yield
    gc.callbacks[:] = callbacks
    gc.unfreeze()


def test_what_is_loaded_is_left_out_and_later_cycles_are_collected() -> None:
    loaded = Cycle()
    callbacks = len(gc.callbacks)
    keep_from_collector()
    assert not any(each is loaded for each in gc.get_objects())
    for number in range(FULL_COLLECTIONS):
        assert len(gc.callbacks) == callbacks + 1, number
        by_first_pages = Cycle()
        gc.collect()
        assert not any(each is by_first_pages for each in gc.get_objects())
    assert len(gc.callbacks) == callbacks
    gone = weakref.ref(Cycle())
    kept = Cycle()
    gc.collect()
    assert gone() is None
    assert any(each is kept for each in gc.get_objects())
