"""An unresponsive backend is waited for once, and probed until it responds."""

from __future__ import annotations

import threading

import pytest

from dashboard.errors import Kind
from dashboard.storage.errors import NotFound, StorageError
from dashboard.storage.wrappers.fallback import circuit
from dashboard.storage.wrappers.fallback.circuit import CircuitBreaker
from dashboard.storage.wrappers.fallback.circuit_driver import BehindCircuitBreaker
from dashboard.storage.wrappers.fallback.waiting_writes import CircuitOpen
from tests.servers.processes import wait_until
from tests.storage.objects import get, keys_of, stream
from tests.storage.wrappers.fallback.stand_ins import OutageDriver


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every failure is a slow one, and every call may look again."""
    monkeypatch.setattr(circuit, "SLOW_SECONDS", 0.0)
    monkeypatch.setattr(circuit, "PROBE_SECONDS", 0.0)


class Silent:
    """Calls that fail, counted."""

    def __init__(self, kind: Kind = Kind.TIMEOUT) -> None:
        self.kind: Kind | None = kind
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if self.kind is not None:
            raise StorageError(self.kind, "Nobody answers.", operation="put")
        return "here"


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("answer", ["yes", "not found", "denied"])
def test_only_the_first_call_waits_and_any_answer_ends_it(answer: str) -> None:
    place, back, looks = Silent(), threading.Event(), threading.Semaphore(0)
    told: list[StorageError | None] = []

    def probe() -> None:
        looks.release()
        if not back.is_set():
            raise StorageError(Kind.TIMEOUT, "Nobody answers.")
        if answer == "not found":
            raise NotFound("x")
        if answer == "denied":
            raise StorageError(Kind.DENIED, "Not for you.")

    breaker = CircuitBreaker(probe, told.append)
    with pytest.raises(StorageError) as first:
        breaker.call(place)
    assert not isinstance(first.value, CircuitOpen)
    for _ in range(3):
        with pytest.raises(CircuitOpen) as caught:
            breaker.call(place)
        assert (caught.value.kind, caught.value.reason) == (Kind.TIMEOUT, "Nobody answers.")
        assert caught.value.retryable
    assert place.calls == 1
    assert looks.acquire(timeout=60)
    place.kind = None
    back.set()

    def asked() -> bool:
        try:
            return breaker.call(place) == "here"
        except CircuitOpen:
            return False

    wait_until(asked, seconds=60, what="the circuit closed")
    assert told == [first.value, None]


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize(
    "kind", [Kind.DENIED, Kind.THROTTLED, Kind.FULL, Kind.BAD_CREDENTIALS, Kind.NOT_FOUND]
)
def test_an_answer_opens_nothing(kind: Kind) -> None:
    place = Silent(kind)
    breaker = CircuitBreaker(place)
    for calls in (1, 2):
        with pytest.raises(StorageError):
            breaker.call(place)
        assert place.calls == calls
    assert not breaker.open


def test_a_quick_failure_costs_nothing_and_is_tried_again() -> None:
    place = Silent(Kind.UNREACHABLE)
    breaker = CircuitBreaker(place)
    for _ in range(2):
        with pytest.raises(StorageError):
            breaker.call(place)
    assert place.calls == 2


@pytest.mark.usefixtures("eager")
def test_every_call_to_a_place_is_guarded() -> None:
    place = OutageDriver()
    breaker = CircuitBreaker(lambda: place.stat("probe"))
    driver = BehindCircuitBreaker(place, breaker)
    driver.put("a", b"hello")
    stream(driver, "b", b"streamed")
    assert get(driver, "b") == b"streamed"
    assert keys_of(driver) == ["a", "b"]
    assert driver.read_range("a", 1, 2) == b"el"  # type: ignore[attr-defined]
    left = driver.write("c")
    place.away = True
    with pytest.raises(StorageError):
        driver.stat("a")
    for call in (
        lambda: driver.read("a"),
        lambda: driver.put("a", b"x"),
        lambda: driver.write("a"),
        lambda: driver.stat("a"),
        lambda: list(driver.list()),
        lambda: driver.delete("a"),
        lambda: driver.read_range("a", 0, 1),  # type: ignore[attr-defined]
        lambda: left.write(b"x"),
        left.commit,
    ):
        with pytest.raises(CircuitOpen):
            call()
    left.__exit__(None, None, None)
