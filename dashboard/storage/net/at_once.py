"""A few calls at the same time, where each mostly waits for a server."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextvars import copy_context

from dashboard.storage.driver import Driver, LimitsConnections

MAX_CALLS = 8
"""Calls that a driver gets at the same time here, unless it accepts fewer."""


def calls_at_once(driver: Driver) -> int:
    """How many calls may be made to a driver at the same time. No network call."""
    return min(MAX_CALLS, driver.max_connections()) if isinstance(driver, LimitsConnections) else MAX_CALLS


def call_at_once(calls: Sequence[Callable[[], object]], most: int = MAX_CALLS) -> None:
    """Make these calls, ``most`` of them at the same time, begun in their order; wait until all have ended.

    If one raises, no further call is begun, and those that have begun are waited for. Then this raises what
    the first in order raised. The calls see the caller's context variables, such as ``limit_attempts``.
    """
    waiting = iter(enumerate(calls))
    errors: dict[int, BaseException] = {}
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                number, call = (None if errors else next(waiting, None)) or (-1, None)
            if call is None:
                return
            try:
                call()
            except BaseException as error:  # noqa: BLE001  # raised again in the caller's thread
                errors[number] = error

    threads = [
        threading.Thread(target=copy_context().run, args=(work,), name="at-once", daemon=True)
        for _ in range(min(most, len(calls)) - 1)
    ]
    try:
        for thread in threads:
            thread.start()
        work()
    finally:
        for thread in threads:
            if thread.ident is not None:
                thread.join()
    if errors:
        raise errors[min(errors)]
