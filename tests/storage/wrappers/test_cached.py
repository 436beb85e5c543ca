"""A cache saves reads and is never trusted: not if the backend changed, not if an entry is damaged."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import socket
import stat
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import NoReturn

import pytest
import redis

from dashboard.errors import InvalidInput
from dashboard.storage.driver import Driver, Reading, ReadsRanges
from dashboard.storage.drivers.memory import MemoryDriver
from dashboard.storage.errors import Changed, NotFound, StorageError
from dashboard.storage.object_powers import DeletesMany, KeepsVersions, Version
from dashboard.storage.registry import build, check_options
from dashboard.storage.types import Attributes, ObjectInfo, Secret, Written
from dashboard.storage.wrappers.cached import redis as redis_module
from dashboard.storage.wrappers.cached.driver import Cached
from dashboard.storage.wrappers.cached.redis import RedisStore
from dashboard.storage.wrappers.cached.stores import DiskStore
from dashboard.storage.wrappers.encrypted.driver import Encrypted
from tests.servers.processes import wait_until
from tests.servers.redis import PASSWORD, redis_server
from tests.storage.objects import content_of, get, stream

MIB = 1 << 20


class Counting(MemoryDriver):
    """A place that counts what it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: Counter[str] = Counter()
        self.before_read = lambda: None

    def read(self, key: str, *, if_version: str | None = None) -> Reading:  # type: ignore[override]
        self.asked["read"] += 1
        reading = super().read(key, if_version=if_version)
        self.before_read()
        return reading

    def read_range(self, key: str, start: int, length: int, *, if_version: str | None = None) -> bytes:
        self.asked["read_range"] += 1
        return super().read_range(key, start, length, if_version=if_version)

    def stat(self, key: str) -> ObjectInfo:
        self.asked["stat"] += 1
        return super().stat(key)


@pytest.fixture
def place() -> Counting:
    return Counting()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != ".used")


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in files(folder))


def on_disk(place: Driver, folder: Path, limit: int = 64 * MIB, **more: float) -> Cached:
    return Cached(place, DiskStore(folder, limit), **more)  # type: ignore[arg-type]


def test_what_was_read_is_not_fetched_again(place: Counting, folder: Path) -> None:
    data, attributes = content_of(3 * MIB), Attributes("text/x", metadata={"author": "ada"})
    place.put("a/ü \U0001f600", data, attributes=attributes)
    driver = on_disk(place, folder)
    for _ in range(3):
        assert get(driver, "a/ü \U0001f600") == data
        with driver.read("a/ü \U0001f600") as reading:
            assert reading.info == place.stat("a/ü \U0001f600")
            assert reading.read_all() == data
    assert place.asked["read"] == 1
    assert isinstance(driver, ReadsRanges)
    assert driver.read_range("a/ü \U0001f600", 5, 10) == data[5:15]
    assert driver.read_range("a/ü \U0001f600", len(data) - 5, 10) == data[-5:]
    assert driver.read_range("a/ü \U0001f600", len(data) + 5, 10) == b""
    assert place.asked["read_range"] == 0


def test_copies_outlive_the_program(place: Counting, folder: Path) -> None:
    place.put("a", b"hello")
    assert get(on_disk(place, folder), "a") == b"hello"
    assert get(on_disk(place, folder), "a") == b"hello"
    assert place.asked["read"] == 1


def test_a_change_at_the_backend_is_seen_at_once(place: Counting, folder: Path) -> None:
    place.put("a", b"old")
    driver = on_disk(place, folder)
    version = driver.stat("a").version
    assert get(driver, "a") == b"old"
    place.put("a", b"new")
    assert get(driver, "a") == b"new"
    with pytest.raises(Changed):
        driver.read("a", if_version=version)
    place.delete("a")
    with pytest.raises(NotFound):
        driver.read("a")
    assert files(folder) == []


def test_within_the_chosen_seconds_the_backend_is_not_asked(place: Counting, folder: Path) -> None:
    place.put("a", b"old")
    driver = on_disk(place, folder, seconds=3600)
    assert get(driver, "a") == b"old"
    place.asked.clear()
    assert get(driver, "a") == b"old"
    assert not place.asked
    place.put("a", b"newer")
    assert get(driver, "a") == b"old"
    with pytest.raises(Changed), driver.read("a", if_version="another"):
        pass
    # Another program's change is seen late, our own at once; and after a start the backend is asked.
    driver.put("a", b"ours")
    assert get(driver, "a") == b"ours"
    place.put("a", b"theirs")
    assert get(on_disk(place, folder, seconds=3600), "a") == b"theirs"


@pytest.mark.parametrize("how", ["put", "write", "delete", "copy"])
def test_no_copy_outlives_a_change_made_here(place: Counting, folder: Path, how: str) -> None:
    driver = on_disk(place, folder, seconds=3600)
    place.put("a", b"old")
    place.put("b", b"other")
    assert get(driver, "a") == b"old"
    if how == "put":
        driver.put("a", b"other")
    elif how == "write":
        stream(driver, "a", b"other")
    elif how == "copy":
        driver.copy_from(driver, "b", "a")  # type: ignore[attr-defined]
    else:
        driver.delete("a")
        with pytest.raises(NotFound):
            driver.read("a")
        return
    assert get(driver, "a") == b"other"


def test_a_copy_begun_before_a_write_is_not_kept(place: Counting, folder: Path) -> None:
    driver = on_disk(place, folder, seconds=3600)
    place.put("a", b"old")
    with driver.read("a") as reading:
        driver.put("a", b"new")
        assert reading.read_all() == b"old"
    assert files(folder) == []
    assert get(driver, "a") == b"new"


def test_a_read_that_is_not_finished_leaves_no_copy(place: Counting, folder: Path) -> None:
    place.put("a", content_of(5 * MIB))
    driver = on_disk(place, folder)
    with driver.read("a") as reading:
        next(reading.chunks())
    assert files(folder) == []


@pytest.mark.parametrize("harm", ["flip", "cut", "empty", "swap", "grow"])
def test_a_damaged_copy_is_no_copy(place: Counting, folder: Path, harm: str) -> None:
    data = content_of(100_000)
    place.put("a", data)
    place.put("b", data[::-1])
    driver = on_disk(place, folder, seconds=3600)
    assert get(driver, "a") == data
    [path] = files(folder)
    stored = bytearray(path.read_bytes())
    if harm == "flip":
        stored[1234] ^= 1
    elif harm == "cut":
        del stored[5000:]
    elif harm == "empty":
        stored.clear()
    elif harm == "grow":
        stored += b"\0" * 100
    else:
        assert get(driver, "b") == data[::-1]
        [other] = [each for each in files(folder) if each != path]
        stored[:] = other.read_bytes()
    path.write_bytes(stored)
    assert get(driver, "a") == data
    assert get(driver, "a") == data
    assert place.asked["read"] == (3 if harm == "swap" else 2)


def test_it_stays_within_its_bounds_and_keeps_what_is_used(place: Counting, folder: Path) -> None:
    driver = on_disk(place, folder, limit=4 * MIB)
    for number in range(60):
        place.put(f"{number}", content_of(200_000, number))
    began = time.time() - 10_000
    for number in range(60):
        assert get(driver, f"{number}") == content_of(200_000, number)
        assert get(driver, "0") == content_of(200_000, 0)
        assert size_of(folder) <= 4 * MIB
        # Uses are told apart by the clock of the file system, which may stand still for a while.
        for path in files(folder):
            if path.stat().st_mtime > began + 5000:
                os.utime(path, (began + number, began + number))
    assert size_of(folder) > 2 * MIB
    place.asked.clear()
    assert get(driver, "0") == content_of(200_000, 0)
    assert place.asked["read"] == 0
    place.put("large", content_of(MIB + 1))
    place.asked.clear()
    for _ in range(2):
        assert get(driver, "large") == content_of(MIB + 1)
    assert place.asked["read"] == 2


def test_it_stays_within_its_bounds_however_many_share_it(place: Counting, folder: Path) -> None:
    sharing = [on_disk(place, folder, limit=4 * MIB) for _ in range(6)]
    for number in range(60):
        place.put(f"{number}", content_of(200_000, number))
        assert get(sharing[number % 6], f"{number}") == content_of(200_000, number)
        assert size_of(folder) <= 4 * MIB
    assert size_of(folder) > 2 * MIB
    # Copies that are being made count as well.
    place.put("large", content_of(MIB - 20_000))
    with contextlib.ExitStack() as stack:
        for each in sharing:
            chunks = stack.enter_context(each.read("large")).chunks()
            next(chunks)
            assert size_of(folder) <= 4 * MIB


READER = """
import sys
from pathlib import Path
from dashboard.storage.wrappers.cached.stores import DiskStore

writer = DiskStore(Path(sys.argv[1]), 4 << 20).create("ab" * 32, 1_000_000)
writer.write(b"x" * 500_000)
print("writing", flush=True)
sys.stdin.read()
"""


def test_what_a_killed_reader_left_goes_before_any_copy(place: Counting, folder: Path) -> None:
    command = [sys.executable, "-c", READER, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "writing\n"
        driver = on_disk(place, folder, limit=4 * MIB)
        for number in range(30):
            place.put(f"{number}", content_of(200_000, number))
            assert get(driver, f"{number}") == content_of(200_000, number)
        [part] = [path for path in files(folder) if path.suffix]
        process.kill()
    for number in range(30):
        get(driver, f"{number}")
    assert not part.exists()
    assert size_of(folder) <= 4 * MIB


def test_a_disk_that_takes_nothing_is_no_obstacle(
    place: Counting, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_bytes(b"")
    driver = on_disk(place, tmp_path / "file" / "cache")
    place.put("a", b"hello")
    for _ in range(2):
        assert get(driver, "a") == b"hello"
    driver.delete("a")
    assert "cache" in caplog.text


def test_many_threads_and_two_processes_worth_of_caches_agree(place: Counting, folder: Path) -> None:
    drivers = [on_disk(place, folder, limit=MIB), on_disk(place, folder, limit=MIB)]
    contents = [content_of(20_000, seed) for seed in range(4)]
    place.put("hot", contents[0])
    stop = threading.Event()

    def write() -> None:
        for number in itertools.count():
            drivers[number % 2].put("hot", contents[number % 4])
            if stop.is_set():
                return

    def read(number: int) -> None:
        for _ in range(60):
            with contextlib.suppress(Changed):
                assert get(drivers[number % 2], "hot") in contents

    with ThreadPoolExecutor(8) as pool:
        writing = pool.submit(write)
        readers = [pool.submit(read, number) for number in range(6)]
        wait(readers)
        stop.set()
        for each in (writing, *readers):
            each.result()
    assert get(drivers[0], "hot") == get(drivers[1], "hot") == get(place, "hot")


def test_copies_of_encrypted_objects_are_encrypted(place: Counting, folder: Path) -> None:
    driver = Encrypted(on_disk(place, folder), bytes(32))
    driver.put("a", b"plain words" * 1000)
    for _ in range(2):
        assert get(driver, "a") == b"plain words" * 1000
    assert place.asked["read"] == 1
    [path] = files(folder)
    assert b"plain words" not in path.read_bytes()


def test_who_wants_the_backends_own_bytes_gets_them_and_still_forgets(place: Counting, folder: Path) -> None:
    serving = on_disk(place, folder, seconds=3600)
    moving = Cached(place, DiskStore(folder, MIB), reads=False)
    place.put("a", b"old")
    assert get(serving, "a") == b"old"
    place.asked.clear()
    assert get(moving, "a") == get(moving, "a") == b"old"
    assert place.asked["read"] == 2
    moving.put("a", b"new")
    assert get(serving, "a") == b"new"


def test_of_a_copy_only_the_part_that_is_read_is_proven(place: Counting, folder: Path) -> None:
    data = content_of(5 * MIB + 5)
    place.put("a", data)
    driver = on_disk(place, folder)
    assert get(driver, "a") == data
    assert isinstance(driver, ReadsRanges)
    [path] = files(folder)
    stored = bytearray(path.read_bytes())
    stored[3 * MIB + 7] ^= 1
    path.write_bytes(stored)
    for start, length in ((0, 10), (2 * MIB - 5, 10), (4 * MIB, MIB + 100), (len(data), 5), (9 * MIB, 5)):
        assert driver.read_range("a", start, length) == data[start : start + length]
    assert place.asked["read_range"] == 0
    assert driver.read_range("a", 3 * MIB - 10, 100) == data[3 * MIB - 10 : 3 * MIB + 90]
    assert place.asked["read_range"] == 1
    assert files(folder) == []


def test_a_local_file_that_is_rewritten_in_place_is_read_again(tmp_path: Path, folder: Path) -> None:
    path = tmp_path / "root" / "a"
    path.parent.mkdir()
    path.write_bytes(b"old")
    before = path.stat()
    driver = on_disk(build("local", {"root": str(path.parent)}), folder)
    assert get(driver, "a") == b"old"
    wait_until(lambda: _moved_on(path, before.st_ctime_ns), seconds=60, what="the file system's clock")
    with path.open("r+b") as file:
        file.write(b"new")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert get(driver, "a") == b"new"


def _moved_on(path: Path, since: int) -> bool:
    other = path.with_name("clock")
    other.write_bytes(b"")
    return other.stat().st_ctime_ns > since


# Redis


class Hung:
    """A client whose server does not answer while it is told so."""

    def __init__(self) -> None:
        self.up = False
        self.calls = 0
        self.pings = 0

    def _call(self, *_: object, **__: object) -> None:
        self.calls += 1
        if not self.up:
            raise redis.TimeoutError

    get = set = delete = _call

    def ping(self) -> None:
        self.pings += 1
        if not self.up:
            raise redis.TimeoutError

    def close(self) -> None:
        """Nothing is open."""


def test_a_redis_that_hangs_is_waited_for_once(place: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_module, "_RETRY_SECONDS", 0.01)
    store, client = RedisStore(Secret("redis://127.0.0.1:1/0"), "x:"), Hung()
    monkeypatch.setattr(store, "_client", client)
    driver = Cached(place, store)
    for number in range(10):
        driver.put("a", b"%d" % number)
        assert get(driver, "a") == b"%d" % number
    assert client.calls == 1
    wait_until(lambda: client.pings > 1, seconds=60, what="a second look")
    assert client.calls == 1
    client.up = True

    def asked() -> bool:
        driver.put("a", b"x")
        return client.calls > 1

    wait_until(asked, seconds=60, what="Redis used again")
    driver.close()


@pytest.fixture(scope="module")
def redis_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with redis_server(tmp_path_factory.mktemp("redis")) as address:
        yield address


def test_copies_in_redis(place: Counting, redis_address: str) -> None:
    place.put("a", content_of(3 * MIB))
    place.put("large", content_of(9 * MIB))
    first = Cached(place, RedisStore(Secret(redis_address), "one:"))
    second = Cached(place, RedisStore(Secret(redis_address), "one:"))
    other = Cached(place, RedisStore(Secret(redis_address), "two:"))
    assert get(first, "a") == get(second, "a") == content_of(3 * MIB)
    assert place.asked["read"] == 1
    assert get(other, "a") == content_of(3 * MIB)
    assert place.asked["read"] == 2
    second.put("a", b"new")
    assert get(first, "a") == b"new"
    for _ in range(2):
        assert get(first, "large") == content_of(9 * MIB)
    assert PASSWORD not in repr(vars(first)) + repr(vars(first._store))
    for each in (first, second, other):
        each.close()


def test_redis_by_options(place: Counting, redis_address: str, tmp_path: Path) -> None:
    options, secrets = {"root": str(tmp_path), "cache": "on"}, {"cache_redis": Secret(redis_address)}
    driver = build("local", check_options("local", options, secrets), secrets)
    assert isinstance(driver, Cached)
    driver.put("a", b"hello")
    assert get(driver, "a") == get(driver, "a") == b"hello"
    driver.close()


def test_a_redis_that_is_down_is_no_obstacle(place: Counting, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    driver = Cached(place, RedisStore(Secret(f"redis://:{PASSWORD}@127.0.0.1:1/0"), "x:"))
    place.put("a", b"hello")
    for _ in range(3):
        assert get(driver, "a") == b"hello"
    driver.put("a", b"new")
    driver.delete("a")
    driver.close()
    assert caplog.text.count("does not respond") == 1
    assert PASSWORD not in caplog.text


@pytest.mark.parametrize("scheme", ["redis", "rediss"])
def test_a_redis_whose_name_leads_to_a_forbidden_address_is_not_asked(
    scheme: str, place: Counting, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    found = [(2, 1, 6, "", ("169.254.169.254", 6379))]
    monkeypatch.setattr("dashboard.storage.net.connecting.socket.getaddrinfo", lambda *_, **__: found)

    def unasked(*_: object, **__: object) -> NoReturn:
        pytest.fail("a connection was tried")

    monkeypatch.setattr(socket, "create_connection", unasked)
    monkeypatch.setattr(socket.socket, "connect", unasked)
    address = Secret(f"{scheme}://:{PASSWORD}@cache.example.com:6379/0")
    driver = Cached(place, RedisStore(address, "x:"))
    place.put("a", b"hello")
    assert get(driver, "a") == get(driver, "a") == b"hello"
    assert "leads to a forbidden address" in caplog.text
    assert PASSWORD not in caplog.text
    driver.close()


# Options


def test_it_is_switched_on_by_options_where_there_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    checked = check_options("local", {"root": str(tmp_path / "root"), "cache": "on", "cache_size": " 5 "})
    assert (checked["cache_size"], checked["cache_seconds"]) == ("5", "0")
    assert not isinstance(build("local", checked), Cached)
    driver = build("local", checked, internal_options={"cache_folder": str(tmp_path / "cache")})
    assert isinstance(driver, Cached)
    driver.put("a", b"hello")
    assert get(driver, "a") == b"hello"
    assert len(files(tmp_path / "cache")) == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [("cache_size", "0"), ("cache_size", "many"), ("cache_size", "-5"), ("cache_seconds", "1.5")],
)
def test_numbers_are_checked(tmp_path: Path, field: str, value: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_options("local", {"root": str(tmp_path), field: value})
    assert caught.value.subject == field


@pytest.mark.parametrize(
    "address",
    [
        "http://cache.example.com",
        "redis://",
        "redis://169.254.169.254/0",
        "redis://host:99999/0",
        "redis://u:hunter2@host/0?x=1",
        "hunter2",
    ],
)
def test_the_address_of_redis_is_checked(tmp_path: Path, address: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_options("local", {"root": str(tmp_path)}, {"cache_redis": Secret(address)})
    assert caught.value.subject == "cache_redis"
    assert "hunter2" not in caught.value.reason + caught.value.remedy


class Versioned(Counting):
    """A place that deletes many at once and knows one older state of everything."""

    def delete_many(self, keys: Iterable[str]) -> Mapping[str, StorageError]:
        for key in keys:
            self.delete(key)
        return {}

    def keeps_versions(self) -> bool:
        return True

    def versions(self, prefix: str = "") -> Iterator[Version]:
        yield Version("a", "old", 3, None, None, current=False, deleted=False)

    def read_version(self, key: str, version: str) -> Reading:
        raise NotFound(key)

    def restore_version(self, key: str, version: str) -> Written:
        return self.put(key, b"old")


def test_what_is_deleted_with_many_or_restored_leaves_no_copy(folder: Path) -> None:
    place = Versioned()
    cached = on_disk(place, folder, seconds=1000.0)
    assert isinstance(cached, DeletesMany)
    assert isinstance(cached, KeepsVersions)
    for key in ("a", "b"):
        cached.put(key, b"new")
        assert get(cached, key) == get(cached, key) == b"new"
    assert len(files(folder)) == 2
    cached.restore_version("a", "old")
    assert get(cached, "a") == b"old"
    assert cached.delete_many(key for key in ("a", "b")) == {}
    assert files(folder) == []
    with pytest.raises(NotFound):
        get(cached, "b")


def test_copies_on_disk_are_for_nobody_else(tmp_path: Path) -> None:
    before = os.umask(0o000)
    try:
        store = DiskStore(tmp_path / "cache" / "1-1", 1 << 20)
        writer = store.create("ab" * 32, 1)
        assert writer is not None
        writer.write(b"x")
        writer.commit()
    finally:
        os.umask(before)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] != []
    made = (tmp_path / "cache" / "1-1").rglob("*")
    modes = {(path.is_dir(), stat.S_IMODE(path.stat().st_mode)) for path in made}
    assert modes == {(True, 0o700), (False, 0o600)}
