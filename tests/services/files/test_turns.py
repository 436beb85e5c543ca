"""Files that are opened and thumbnails that are made at once: a burst waits for its turn, behind what hangs
nobody waits for long."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from dataclasses import replace

import pytest

from dashboard.errors import Kind, StowageError
from dashboard.services.files.turns import OPENINGS, THUMBNAILS, Limits, Turns


def test_a_backend_that_hangs_leaves_places_for_others() -> None:
    turns = Turns(replace(OPENINGS, stuck_seconds=0.0))
    with ExitStack() as hanging:
        for _ in range(OPENINGS.per_group):
            hanging.enter_context(turns.turn(1))
        with pytest.raises(StowageError, match="responds slowly") as raised, turns.turn(1):
            pass
        assert raised.value.kind is Kind.THROTTLED
        for _ in range(OPENINGS.total - OPENINGS.per_group):
            hanging.enter_context(turns.turn(2))
        with pytest.raises(StowageError, match="responds slowly"), turns.turn(3):
            pass
    with turns.turn(1), turns.turn(3):
        pass


@pytest.mark.parametrize(
    ("limits", "burst"), [(OPENINGS, 100), (THUMBNAILS, THUMBNAILS.total + THUMBNAILS.waiting)]
)
def test_a_burst_waits_for_its_turn(limits: Limits, burst: int) -> None:
    turns, done = Turns(replace(limits, stuck_seconds=30.0)), []

    def take_one() -> None:
        with turns.turn(1):
            done.append(threading.get_ident())

    with ExitStack() as busy:
        for _ in range(limits.per_group):
            busy.enter_context(turns.turn(1))
        threads = [threading.Thread(target=take_one) for _ in range(burst - limits.per_group)]
        for thread in threads:
            thread.start()
    for thread in threads:
        thread.join(60)
    assert len(done) == burst - limits.per_group


def test_nobody_waits_for_a_client_that_is_gone_or_behind_too_many() -> None:
    turns = Turns(replace(THUMBNAILS, total=1, per_group=1, waiting=1, stuck_seconds=60.0))
    looked = threading.Event()

    def gone() -> bool:
        """She clicks on once the request has waited for a while."""
        if looked.is_set():
            return True
        looked.set()
        return False

    with turns.turn():
        refused: list[Kind] = []

        def wait() -> None:
            with pytest.raises(StowageError) as raised, turns.turn(gone=gone):
                pass
            refused.append(raised.value.kind)

        waiting = threading.Thread(target=wait)
        waiting.start()
        assert looked.wait(60)
        waiting.join(60)
        assert refused == [Kind.THROTTLED]
        # Its place in the queue is free again.
        with pytest.raises(StowageError, match="Other thumbnails"), turns.turn(gone=lambda: True):
            pass
    crowd = Turns(replace(THUMBNAILS, total=1, per_group=1, waiting=0))
    with crowd.turn(), pytest.raises(StowageError, match="Other thumbnails"), crowd.turn():
        pass
