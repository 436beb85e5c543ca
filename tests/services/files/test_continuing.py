"""A body whose line breaks is continued from where it broke, from the same content or not at all."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import delete, insert

from dashboard.errors import Kind, StowageError
from dashboard.models.catalogue import fallback_reads, files
from dashboard.services.backends.values import Draft
from dashboard.services.files.conditions import Conditions, Outcome
from dashboard.services.files.copies import OpenFile
from dashboard.services.files.serving import FIRST_BYTES, Plan
from dashboard.services.services import Services
from dashboard.storage.driver import Driver, Reading
from dashboard.storage.drivers.memory import MemoryDriver
from dashboard.storage.errors import Changed, ContainerMissing, StorageError
from dashboard.storage.wrappers.fallback.waiting_writes import CircuitOpen
from dashboard.storage.wrapping import Wrapper
from tests.services.console import ADMIN, PASSWORD, started

SIZE = 4 * FIRST_BYTES
CONTENT = hashlib.shake_256(b"right").digest(SIZE)
OTHER = hashlib.shake_256(b"wrong").digest(SIZE)
KEY = "film.mp4"
QUARTERS = [0, 1, FIRST_BYTES, FIRST_BYTES + 1, SIZE // 2, 3 * SIZE // 4, SIZE - 1]


class BreakingDriver(MemoryDriver):
    """Breaks every read at one byte; ``error`` is what its calls raise while it is ``away``."""

    breaks_at: int | None = None
    only_once = False
    away: StorageError | None = None
    error: type[Exception] | None = None

    def stat(self, key: str) -> Any:
        self._refuse_while_away()
        return super().stat(key)

    def read(self, key: str, *, if_version: str | None = None) -> Reading:
        self._refuse_while_away()
        return super().read(key, if_version=if_version)

    def read_range(self, key: str, start: int, length: int, *, if_version: str | None = None) -> bytes:
        self._refuse_while_away()
        if self.breaks_at is not None and start <= self.breaks_at < start + length:
            if self.only_once:
                self.breaks_at = None
            raise broken()
        return super().read_range(key, start, length, if_version=if_version)

    def _refuse_while_away(self) -> None:
        if self.away is not None:
            raise self.away


def broken() -> StorageError:
    return StorageError(Kind.UNREACHABLE, "secret-host.internal:9000 reset the line.", operation="read")


class WithoutRanges(Wrapper):
    """A driver that reads an object only from its beginning to its end."""

    forwards = frozenset()


class TwoPlaces:
    """Serving with two scripted backends: home, and one in the fallback order."""

    def __init__(self, services: Services) -> None:
        self.home, self.spare = BreakingDriver(), BreakingDriver()
        self.drivers: dict[str, Driver] = {"home": self.home, "spare": self.spare}
        self.database = services.database
        self.backends = services.backends
        self.serving = services.serving

    def catalogue(self, **known: Any) -> None:
        now = time.time()
        row = {"backend_id": self.backends.get("home").id, "key": KEY, "size": SIZE, **known}
        with self.database.work_write() as connection:
            connection.execute(insert(files).values(**row, created_at=now, updated_at=now))

    def plan(self, **headers: str) -> Plan:
        return self.serving.plan("home", KEY, Conditions(**headers))

    def served(self, **headers: str) -> bytes:
        """What a client gets. A whole one, or an error."""
        plan = self.plan(**headers)
        return b"".join(chunks(plan))


def chunks(plan: Plan) -> Iterator[bytes]:
    assert plan.body is not None
    assert not isinstance(plan.body, OpenFile)
    try:
        while chunk := plan.body.read(FIRST_BYTES // 2 + 7):
            yield chunk
    finally:
        plan.close()


def until_it_breaks(places: TwoPlaces) -> bytes:
    """What a client got before the connection was closed on it."""
    received: list[bytes] = []
    with pytest.raises(StowageError) as raised:
        received.extend(chunks(places.plan()))
    got = b"".join(received)
    if not got:
        # A status and a sentence of our own: what the server said stays here.
        assert "secret-host" not in str(raised.value.as_dict())
        assert raised.value.kind is Kind.UNREACHABLE
    return got


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    folder = tmp_path_factory.mktemp("continuing")
    with started(folder / "instance") as console:
        made = console.services
        made.setup.complete(made.setup.issue_code(), ADMIN.name, PASSWORD)
        for name in ("home", "spare"):
            (folder / name).mkdir()
            made.backends.add(ADMIN, Draft(name, "local", {"root": str(folder / name)}, {}))
        made.backends.fallback_order(ADMIN, ["spare"])
        yield made


@pytest.fixture
def places(services: Services, monkeypatch: pytest.MonkeyPatch) -> TwoPlaces:
    made = TwoPlaces(services)
    made.home.put(KEY, CONTENT)
    monkeypatch.setattr(services.backends, "serving_driver", made.drivers.__getitem__)
    # What earlier tests counted is written now.
    services.serving.fallback_reads.recent()
    with services.database.work_write() as connection:
        connection.execute(delete(files))
        connection.execute(delete(fallback_reads))
    return made


def test_a_line_that_breaks_at_any_quarter(places: TwoPlaces) -> None:
    for place in QUARTERS:
        places.spare.put(KEY, CONTENT)
        places.home.breaks_at = place
        assert places.served() == CONTENT
        assert places.served(range="bytes=5-") == CONTENT[5:]
        places.home.only_once = True
        places.spare.delete(KEY)
        assert places.served() == CONTENT
        places.home.only_once = False


def test_a_wrong_copy_never_continues_a_body(places: TwoPlaces) -> None:
    places.spare.put(KEY, OTHER)
    for place in QUARTERS:
        places.home.breaks_at = place
        got = until_it_breaks(places)
        assert CONTENT.startswith(got)
        assert len(got) <= place


def test_a_copy_that_breaks_too(places: TwoPlaces) -> None:
    places.spare.put(KEY, CONTENT)
    places.home.breaks_at, places.spare.breaks_at = SIZE // 2, 3 * SIZE // 4
    got = until_it_breaks(places)
    assert CONTENT.startswith(got)
    assert SIZE // 2 <= len(got) <= 3 * SIZE // 4


@pytest.mark.parametrize("copied", [True, False])
def test_a_file_that_is_replaced_while_it_is_sent(places: TwoPlaces, copied: bool) -> None:
    if copied:
        places.spare.put(KEY, CONTENT)
    sent = chunks(places.plan())
    got = next(sent) + next(sent)
    places.home.put(KEY, OTHER)
    if copied:
        assert got + b"".join(sent) == CONTENT
    else:
        rest: list[bytes] = []
        with pytest.raises(Changed):
            rest.extend(sent)
        assert CONTENT.startswith(got + b"".join(rest))


@pytest.mark.parametrize("places_without_ranges", [["home"], ["home", "spare"]])
def test_a_backend_without_ranges_is_continued_too(
    places: TwoPlaces, places_without_ranges: list[str]
) -> None:
    for name in places_without_ranges:
        places.drivers[name] = WithoutRanges(places.drivers[name])
    places.spare.put(KEY, CONTENT)
    assert places.served() == CONTENT
    assert places.served(range="bytes=300000-") == CONTENT[300_000:]
    sent = chunks(places.plan())
    got = next(sent)
    places.home.away = broken()
    assert got + b"".join(sent) == CONTENT


AWAY = [
    broken(),
    StorageError(Kind.TIMEOUT, "No answer.", operation="stat"),
    StorageError(Kind.BAD_CREDENTIALS, "No.", operation="stat"),
    ContainerMissing("bucket", "There is no bucket.", operation="stat", remedy=""),
    CircuitOpen(Kind.TIMEOUT, "No answer a moment ago.", operation="stat"),
]


@pytest.mark.parametrize("error", AWAY, ids=lambda error: type(error).__name__ + error.kind)
def test_while_a_backend_is_away_only_a_provable_copy_is_served(
    places: TwoPlaces, error: StorageError
) -> None:
    tag = places.plan().file.tag
    places.spare.put(KEY, CONTENT)
    places.home.away = error
    with pytest.raises(StowageError, match="cannot be reached") as raised:
        places.plan()
    assert raised.value.kind is Kind.UNREACHABLE
    places.catalogue(md5=hashlib.md5(CONTENT).hexdigest())
    plan = places.plan()
    assert b"".join(chunks(plan)) == CONTENT
    assert (plan.file.backend, plan.file.fallback) == ("spare", True)
    # A download that began at home goes on: the tag is that of the content.
    assert plan.file.tag == tag
    assert places.served(range="bytes=7-", if_range=str(tag)) == CONTENT[7:]
    places.spare.put(KEY, OTHER)
    with pytest.raises(StowageError, match="cannot be reached"):
        places.plan()


@pytest.mark.parametrize("kind", [Kind.DENIED, Kind.DAMAGED, Kind.UNSUPPORTED])
def test_a_backend_that_refuses_is_not_passed_over(places: TwoPlaces, kind: Kind) -> None:
    places.spare.put(KEY, CONTENT)
    places.catalogue(sha256=hashlib.sha256(CONTENT).hexdigest())
    places.home.away = StorageError(kind, "secret-host.internal said no.", operation="stat")
    with pytest.raises(StowageError) as raised:
        places.plan()
    assert raised.value.kind is kind
    assert "secret-host" not in str(raised.value.as_dict())


def test_what_the_next_backend_may_have_is_not_guessed(places: TwoPlaces) -> None:
    places.home.delete(KEY)
    places.spare.away = broken()
    with pytest.raises(StowageError, match="“spare” cannot be reached"):
        places.plan()
    places.spare.away = None
    with pytest.raises(StowageError, match="There is no file") as raised:
        places.plan()
    assert raised.value.kind is Kind.NOT_FOUND
    places.spare.put(KEY, OTHER)
    assert places.served() == OTHER


def test_conditions_are_about_the_content_and_not_the_place(places: TwoPlaces) -> None:
    tag = str(places.plan().file.tag)
    places.home.delete(KEY)
    places.spare.put(KEY, OTHER)
    assert places.plan(if_match=tag).decision.outcome is Outcome.PRECONDITION_FAILED
    assert places.served(range="bytes=9-", if_range=tag) == OTHER
    places.spare.put(KEY, CONTENT)
    assert places.plan(if_none_match=tag).decision.outcome is Outcome.NOT_MODIFIED
    assert places.served(range="bytes=9-", if_range=tag) == CONTENT[9:]


def test_reads_that_another_backend_answered_are_counted(places: TwoPlaces) -> None:
    places.home.delete(KEY)
    places.spare.put(KEY, CONTENT)
    for _ in range(3):
        places.plan().close()
    (count,) = places.serving.fallback_reads.recent()
    assert (count.home, count.served_by, count.reads) == ("home", "spare", 3)
