"""A call that is waited for only so long, even where it does not end by itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from dashboard.errors import Kind
from dashboard.storage.errors import StorageError

T = TypeVar("T")


class Stopped(Exception):
    """The caller does not want to know any more."""


def bounded(act: Callable[[], T], seconds: float, stop: Callable[[], bool]) -> T:
    """Call in a thread and wait for it so long. Raises what it raised, a timeout, or ``Stopped``."""
    results: list[T] = []
    errors: list[BaseException] = []

    def call() -> None:
        try:
            results.append(act())
        except BaseException as error:  # noqa: BLE001  # raised again in the waiting thread
            errors.append(error)

    thread = threading.Thread(target=call, name="probe", daemon=True)
    thread.start()
    deadline = time.monotonic() + seconds
    while thread.is_alive():
        if stop():
            raise Stopped
        if time.monotonic() > deadline:
            raise StorageError(
                Kind.TIMEOUT,
                f"There was no answer within {seconds:.0f} seconds.",
                operation="probe",
                remedy="Check that the server is well and that nothing on the way holds the connection up.",
            )
        thread.join(0.05)
    if errors:
        raise errors[0]
    return results[0]
