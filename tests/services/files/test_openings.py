"""Files that are opened at once: a busy backend makes requests wait, one that hangs does not."""

from __future__ import annotations

import threading
from contextlib import ExitStack

import pytest

from dashboard.errors import Kind, StowageError
from dashboard.services.files import openings
from dashboard.services.files.openings import MAX_OPENINGS, MAX_PER_BACKEND, Openings


def test_a_backend_that_hangs_leaves_places_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openings, "STUCK_SECONDS", 0.0)
    places = Openings()
    with ExitStack() as hanging:
        for _ in range(MAX_PER_BACKEND):
            hanging.enter_context(places.slot(1))
        with pytest.raises(StowageError, match="responds slowly") as raised, places.slot(1):
            pass
        assert raised.value.kind is Kind.THROTTLED
        for _ in range(MAX_OPENINGS - MAX_PER_BACKEND):
            hanging.enter_context(places.slot(2))
        with pytest.raises(StowageError, match="responds slowly"), places.slot(3):
            pass
    with places.slot(1), places.slot(3):
        pass


def test_a_burst_on_a_backend_that_responds_waits_for_its_turn() -> None:
    places, done = Openings(), []

    def open_one() -> None:
        with places.slot(1):
            done.append(threading.get_ident())

    threads = [threading.Thread(target=open_one) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(done) == 100
