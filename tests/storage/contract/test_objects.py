"""What every driver promises, against real backends. The drivers are listed in ``table.py``."""

from __future__ import annotations

import gzip
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

import pytest

from dashboard.errors import Kind, StowageError
from dashboard.storage.driver import (
    SMALL,
    Connects,
    CopiesWithin,
    CreatesBuckets,
    DeletesUnchanged,
    Driver,
    KeepsMetadata,
    LooksBeforeCreating,
)
from dashboard.storage.errors import Changed, Exists, NotFound, Unsupported
from dashboard.storage.powers import require_power
from dashboard.storage.registry import DRIVERS as REGISTERED
from dashboard.storage.types import Attributes, Written
from tests.storage.contract.table import (
    ADDS_METADATA,
    CREATES_TWICE,
    IGNORES_CONDITIONS,
    KEEPS_SECONDS,
    LISTS_NO_TIMES,
    PROVEN_IN_ONE_REQUEST,
    REPLACES_IN_TWO_STEPS,
    UNPROVEN,
)
from tests.storage.objects import break_off, content_of, get, keys_of, md5, stream, unsupported

SIZES = [0, 1, 4096, 1_000_003]
LARGE = SMALL + 1_234_567


def on(request: pytest.FixtureRequest) -> str:
    """Which row of the tables in ``table.py`` this is."""
    return str(request.node.callspec.params["driver"])


def assert_proven(written: Written, request: pytest.FixtureRequest) -> None:
    """The backend's own checksum is the right one; a backend that gives none is known for it."""
    if written.proven and on(request) in PROVEN_IN_ONE_REQUEST:
        return
    above, _ = UNPROVEN.get(request.node.callspec.params["driver"], (written.size, ""))
    if written.size > above:
        assert written.stored_checksum is None
    else:
        assert written.proven


def test_it_is_a_driver(driver: Driver) -> None:
    assert isinstance(driver, Driver)
    assert driver.name in REGISTERED


@pytest.mark.parametrize("size", SIZES)
def test_what_is_put_comes_back(driver: Driver, size: int, request: pytest.FixtureRequest) -> None:
    data = content_of(size)
    written = driver.put("folder/a.bin", data)
    assert (written.key, written.size, written.md5) == ("folder/a.bin", size, md5(data))
    assert_proven(written, request)
    with driver.read("folder/a.bin") as reading:
        assert reading.info.size == size
        assert reading.read_all() == data
    info = driver.stat("folder/a.bin")
    assert (info.key, info.size) == ("folder/a.bin", size)
    assert info.version
    assert info.modified is not None
    assert abs(info.modified - time.time()) < 120
    [entry] = driver.list()
    assert (entry.key, entry.size) == ("folder/a.bin", size)
    if entry.modified is None and on(request) in LISTS_NO_TIMES:
        return
    assert entry.modified is not None
    assert abs(entry.modified - time.time()) < 120


@pytest.mark.parametrize("size", [0, 5000, LARGE])
@pytest.mark.parametrize("known", [True, False], ids=["size-known", "size-unknown"])
def test_what_is_streamed_comes_back(
    driver: Driver, size: int, known: bool, request: pytest.FixtureRequest
) -> None:
    data = content_of(size)
    with driver.write("big", size=size if known else None) as writing:
        for start in range(0, size, 700_001):
            writing.write(data[start : start + 700_001])
        written = writing.commit()
    assert (written.size, written.md5) == (size, md5(data))
    assert_proven(written, request)
    with driver.read("big") as reading:
        pieces = list(reading.chunks())
    assert b"".join(pieces) == data
    assert all(len(piece) <= 8 << 20 for piece in pieces)


def test_an_object_is_replaced_whole(driver: Driver) -> None:
    driver.put("a", b"first, and longer")
    before = driver.stat("a").version
    driver.put("a", b"second")
    assert get(driver, "a") == b"second"
    assert driver.stat("a").version != before
    assert keys_of(driver) == ["a"]


def test_a_replaced_object_is_not_the_version_that_was_listed(
    driver: Driver, request: pytest.FixtureRequest
) -> None:
    driver.put("a", b"first")
    version = driver.stat("a").version
    with driver.read("a", if_version=version) as reading:
        assert reading.info.version == version
        assert reading.read_all() == b"first"
    driver.put("a", b"another" if on(request) in KEEPS_SECONDS else b"other")
    with pytest.raises(Changed) as caught, driver.read("a", if_version=version) as reading:
        reading.read_all()
    assert caught.value.retryable


def test_only_the_version_that_was_read_is_deleted(driver: Driver, request: pytest.FixtureRequest) -> None:
    if not isinstance(driver, DeletesUnchanged):
        fallback = request.node.callspec.params["driver"].startswith("fallback")
        assert fallback or driver.name in ("sftp", "ftp", "webdav", "shelf"), driver.name
        return
    driver.put("a", b"first")
    version = driver.stat("a").version or ""
    driver.put("a", b"other")
    with pytest.raises(Changed):
        driver.delete_unchanged("a", version)
    assert get(driver, "a") == b"other"
    driver.delete_unchanged("a", driver.stat("a").version or "")
    assert keys_of(driver) == []
    driver.delete_unchanged("a", version)
    driver.delete_unchanged("no/such/folder", version)


def test_metadata_comes_back_where_it_is_promised(driver: Driver) -> None:
    if isinstance(driver, KeepsMetadata) and driver.keeps_metadata():
        kept = Attributes(metadata={"stowage-move": "0a1b"})
        driver.put("a", b"x", attributes=kept)
        with driver.write("b", size=LARGE, attributes=kept) as writing:
            writing.write(content_of(LARGE))
            writing.commit()
        found = [driver.stat(key).attributes.metadata.get("stowage-move") for key in ("a", "b")]
        assert found == ["0a1b", "0a1b"]


def supports_create_only(driver: Driver) -> bool:
    """Asked again after a try: a server may offer what its file system cannot do."""
    if isinstance(driver, LooksBeforeCreating) and driver.supports_create_only():
        with suppress(Unsupported):
            driver.put("try", b"", create_only=True)
        driver.delete("try")
    return not isinstance(driver, LooksBeforeCreating) or driver.supports_create_only()


def test_create_only_never_replaces(driver: Driver) -> None:
    if not supports_create_only(driver):
        unsupported(lambda: driver.put("a", b"x", create_only=True))
    driver.put("a", b"mine", create_only=True)
    with pytest.raises(Exists) as caught:
        driver.put("a", b"theirs", create_only=True)
    assert caught.value.kind is Kind.CONFLICT
    with pytest.raises(Exists):
        stream(driver, "a", b"theirs", create_only=True)
    assert get(driver, "a") == b"mine"
    assert keys_of(driver) == ["a"]


def test_create_only_has_one_winner(driver: Driver, request: pytest.FixtureRequest) -> None:
    if not supports_create_only(driver):
        unsupported(lambda: stream(driver, "a", b"x", create_only=True))

    def attempt(number: int) -> bool:
        try:
            driver.put("prize", b"%d" % number, create_only=True)
        except Exists:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = [number for number, result in enumerate(pool.map(attempt, range(8))) if result]
    assert len(won) == 1 or on(request) in CREATES_TWICE
    assert get(driver, "prize") in [b"%d" % number for number in won]


def test_what_is_not_there_says_so(driver: Driver) -> None:
    for call in (driver.read, driver.stat):
        for key in ("nothing", "no/such/folder"):
            with pytest.raises(NotFound) as caught:
                call(key)
            assert caught.value.subject == key
    driver.delete("nothing")
    driver.delete("no/such/folder")
    assert keys_of(driver) == []
    assert keys_of(driver, "no/such") == []


def test_a_deleted_object_is_gone_and_its_neighbours_stay(driver: Driver) -> None:
    for key in ("a/b/1", "a/b/2", "a/3"):
        driver.put(key, b"x")
    driver.delete("a/b/1")
    driver.delete("a/b/1")
    assert keys_of(driver) == ["a/3", "a/b/2"]
    driver.delete("a/b/2")
    driver.put("a/b", b"where a folder was")
    assert keys_of(driver) == ["a/3", "a/b"]


def test_a_write_that_is_not_committed_leaves_nothing(driver: Driver) -> None:
    driver.put("kept", b"old")
    began = time.time() - 2
    for key in ("kept", "new/one"):
        with driver.write(key, size=LARGE) as writing:
            writing.write(content_of(1 << 20))
        with pytest.raises(ZeroDivisionError):
            break_off(driver, key)
    assert keys_of(driver) == ["kept"]
    assert get(driver, "kept") == b"old"
    assert driver.sweep(["kept", "new/one"], since=began) == 0


def test_attributes_are_kept_or_dropped_but_never_wrong(driver: Driver) -> None:
    wanted = Attributes(
        content_type="text/html",
        cache_control="max-age=60",
        content_disposition='attachment; filename="a.html"',
        content_language="de",
        metadata={"author": "ada", "x-note": "two words"},
    )
    driver.put("a.html", b"<p>", attributes=wanted)
    with driver.write("b.html", attributes=wanted) as writing:
        writing.write(b"<p>")
        writing.commit()
    for key in ("a.html", "b.html"):
        held = driver.stat(key).attributes
        assert held.content_type == "text/html"
        for name in ("cache_control", "content_disposition", "content_language"):
            assert getattr(held, name) in (None, getattr(wanted, name))
        assert dict(held.metadata) in ({}, dict(wanted.metadata))
        with driver.read(key) as reading:
            assert reading.info.attributes == held
    # What an object was stored with is no encoding of the answer.
    packed = gzip.compress(b"<p>", mtime=0)
    driver.put("c.html", packed, attributes=Attributes(content_encoding="gzip"))
    info = driver.stat("c.html")
    assert (info.size, info.attributes.content_encoding) in ((len(packed), "gzip"), (len(packed), None))
    assert get(driver, "c.html") == packed


def test_an_empty_place_lists_nothing(driver: Driver) -> None:
    assert keys_of(driver) == []


def test_copies_within_keep_bytes_and_attributes(driver: Driver, request: pytest.FixtureRequest) -> None:
    if not isinstance(driver, CopiesWithin):
        unsupported(lambda: require_power(driver, "copy"))
    assert isinstance(driver, CopiesWithin)
    assert driver.can_copy_from(driver)
    data = content_of(100_000)
    driver.put("from.txt", data, attributes=Attributes(content_type="text/x-mine"))
    version = driver.stat("from.txt").version
    written = driver.copy_from(driver, "from.txt", "to/here.txt", if_version=version)
    assert written.size == len(data)
    assert get(driver, "to/here.txt") == data
    held, source = driver.stat("to/here.txt").attributes, driver.stat("from.txt").attributes
    assert replace(held, metadata={}) == replace(source, metadata={})
    assert set(held.metadata) - ADDS_METADATA.get(on(request), set()) == set(source.metadata)
    with pytest.raises(NotFound):
        driver.copy_from(driver, "missing", "x")
    if on(request) in IGNORES_CONDITIONS:
        return
    driver.put("from.txt", b"changed")
    with pytest.raises(Changed):
        driver.copy_from(driver, "from.txt", "to/here.txt", if_version=version)
    assert get(driver, "to/here.txt") == data


def test_the_place_knows_that_it_exists(driver: Driver) -> None:
    if not isinstance(driver, CreatesBuckets):
        unsupported(lambda: require_power(driver, "bucket"))
    assert isinstance(driver, CreatesBuckets)
    assert driver.bucket_exists()
    driver.create_bucket()


def test_good_credentials_are_accepted(driver: Driver) -> None:
    if not isinstance(driver, Connects):
        unsupported(lambda: require_power(driver, "address"))
    assert isinstance(driver, Connects)
    host, port, tls = driver.address()
    assert host
    assert 0 < port < 65536
    assert tls is False
    driver.authenticate()


def test_sixteen_threads_at_once(driver: Driver, request: pytest.FixtureRequest) -> None:
    def work(number: int) -> None:
        key, data = f"t{number % 4}/deep/{number}", content_of(5000, number)
        assert_proven(driver.put(key, data), request)
        assert get(driver, key) == data
        assert driver.stat(key).size == 5000
        if number % 3 == 0:
            driver.delete(key)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(work, range(160)))
    expected = sorted(f"t{n % 4}/deep/{n}" for n in range(160) if n % 3)
    assert keys_of(driver) == expected


def test_one_key_from_many_threads_is_always_one_of_the_writes(
    driver: Driver, request: pytest.FixtureRequest
) -> None:
    in_steps = on(request) in REPLACES_IN_TWO_STEPS
    versions = [content_of(20_000, seed) for seed in range(8)]
    driver.put("hot", versions[0])

    def work(number: int) -> bytes | Kind:
        try:
            driver.put("hot", versions[number % 8])
        except StowageError:
            if not in_steps:
                raise
        try:
            return get(driver, "hot")
        except StowageError as error:
            return error.kind

    with ThreadPoolExecutor(8) as pool:
        seen = list(pool.map(work, range(48)))
    said = {each for each in seen if isinstance(each, Kind)}
    assert all(each in versions for each in seen if isinstance(each, bytes))
    assert in_steps or said <= {Kind.CHANGED}
    assert get(driver, "hot") in versions
    if not in_steps:
        assert keys_of(driver) == ["hot"]


def test_closing_twice_is_allowed(driver: Driver) -> None:
    driver.put("a", b"x")
    driver.close()
    driver.close()


def test_nothing_of_a_driver_prints_its_secret(driver: Driver) -> None:
    assert "secret-not-for-use" not in repr(driver) + str(vars(driver))
