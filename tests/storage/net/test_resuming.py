"""Large objects whose reading goes on where the line broke: whole, and of one version."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from dashboard.errors import Kind
from dashboard.storage.copying import Interrupted, copy_object
from dashboard.storage.drivers.memory import MemoryDriver
from dashboard.storage.drivers.s3.driver import S3Driver
from dashboard.storage.errors import Changed, StorageError
from dashboard.storage.net.resuming import PART_BYTES, resumable
from dashboard.storage.types import Attributes, Entry, Secret
from tests.servers.faults import FaultProxy
from tests.servers.seaweedfs import SeaweedFS
from tests.storage import objects

SIZE = 20 * 1024 * 1024 + 3
CONTENT = objects.content_of(SIZE)


@pytest.fixture
def through(fault_proxy: FaultProxy, seaweedfs: SeaweedFS, shared_bucket: str) -> Iterator[S3Driver]:
    options = {
        "endpoint": fault_proxy.endpoint,
        "bucket": shared_bucket,
        "prefix": "parallel/",
        "access_key_id": seaweedfs.admin.access_key,
    }
    driver = S3Driver.from_options(options, {"secret_access_key": Secret(seaweedfs.admin.secret_key)})
    with driver.write("large", size=SIZE, attributes=Attributes("video/mp4")) as writing:
        writing.write(CONTENT)
        writing.commit()
    fault_proxy.clear()
    yield driver
    driver.close()


def listed(driver: S3Driver) -> Entry:
    return next(iter(driver.list("large")))


def asked(proxy: FaultProxy) -> int:
    """How often bytes of the object were asked for."""
    return sum(
        method == "GET" and target.endswith("/large") and "?" not in target for method, target in proxy.seen
    )


def copied(
    driver: S3Driver, entry: Entry, stop: Callable[[], bool] = lambda: False
) -> tuple[MemoryDriver, list[int]]:
    place, told = MemoryDriver(), []
    copy_object(driver, place, entry, to="copy", progress=told.append, stop=stop)
    return place, told


def content_of(place: MemoryDriver) -> bytes:
    with place.read("copy") as reading:
        return reading.read_all()


def test_while_nothing_breaks_there_is_one_stream(through: S3Driver, fault_proxy: FaultProxy) -> None:
    place, told = copied(through, listed(through))
    assert content_of(place) == CONTENT
    assert asked(fault_proxy) == 1
    assert told == sorted(told)
    assert told[-1] == SIZE


@pytest.mark.parametrize("after", [1, PART_BYTES // 2, SIZE - 1000])
def test_only_what_is_missing_is_asked_for_again(
    through: S3Driver, fault_proxy: FaultProxy, after: int
) -> None:
    entry = listed(through)
    fault = fault_proxy.reset(key="/large", method="GET", times=1, after=after)
    place, told = copied(through, entry)
    assert content_of(place) == CONTENT
    assert place.stat("copy").attributes.content_type == "video/mp4"
    assert fault.hits == 1
    assert told == sorted(told)
    assert 2 <= asked(fault_proxy) <= 2 + -(-SIZE // PART_BYTES)


def test_a_line_that_breaks_again_and_again_only_takes_longer(
    through: S3Driver, fault_proxy: FaultProxy
) -> None:
    entry = listed(through)
    fault = fault_proxy.reset(key="/large", method="GET", times=3, after=PART_BYTES // 2)
    place, _ = copied(through, entry)
    assert content_of(place) == CONTENT
    assert fault.hits == 3


def test_a_body_that_ends_early_is_gone_on_with(through: S3Driver, fault_proxy: FaultProxy) -> None:
    entry = listed(through)
    fault_proxy.truncate(PART_BYTES, key="/large", times=1)
    place, _ = copied(through, entry)
    assert content_of(place) == CONTENT


def test_a_part_that_never_comes_is_an_error(through: S3Driver, fault_proxy: FaultProxy) -> None:
    entry = listed(through)
    fault_proxy.reset(key="/large", method="GET", times=1, after=PART_BYTES)
    fault_proxy.answer(403, "AccessDenied", key="/large", method="GET", times=None)
    with pytest.raises(StorageError) as caught:
        copied(through, entry)
    assert caught.value.kind is Kind.DENIED


def test_an_object_that_is_replaced_meanwhile_is_changed(through: S3Driver, fault_proxy: FaultProxy) -> None:
    entry = listed(through)
    fault_proxy.reset(key="/large", method="GET", times=1, after=PART_BYTES)
    fault_proxy.then(lambda: None, key="/large", method="GET", times=1)
    with through.read("large", if_version=entry.etag) as reading:
        chunks = resumable(through, reading).chunks()
        next(chunks)
        through.put("large", b"another one")
        with pytest.raises(Changed):
            list(chunks)


def test_it_stops_in_the_middle(through: S3Driver, fault_proxy: FaultProxy) -> None:
    entry = listed(through)
    fault_proxy.reset(key="/large", method="GET", times=1, after=1000)
    looks = iter(range(100))
    with pytest.raises(Interrupted):
        copied(through, entry, stop=lambda: next(looks) > 4)


def test_other_drivers_read_as_before() -> None:
    place = MemoryDriver()
    place.put("a", b"x")
    with place.read("a") as reading:
        assert resumable(place, reading) is reading
