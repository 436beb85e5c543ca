"""What is asked of a backend is counted once, whatever came of it, and nothing is changed by counting."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from dashboard.errors import Kind
from dashboard.storage.driver import SMALL, CopiesWithin, DeletesUnchanged, ReadsRanges
from dashboard.storage.drivers.local.driver import LocalDriver
from dashboard.storage.drivers.memory import MemoryDriver
from dashboard.storage.errors import NotFound, StorageError
from dashboard.storage.inspection.powers import KeepsUnfinished, ListsFolders
from dashboard.storage.object_powers import DeletesMany, HasFile
from dashboard.storage.types import Entry, Written
from dashboard.storage.wrappers.counted.driver import PAGE, Counted
from dashboard.storage.wrappers.counted.request_counter import RequestCounter


@pytest.fixture
def counter() -> RequestCounter:
    return RequestCounter()


@pytest.fixture
def local(counter: RequestCounter, tmp_path: Path) -> Counted:
    return Counted(LocalDriver(str(tmp_path)), counter)


def timed_out() -> StorageError:
    return StorageError(Kind.TIMEOUT, "Too slow.", operation="read")


def test_every_class_is_counted_with_its_bytes(local: Counted, counter: RequestCounter) -> None:
    local.put("a", b"12345")
    with local.write("b", size=3) as writing:
        writing.write(b"123")
        writing.commit()
    local.stat("a")
    with local.read("a") as reading:
        assert reading.read_all() == b"12345"
    with local.read("b") as reading:
        assert b"".join(reading.chunks()) == b"123"
    assert isinstance(local, ReadsRanges)
    assert local.read_range("a", 1, 2) == b"23"
    assert [each.key for each in local.list()] == ["a", "b"]
    assert isinstance(local, ListsFolders)
    local.list_folder("", limit=10)
    local.delete("a")
    assert counter.take() == {"write": (2, 8), "read": (4, 10), "list": (2, 0), "delete": (1, 0)}
    assert counter.take() == {}


def test_what_is_not_committed_counts_without_bytes(local: Counted, counter: RequestCounter) -> None:
    with local.write("a") as writing:
        writing.write(b"123")
    assert counter.take() == {"write": (1, 0)}
    assert list(local.list()) == []


def test_a_missing_object_is_a_response_and_a_timeout_an_error(counter: RequestCounter) -> None:
    class Slow(MemoryDriver):
        def stat(self, key: str) -> Any:
            raise timed_out() if key == "slow" else NotFound(key)

        def list(self, prefix: str = "", *, start_after: str = "") -> Iterator[Entry]:
            yield Entry("a", 1, None, None)
            raise timed_out()

    counted = Counted(Slow(), counter)
    for key, error in (("slow", StorageError), ("missing", NotFound)):
        with pytest.raises(error):
            counted.stat(key)
    with pytest.raises(StorageError, match="Too slow"):
        list(counted.list())
    assert counter.take() == {"read": (2, 0), "list": (1, 0), "error:timeout": (2, 0)}


def test_an_error_in_the_middle_counts_what_arrived(counter: RequestCounter) -> None:
    class Breaking(MemoryDriver):
        def read(self, key: str, *, if_version: str | None = None) -> Any:
            opened = super().read(key, if_version=if_version)

            def chunks() -> Iterator[bytes]:
                yield b"123"
                raise timed_out()

            opened.chunks = chunks  # type: ignore[method-assign]
            return opened

    counted = Counted(Breaking(), counter)
    counted.put("a", b"12345")
    with counted.read("a") as reading, pytest.raises(StorageError, match="Too slow"):
        list(reading.chunks())
    assert counter.take() == {"write": (1, 5), "read": (1, 3), "error:timeout": (1, 0)}


def test_pages_and_parts_are_requests(counter: RequestCounter) -> None:
    class InParts(MemoryDriver):
        def unfinished(self, prefix: str = "") -> Iterator[Any]:
            return iter(())

        def abort(self, upload: Any) -> None:
            """Nothing to abort."""

        def delete_many(self, keys: Iterable[str]) -> Mapping[str, StorageError]:
            return {}

        def list(self, prefix: str = "", *, start_after: str = "") -> Iterator[Entry]:
            return iter([Entry(str(number), 1, None, None) for number in range(2 * PAGE + 1)])

    counted = Counted(InParts(), counter)
    assert isinstance(counted, KeepsUnfinished)
    sum(1 for _ in counted.list())
    assert counter.take() == {"list": (3, 0)}
    counted._written(Written("a", size=3 * SMALL + 1, md5=None, etag=None))
    assert counter.take() == {"write": (3, 3 * SMALL + 1)}
    assert isinstance(counted, DeletesMany)
    counted.delete_many([str(number) for number in range(PAGE + 1)])
    assert counter.take() == {"delete": (2, 0)}


def test_files_stay_files_and_copies_see_the_driver(
    local: Counted, counter: RequestCounter, tmp_path: Path
) -> None:
    local.put("a", b"12345")
    with local.read("a") as reading:
        assert isinstance(reading, HasFile)
        assert reading.fileno() >= 0
        reading.check_unchanged()
    counter.take()
    assert isinstance(local, DeletesUnchanged)
    if isinstance(local, CopiesWithin) and local.can_copy_from(local):
        local.copy_from(local, "a", "b")
        assert counter.take() == {"write": (1, 0)}
    local.delete_unchanged("a", local.stat("a").version or "")
    assert counter.take() == {"read": (1, 0), "delete": (1, 0)}


def test_counts_that_could_not_be_stored_are_put_back() -> None:
    called = []
    counter = RequestCounter(lambda: called.append(True))
    counter.add("read", 2, 10)
    counter.add("read")
    counter.put_back(counter.take())
    assert called == [True]
    counter.add("read")
    assert counter.take() == {"read": (4, 10)}
