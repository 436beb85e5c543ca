"""A read-only backend reads as it always did, and refuses everything else before it is sent."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dashboard.errors import Kind
from dashboard.storage.copying import copy_object
from dashboard.storage.driver import CopiesWithin, CreatesBuckets, Driver, Links, RefusesWrites
from dashboard.storage.drivers.memory import MemoryDriver
from dashboard.storage.errors import NotFound, StorageError
from dashboard.storage.library.backend import Backend
from dashboard.storage.registry import build, check_options
from dashboard.storage.types import Attributes
from dashboard.storage.wrappers.read_only import ReadOnly
from tests.storage.contract.table import DRIVERS
from tests.storage.objects import content_of, get, keys_of
from tests.storage.probing import run, states, step_of

WRITES: dict[str, Callable[[Driver], object]] = {
    "put": lambda driver: driver.put("a", b"x"),
    "create-only put": lambda driver: driver.put("a", b"x", create_only=True, attributes=Attributes("a/b")),
    "write": lambda driver: driver.write("a", size=3),
    "delete": lambda driver: driver.delete("a"),
    "delete of nothing": lambda driver: driver.delete("nothing"),
    "sweep": lambda driver: driver.sweep(["a"], since=time.time()),
    "move": lambda driver: Backend("media", driver).move("a", "b"),
    "copy": lambda driver: Backend("media", driver).copy("a", "b"),
}


@pytest.fixture(params=["memory", "local", "s3"])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[Driver, Driver]]:
    """A driver, and the same place read-only."""
    made = DRIVERS[request.param](request)
    yield made, ReadOnly(made)
    made.close()


def test_reads_are_those_of_the_backend(pair: tuple[Driver, Driver]) -> None:
    plain, closed = pair
    plain.put("a/b.txt", content_of(5000), attributes=Attributes(content_type="text/plain"))
    assert get(closed, "a/b.txt") == content_of(5000)
    assert closed.stat("a/b.txt") == plain.stat("a/b.txt")
    assert list(closed.list("a")) == list(plain.list("a"))
    assert keys_of(closed, "b") == []
    assert (closed.name, closed.ordered) == (plain.name, plain.ordered)
    assert isinstance(closed, Links) == isinstance(plain, Links)
    assert isinstance(closed, RefusesWrites)
    assert not isinstance(closed, CopiesWithin)
    with pytest.raises(NotFound):
        closed.read("missing")


@pytest.mark.parametrize("name", WRITES)
def test_writes_are_refused_and_change_nothing(pair: tuple[Driver, Driver], name: str) -> None:
    plain, closed = pair
    plain.put("a", content_of(2_000_000))
    before = list(plain.list())
    with pytest.raises(StorageError) as caught:
        WRITES[name](closed)
    assert caught.value.kind is Kind.DENIED
    assert not caught.value.retryable
    assert "read-only" in caught.value.reason
    assert caught.value.remedy
    assert list(plain.list()) == before


def test_a_place_that_is_missing_is_not_made(tmp_path: Path) -> None:
    options = {"root": str(tmp_path / "none"), "read_only": "on"}
    driver = build("local", check_options("local", options))
    assert isinstance(driver, CreatesBuckets)
    assert not driver.bucket_exists()
    with pytest.raises(StorageError, match="read-only"):
        driver.create_bucket()
    result = run(driver)
    assert not result.passed
    assert not result.can_create_bucket
    assert "Create" not in step_of(result, "bucket").remedy
    assert not (tmp_path / "none").exists()


def test_a_probe_reads_and_does_not_call_it_broken(tmp_path: Path) -> None:
    driver = build("local", check_options("local", {"root": str(tmp_path), "read_only": "true"}))
    assert states(run(driver)) == {
        "bucket": "passed",
        "write": "skipped",
        "read": "skipped",
        "list": "passed",
        "delete": "skipped",
        "names": "skipped",
    }
    (tmp_path / "a.txt").write_text("hello")
    result = run(driver)
    assert result.passed
    assert "read-only" in step_of(result, "write").message
    assert step_of(result, "read").state == "passed"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_the_server_still_copies_from_it() -> None:
    """A copy within one place is asked of the place, not of the wrapper in front of it."""
    place = MemoryDriver()
    asked: list[Driver] = []

    class Destination(MemoryDriver):
        def can_copy_from(self, source: Driver) -> bool:
            asked.append(source)
            return super().can_copy_from(source)

    place.put("big", content_of(2_000_000))
    there = Destination()
    [entry] = place.list()
    copy_object(
        ReadOnly(place),
        there,
        entry,
        to="copy",
        progress=lambda done: None,
        stop=lambda: False,
        need_md5=False,
    )
    assert asked
    assert all(each is place for each in asked)
    assert get(there, "copy") == content_of(2_000_000)
