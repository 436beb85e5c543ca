"""Calls that are made at the same time: all are waited for, and the first error in order counts."""

from __future__ import annotations

import threading
from contextvars import ContextVar
from functools import partial

import pytest

from dashboard.storage.drivers.memory import MemoryDriver
from dashboard.storage.net.at_once import MAX_CALLS, call_at_once, calls_at_once

WAIT = 60.0
"""Seconds after which a test fails for want of what it waits for."""


def test_as_many_as_allowed_are_in_flight_at_once_and_no_more() -> None:
    together, lock = threading.Barrier(3), threading.Lock()
    now = most = 0

    def call() -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        together.wait(WAIT)
        with lock:
            now -= 1

    call_at_once([call] * 9, 3)
    assert most == 3
    assert now == 0


def test_without_a_second_connection_they_are_made_one_after_the_other_in_order() -> None:
    made: list[int] = []
    call_at_once([partial(made.append, number) for number in range(20)], 1)
    assert made == list(range(20))
    call_at_once([], 4)


def test_the_first_in_order_is_raised_after_all_have_ended_and_nothing_more_is_begun() -> None:
    last_failed, ended, begun = threading.Event(), threading.Event(), list[str]()

    def first() -> None:
        assert last_failed.wait(WAIT)
        raise ValueError("first")

    def slow() -> None:
        assert last_failed.wait(WAIT)
        ended.set()

    def last() -> None:
        last_failed.set()
        raise KeyError("last")

    with pytest.raises(ValueError, match="first"):
        call_at_once([first, slow, last, *[lambda: begun.append("more")] * 5], 3)
    assert ended.is_set()
    assert begun == []
    assert not [thread for thread in threading.enumerate() if thread.name == "at-once"]


def test_they_see_the_context_of_their_caller() -> None:
    here: ContextVar[str] = ContextVar("here", default="nowhere")
    together, seen = threading.Barrier(2), list[str]()

    def look() -> None:
        together.wait(WAIT)
        seen.append(here.get())

    token = here.set("inside")
    call_at_once([look, look])
    here.reset(token)
    assert seen == ["inside", "inside"]


def test_a_driver_that_accepts_few_connections_gets_few_calls() -> None:
    class Few(MemoryDriver):
        def max_connections(self) -> int:
            return 2

    assert calls_at_once(Few()) == 2
    assert calls_at_once(MemoryDriver()) == MAX_CALLS
