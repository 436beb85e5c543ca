"""A count that a person stops: at once, however slow the listing is, and without losing the last one."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dashboard.errors import StowageError
from dashboard.services.services import Services
from dashboard.storage.drivers.local.driver import LocalDriver
from dashboard.storage.types import Entry
from tests.services.composed import add_local, composed, fill
from tests.services.console import ADMIN, VIEWER


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    with composed(tmp_path / "instance") as services:
        fill(add_local(services, "here", tmp_path / "here"), {f"{n}": 2 for n in range(20)})
        yield services


class Stuck:
    """A listing that hangs inside a page until the test lets it go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
        self.reached, self.go_on = threading.Event(), threading.Event()
        listing = LocalDriver.list_readable

        def slow(driver: LocalDriver, *args: Any, **more: Any) -> Iterator[Entry]:
            for number, entry in enumerate(listing(driver, *args, **more)):
                if number == after:
                    self.reached.set()
                    self.go_on.wait(60)
                yield entry

        monkeypatch.setattr(LocalDriver, "list_readable", slow)


def count(services: Services, stop: threading.Event) -> tuple[threading.Thread, list[bool]]:
    number = services.backends.get("here").id
    results: list[bool] = []
    thread = threading.Thread(
        target=lambda: results.append(services.checks.count_backend(number, stop.is_set))
    )
    thread.start()
    return thread, results


def test_a_stopped_count_ends_inside_a_page_and_the_old_one_stays(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert services.checks.count_backend(services.backends.get("here").id, lambda: False)
    before = services.backends.get("here").status
    stuck = Stuck(monkeypatch, after=5)
    thread, results = count(services, threading.Event())
    try:
        assert stuck.reached.wait(120)
        asked = time.monotonic()
        services.schedules.recurring.stop_count(ADMIN, "here")
        thread.join(120)
        print(f"stopped within {time.monotonic() - asked:.2f} s")
    finally:
        stuck.go_on.set()
        thread.join()
    assert results == [True], "done, and not to be tried again"
    status = services.backends.get("here").status
    assert (status.objects, status.counted_at) == (20, before.counted_at)
    assert not status.counting
    assert services.checks.count_backend(services.backends.get("here").id, lambda: False), "the next one runs"


def test_a_runner_that_stops_ends_a_count_inside_a_page_and_it_is_tried_again(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck, stop = Stuck(monkeypatch, after=0), threading.Event()
    thread, results = count(services, stop)
    try:
        assert stuck.reached.wait(120)
        stop.set()
        thread.join(120)
        assert results == [False]
    finally:
        stuck.go_on.set()
        thread.join()


def test_a_count_that_waits_for_the_runner_is_taken_back(services: Services) -> None:
    services.backends.refresh(ADMIN, "here")
    assert services.backends.get("here").status.counting
    services.schedules.recurring.stop_count(ADMIN, "here")
    assert not services.backends.get("here").status.counting
    assert "count" not in [job.kind for job in services.jobs.list()]
    with pytest.raises(StowageError):
        services.schedules.recurring.stop_count(VIEWER, "here")
    with pytest.raises(StowageError):
        services.schedules.recurring.stop_count(ADMIN, "nowhere")
