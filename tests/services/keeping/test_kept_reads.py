"""What was read is kept until a database changes, and not a moment longer."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from sqlalchemy import create_engine, func, insert, select

from dashboard.models.console import Setting
from dashboard.models.work import listing
from dashboard.services.database import Database
from dashboard.services.keeping.kept_reads import MAX_KEPT, KeptReads
from tests.services.database_file import opened

ELSEWHERE = """
import sqlite3, sys
with sqlite3.connect(sys.argv[1]) as connection:
    connection.execute("insert or replace into settings (key, value) values ('counter', ?)", (sys.argv[2],))
"""


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """One for all tests; each reads under keys of its own."""
    with opened(tmp_path_factory.mktemp("kept")) as database:
        yield database


class Reader:
    """Reads the counter, and knows how often that was done."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.reads = 0

    def __call__(self) -> str | None:
        self.reads += 1
        with self.database.read() as session:
            return session.scalar(select(Setting.value).where(Setting.key == "counter"))

    def kept(self) -> str | None:
        return self.database.kept(self, self, of="main")


@pytest.fixture
def reader(database: Database) -> Reader:
    return Reader(database)


def put(database: Database, value: str) -> None:
    with database.write() as session:
        session.merge(Setting(key="counter", value=value))


def put_work(database: Database, migration: int) -> None:
    with database.work_write() as connection:
        connection.execute(insert(listing).values(migration_id=migration, key="x", size=1))


def test_what_has_not_changed_is_read_once(database: Database, reader: Reader) -> None:
    put(database, "1")
    assert [reader.kept() for _ in range(3)] == ["1"] * 3
    assert reader.reads == 1


def test_a_change_is_seen_at_once(database: Database, reader: Reader) -> None:
    for value in "123":
        put(database, value)
        assert reader.kept() == value
    assert reader.reads == 3


def test_a_change_by_another_process_is_seen_at_once(database: Database, reader: Reader) -> None:
    put(database, "1")
    assert reader.kept() == "1"
    path = str(database.main.url.database)
    subprocess.run([sys.executable, "-c", ELSEWHERE, path, "from elsewhere"], check=True)
    assert reader.kept() == "from elsewhere"


def test_each_database_counts_for_what_is_read_of_it(database: Database, reader: Reader) -> None:
    put(database, "1")
    reads: list[str] = []
    for _ in range(2):
        reader.kept()
        database.kept("work", lambda: reads.append("work"), of="work")
        database.kept("both", lambda: reads.append("both"))
    put_work(database, 1)
    reader.kept()
    database.kept("work", lambda: reads.append("work"), of="work")
    database.kept("both", lambda: reads.append("both"))
    assert (reader.reads, reads) == (1, ["work", "both"] * 2)


def test_nothing_is_kept_that_changed_while_it_was_read(database: Database) -> None:
    put(database, "1")

    def read() -> str | None:
        # Read just before a change, or just after: nobody can tell.
        found = Reader(database)()
        put(database, "2")
        return found

    assert database.kept("counter", read, of="main") == "1"
    assert Reader(database).kept() == "2"


def test_one_view_keeps_what_it_sees(database: Database, reader: Reader) -> None:
    put(database, "1")
    with database.read_together():
        assert reader.kept() == "1"
        changing = threading.Thread(target=put, args=(database, "2"))
        changing.start()
        changing.join()
        # As every other read of this view, which contradicts no other.
        assert reader.kept() == "1"
        assert reader() == "1"
    assert reader.kept() == "2"
    with database.read_together():
        assert reader.kept() == "2"


def test_a_view_that_began_amid_changes_keeps_nothing(
    database: Database, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(database, "1")
    assert reader.kept() == "1"
    versions = database._reads.versions
    changes = iter("23")

    def just_before_a_change() -> object:
        found = versions()
        if (value := next(changes, None)) is not None:
            put(database, value)
        return found

    monkeypatch.setattr(database._reads, "versions", just_before_a_change)
    with database.read_together():
        # The second change came after the view's begin.
        assert reader.kept() == "2"
        assert reader.kept() == "2"
        assert reader.reads == 3
    monkeypatch.undo()
    assert reader.kept() == "3"


def test_a_failure_and_what_is_not_to_be_kept_are_read_again(database: Database) -> None:
    def fail() -> str:
        raise OSError("no")

    for _ in range(2):
        with pytest.raises(OSError, match="no"):
            database.kept("key", fail)
    found = iter(["running", "done", "later"])
    kept = [database.kept("key", lambda: next(found), keep_if=lambda each: each == "done") for _ in range(3)]
    assert kept == ["running", "done", "done"]


def test_a_database_without_a_count_of_changes_keeps_nothing() -> None:
    for url in ("sqlite://", "sqlite:///:memory:"):
        engine = create_engine(url)
        reads = KeptReads(engine, engine)
        assert reads.versions().of("both") is None
        assert reads.versions().of("main") is None
        reads.close()


def test_a_database_that_is_opened_again_is_of_another_version(database: Database) -> None:
    reader = Reader(database)
    put(database, "1")
    assert reader.kept() == "1"
    database.close()
    # As after a restored backup: a new connection counts from the beginning again.
    subprocess.run([sys.executable, "-c", ELSEWHERE, str(database.main.url.database), "2"], check=True)
    assert reader.kept() == "2"


def test_what_is_kept_is_bounded(database: Database) -> None:
    for number in range(3 * MAX_KEPT):
        database.kept(number, lambda: "something")
    assert len(database._reads._kept) == MAX_KEPT


def test_many_threads_see_each_change(database: Database, reader: Reader) -> None:
    put(database, "0")
    wrong: list[tuple[int, int]] = []

    def look(ending: threading.Event) -> None:
        least = 0
        while not ending.is_set():
            with database.read() as session:
                least = int(session.scalars(select(Setting.value).where(Setting.key == "counter")).one() or 0)
            found = int(reader.kept() or 0)
            if found < least:
                wrong.append((found, least))

    ending = threading.Event()
    threads = [threading.Thread(target=look, args=(ending,)) for _ in range(4)]
    for each in threads:
        each.start()
    for number in range(1, 60):
        put(database, str(number))
        assert reader.kept() == str(number)
    ending.set()
    for each in threads:
        each.join()
    assert not wrong, "what was kept is older than what was read before"


def test_a_count_of_rows_follows(database: Database) -> None:
    def count() -> int:
        with database.work_read() as connection:
            return connection.scalar(select(func.count()).select_from(listing)) or 0

    counted = []
    for number in range(3):
        counted.append(database.kept("rows", count, of="work"))
        put_work(database, 100 + number)
    assert [each - counted[0] for each in counted] == [0, 1, 2]
