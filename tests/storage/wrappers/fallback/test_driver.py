"""Other backends stand in for one that is unavailable; only what is stored and recorded is acknowledged."""

from __future__ import annotations

from typing import Any

import pytest

from dashboard.errors import Kind
from dashboard.storage.driver import CopiesWithin, ReadsRanges, Writing
from dashboard.storage.drivers.memory import MemoryDriver
from dashboard.storage.errors import Changed, ContainerMissing, Exists, NotFound, StorageError
from dashboard.storage.types import Attributes, Written
from dashboard.storage.wrappers.fallback import writing as fallback_writing
from dashboard.storage.wrappers.fallback.driver import Fallback
from dashboard.storage.wrappers.fallback.waiting_writes import FOLDER
from tests.storage.objects import content_of, get, keys_of, md5, stream
from tests.storage.wrappers.fallback.stand_ins import MemoryWaitingStore, OtherBackends, OutageDriver


class FallbackSetup:
    """A home, two stand-ins and a store."""

    def __init__(self) -> None:
        self.home, self.first, self.second = OutageDriver(), OutageDriver(), OutageDriver()
        self.store = MemoryWaitingStore()
        self.driver = Fallback(self.home, self.store, OtherBackends(self.first, self.second))

    def waiting(self) -> list[str]:
        return sorted(key.split("/", 2)[2] for place in (self.first, self.second) for key in keys_of(place))


@pytest.fixture
def world() -> FallbackSetup:
    return FallbackSetup()


@pytest.mark.parametrize(
    "kind", [Kind.UNREACHABLE, Kind.TIMEOUT, Kind.THROTTLED, Kind.FULL, Kind.BAD_CREDENTIALS]
)
def test_a_write_waits_elsewhere_while_home_is_unavailable(world: FallbackSetup, kind: Kind) -> None:
    world.home.away, world.home.kind = True, kind
    written = world.driver.put("a/b ü.txt", b"hello", attributes=Attributes("text/x"))
    assert (written.key, written.size, written.md5) == ("a/b ü.txt", 5, md5(b"hello"))
    stream(world.driver, "big", content_of(9_000_000))
    assert all(key.startswith(FOLDER) for key in keys_of(world.first))
    assert world.waiting() == ["a/b ü.txt", "big"]
    assert keys_of(world.second) == []
    assert get(world.driver, "a/b ü.txt") == b"hello"
    assert get(world.driver, "big") == content_of(9_000_000)
    info = world.driver.stat("a/b ü.txt")
    assert (info.key, info.size, info.attributes.content_type) == ("a/b ü.txt", 5, "text/x")
    assert isinstance(world.driver, ReadsRanges)
    assert world.driver.read_range("a/b ü.txt", 1, 3) == b"ell"
    with world.driver.read("a/b ü.txt", if_version=info.version) as reading:
        assert reading.info == info
    with pytest.raises(Changed):
        world.driver.read("a/b ü.txt", if_version="another")


@pytest.mark.parametrize("kind", [Kind.DENIED, Kind.INVALID_KEY, Kind.CONFLICT, Kind.UNSUPPORTED])
def test_what_home_refuses_for_a_reason_is_refused(world: FallbackSetup, kind: Kind) -> None:
    world.home.away, world.home.kind = True, kind
    with pytest.raises(StorageError) as caught:
        world.driver.put("a", b"x")
    assert caught.value.kind is kind
    with pytest.raises(StorageError):
        stream(world.driver, "a", b"x")
    assert world.store.rows == {}


@pytest.mark.parametrize("moment", ["begin", "middle", "end"])
def test_a_stream_is_saved_whenever_home_fails(world: FallbackSetup, moment: str) -> None:
    data = content_of(3_000_000)
    breaking = _breaking(world.home, moment)
    world.driver = Fallback(breaking, world.store, OtherBackends(world.first))
    with world.driver.write("a", size=len(data), attributes=Attributes("text/x")) as writing:
        for start in range(0, len(data), 500_000):
            writing.write(data[start : start + 500_000])
        written = writing.commit()
    assert (written.size, written.md5) == (len(data), md5(data))
    assert get(world.driver, "a") == data
    assert keys_of(world.home) == []
    assert world.waiting() == ["a"]


def _breaking(home: MemoryDriver, moment: str) -> MemoryDriver:
    class Breaking(MemoryDriver):
        def write(self, *args, **more):  # type: ignore[no-untyped-def]
            if moment == "begin":
                raise StorageError(Kind.UNREACHABLE, "Gone.")
            return _Breaks(home.write(*args, **more), moment)

    return Breaking()


class _Breaks:
    def __init__(self, inner: Writing, moment: str) -> None:
        self._inner = inner
        self._moment = moment
        self._calls = 0

    def write(self, chunk: bytes) -> None:
        self._calls += 1
        if self._moment == "middle" and self._calls == 3:
            raise StorageError(Kind.TIMEOUT, "Gone.")
        self._inner.write(chunk)

    def commit(self) -> Written:
        raise StorageError(Kind.TIMEOUT, "Gone.")

    def __enter__(self) -> _Breaks:
        return self

    def __exit__(self, *_: object) -> None:
        """The write is dropped."""


def test_the_next_stands_in_when_the_first_cannot(world: FallbackSetup) -> None:
    class Mangling(MemoryDriver):
        def put(self, key, data, **more):  # type: ignore[no-untyped-def]
            done = super().put(key, b"?" * len(data), **more)
            return Written(done.key, done.size, md5(data))

    for first in (world.first, Mangling()):
        world.home.away = world.first.away = True
        world.driver = Fallback(world.home, world.store, OtherBackends(first, world.second))
        world.driver.put("a", b"hello")
        assert get(world.driver, "a") == b"hello"
    world.second.away = True
    with pytest.raises(StorageError) as caught:
        world.driver.put("b", b"x")
    assert caught.value.operation == "put"
    assert "b" not in {
        row.key for number, row in world.store.rows.items() if world.store.states[number] != "begun"
    }


def test_nothing_is_acknowledged_that_is_not_recorded(world: FallbackSetup) -> None:
    world.home.away = True
    world.store.broken = True
    with pytest.raises(StorageError, match="database"):
        world.driver.put("a", b"x")
    assert keys_of(world.first) == []


def test_what_cannot_be_promised_is_refused(world: FallbackSetup) -> None:
    world.home.put("there", b"x")
    world.home.away = True
    for call in (
        lambda: world.driver.put("new", b"x", create_only=True),
        lambda: stream(world.driver, "new", b"x", create_only=True),
        lambda: world.driver.delete("there"),
        lambda: list(world.driver.list()),
    ):
        with pytest.raises(StorageError) as caught:
            call()
        assert caught.value.kind is Kind.UNREACHABLE
    world.driver.put("waits", b"x")
    with pytest.raises(Exists):
        world.driver.put("waits", b"y", create_only=True)
    with pytest.raises(Exists):
        stream(world.driver, "waits", b"y", create_only=True)
    assert world.waiting() == ["waits"]
    assert not isinstance(world.driver, CopiesWithin)


def test_reads_look_further_in_order(world: FallbackSetup) -> None:
    world.second.put("a", b"second")
    assert get(world.driver, "a") == b"second"
    world.first.put("a", b"first")
    assert get(world.driver, "a") == b"first"
    world.home.put("a", b"home")
    assert get(world.driver, "a") == b"home"
    assert world.driver.stat("a") == world.home.stat("a")
    world.home.away = True
    assert get(world.driver, "a") == b"first"
    assert world.driver.read_range("a", 0, 3) == b"fir"  # type: ignore[attr-defined]
    world.first.away = True
    assert get(world.driver, "a") == b"second"
    with pytest.raises(StorageError) as caught:
        world.driver.read("missing")
    assert caught.value.kind is Kind.UNREACHABLE
    world.home.away = False
    with pytest.raises(NotFound):
        world.driver.read("missing")
    with pytest.raises(Changed):
        world.driver.read("a", if_version=world.second.stat("a").version + "x")  # type: ignore[operator]


def test_what_waits_on_a_disk_that_is_not_mounted_is_not_read_from_home(
    world: FallbackSetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(key: str, **_: object) -> Any:
        raise ContainerMissing("disk", "It is not mounted.", operation="read", remedy="Mount it.")

    world.home.put("a", b"older")
    world.home.away = True
    world.driver.put("a", b"newer")
    world.home.away = False
    for call in ("read", "stat"):
        monkeypatch.setattr(world.first, call, missing)
        with pytest.raises(ContainerMissing):
            getattr(world.driver, call)("a")


def test_listings_show_what_waits_in_its_place(world: FallbackSetup) -> None:
    for key in ("b", "d", "f"):
        world.home.put(key, b"home")
    world.home.away = True
    for key in ("a", "d", "e", "g"):
        world.driver.put(key, b"waits!")
    world.home.away = False
    listed = {entry.key: entry.size for entry in world.driver.list()}
    assert list(listed) == list("abdefg")
    assert listed["d"] == 6
    assert keys_of(world.driver, "", "d") == ["e", "f", "g"]
    assert keys_of(world.driver, "e") == ["e"]
    entries = {entry.key: entry for entry in world.driver.list()}
    assert entries["a"].etag == world.driver.stat("a").etag


def test_a_write_at_home_ends_the_waiting(world: FallbackSetup) -> None:
    for how in ("put", "stream", "delete"):
        world.home.away = True
        world.driver.put("a", b"waits")
        world.home.away = False
        if how == "put":
            world.driver.put("a", b"newer")
        elif how == "stream":
            stream(world.driver, "a", b"newer")
        else:
            world.driver.delete("a")
            with pytest.raises(NotFound):
                world.driver.read("a")
            continue
        assert get(world.driver, "a") == b"newer"
        assert set(world.store.states.values()) == {"sent"}


def test_a_write_that_fails_leaves_what_waits_waiting(world: FallbackSetup) -> None:
    world.home.away = True
    world.driver.put("a", b"waits")
    world.home.kind = Kind.DENIED
    with pytest.raises(StorageError):
        world.driver.put("a", b"refused")
    with pytest.raises(StorageError):
        world.driver.delete("a")
    assert get(world.driver, "a") == b"waits"
    assert list(world.store.states.values()) == ["waiting"]


def test_nothing_is_written_at_home_while_older_content_is_written_back(world: FallbackSetup) -> None:
    world.home.away = True
    world.driver.put("a", b"waits")
    world.home.away = False
    world.store.states[1] = "sending"
    world.driver.put("a", b"newer")
    stream(world.driver, "a", b"newest")
    assert get(world.driver, "a") == b"newest"
    assert keys_of(world.home) == []
    with pytest.raises(StorageError) as caught:
        world.driver.delete("a")
    assert caught.value.retryable
    # Where nobody else takes it, the write is refused, to be tried again.
    world.first.away = world.second.away = True
    for call in (
        lambda: world.driver.put("a", b"refused"),
        lambda: stream(world.driver, "a", b"refused"),
    ):
        with pytest.raises(StorageError) as caught:
            call()
        assert caught.value.retryable
    assert world.store.holds == set()


class FullDriver(OutageDriver):
    """A place with the powers that are asked of single objects."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []


def _asks(name: str) -> Any:
    def call(self: FullDriver, *args: Any, **more: Any) -> str:
        self.asked.append(name)
        return f"answer of {name}"

    return call


CALLS: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "temporary_url": (("a",), {"seconds": 60}),
    "tags": (("a",), {}),
    "set_tags": (("a", {"b": "c"}), {}),
    "tier": (("a",), {}),
    "set_tier": (("a", "COLD"), {}),
    "visibility": (("a",), {}),
    "set_visibility": (("a", "public"), {}),
    "restore_version": (("a", "1"), {}),
    "upload_url": (("a",), {"seconds": 60}),
}
for _name in (*CALLS, "url", "keeps_versions", "versions", "read_version"):
    setattr(FullDriver, _name, _asks(_name))


@pytest.mark.parametrize("name", CALLS)
def test_powers_over_what_waits_are_refused_until_it_is_at_home(name: str) -> None:
    home = FullDriver()
    driver = Fallback(home, MemoryWaitingStore(), OtherBackends(MemoryDriver()))
    args, more = CALLS[name]
    getattr(driver, name)(*args, **more)
    assert home.asked == [name]
    home.away = True
    driver.put("a", b"waits")
    home.away = False
    with pytest.raises(StorageError) as caught:
        getattr(driver, name)(*args, **more)
    assert caught.value.retryable
    assert "overview" in caught.value.remedy
    assert home.asked == [name]
    # A lasting address says nothing of what is there.
    assert driver.url("a") == "answer of url"  # type: ignore[attr-defined]


def test_what_is_too_large_to_hold_is_not_promised(
    world: FallbackSetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fallback_writing, "MAX_BUFFERED_BYTES", 1000)
    stream(world.driver, "a", content_of(5000))
    assert get(world.home, "a") == content_of(5000)
    world.home.away = True
    with pytest.raises(StorageError) as caught:
        stream(world.driver, "b", content_of(5000))
    assert caught.value.kind is Kind.UNREACHABLE
    assert world.store.rows == {}
