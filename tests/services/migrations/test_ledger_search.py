"""Filters of a ledger: every object that matches once, whatever the index, in pages that read little."""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Iterator

import pytest
from sqlalchemy import delete, event, insert

from dashboard.errors import InvalidInput
from dashboard.migration.types import LedgerRow, ObjectState
from dashboard.models.work import objects
from dashboard.services.database import Database, open_database, prepare_instance
from dashboard.services.migrations import ledger_search
from dashboard.services.migrations.ledger_search import LedgerSearch, ObjectFilter
from dashboard.services.migrations.report import json_lines, report_rows
from dashboard.settings import Settings

MINE, OTHER = 7, 8
KEYS = (
    "a/1",
    "a/2",
    "a",
    "a/\udcff",
    "b/ü",
    "b/\U0010ffff",
    "\udc80",
    "a0",
    "A/1",
    "ä/ü/1",
    "\ud7ff",
    "z_",
    "z%",
)
REASONS = (("", ""), ("denied", "Access was refused."), ("", "The same content."), ("io", "It broke off."))


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    settings = Settings.from_env({}, instance=tmp_path_factory.mktemp("ledgers") / "instance")
    prepare_instance(settings)
    made = open_database(settings)
    made.upgrade()
    chance = random.Random(11)
    rows = []
    for number in range(260):
        kind, reason = REASONS[chance.randrange(4)]
        rows.append(
            {
                "migration_id": OTHER if number % 5 == 0 else MINE,
                "key": f"{chance.choice(KEYS)}{number if chance.random() < 0.9 else chr(0x10FFFF)}-{number}",
                "size": chance.randrange(12),
                "state": chance.choice(list(ObjectState)).value,
                "action": "copy",
                "kind": kind,
                "reason": reason,
            }
        )
    with made.work_write() as connection:
        connection.execute(insert(objects), rows)
    yield made
    made.close()


def matches(row: LedgerRow, wanted: ObjectFilter) -> bool:
    return (
        wanted.state in (None, row.state)
        and wanted.kind in ("", row.kind)
        and wanted.reason in ("", row.reason)
        and row.key.startswith(wanted.prefix)
        and (wanted.min_size is None or row.size >= wanted.min_size)
        and (wanted.max_size is None or row.size <= wanted.max_size)
    )


def every(search: LedgerSearch, wanted: ObjectFilter, limit: int) -> list[LedgerRow]:
    found, after = list[LedgerRow](), ""
    while True:
        page = search.page(MINE, wanted, after=after, limit=limit)
        assert len(page.rows) <= limit
        assert page.is_partial == bool(page.next_after and len(page.rows) < limit)
        found += page.rows
        after = page.next_after
        if not after:
            return found


@pytest.mark.parametrize("scanned", [3, 40, 5000])
def test_pages_hold_every_object_that_matches_once(
    database: Database, monkeypatch: pytest.MonkeyPatch, scanned: int
) -> None:
    monkeypatch.setattr(ledger_search, "MAX_SCANNED", scanned)
    search, chance = LedgerSearch(database), random.Random(scanned)
    rows = every(search, ObjectFilter(), 1000)
    assert len(rows) == 208
    for _ in range(60):
        kind, reason = chance.choice(REASONS)
        wanted = ObjectFilter(
            state=chance.choice([None, *ObjectState]),
            kind=chance.choice(["", kind]),
            reason=chance.choice(["", reason]),
            prefix=chance.choice(
                ["", "", "a", "a/", "a/\udcff", "b/\U0010ffff", "\ud7ff", "\U0010ffff", "z_"]
            ),
            min_size=chance.choice([None, None, 3, 2**70]),
            max_size=chance.choice([None, None, 8]),
        )
        found = every(search, wanted, chance.choice([1, 7, 50]))
        assert sorted(row.id for row in found) == [row.id for row in rows if matches(row, wanted)], wanted


def test_a_prefix_lists_by_key_and_a_size_the_largest_first(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_search, "MAX_SCANNED", 3)
    by_key = [row.key for row in every(LedgerSearch(database), ObjectFilter(prefix="b"), 4)]
    assert by_key == sorted(by_key)
    sizes = [row.size for row in every(LedgerSearch(database), ObjectFilter(min_size=2), 4)]
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize("after", ["x", "i", "i-1", "k1x", "i" + "9" * 20, "k1", "s\u0661", "k99999"])
def test_a_place_in_the_list_that_there_is_not_is_refused(database: Database, after: str) -> None:
    # Number 1 belongs to another migration.
    with pytest.raises(InvalidInput):
        LedgerSearch(database).page(MINE, ObjectFilter(), after=after, limit=5)


@pytest.mark.parametrize(
    "wanted",
    [
        ObjectFilter(),
        ObjectFilter(ObjectState.FAILED),
        ObjectFilter(ObjectState.FAILED, "denied", "Access was refused."),
        ObjectFilter(reason="The same content."),
        ObjectFilter(kind="io"),
        ObjectFilter(prefix="a/"),
        ObjectFilter(ObjectState.VERIFIED, prefix="a/", max_size=5),
        ObjectFilter(ObjectState.VERIFIED, min_size=3),
        ObjectFilter(min_size=3),
        ObjectFilter(ObjectState.VERIFIED, "denied", "Access was refused.", "a", 3, 5),
    ],
)
def test_no_page_reads_more_than_a_range_of_an_index(
    database: Database, monkeypatch: pytest.MonkeyPatch, wanted: ObjectFilter
) -> None:
    monkeypatch.setattr(ledger_search, "MAX_SCANNED", 20)
    sent = list[tuple[str, object]]()

    def note(_c: object, _u: object, statement: str, parameters: object, *_: object) -> None:
        if statement.startswith("SELECT"):
            sent.append((statement, parameters))

    event.listen(database.work, "before_cursor_execute", note)
    try:
        first = LedgerSearch(database).page(MINE, wanted, limit=2)
        if first.next_after:
            LedgerSearch(database).page(MINE, wanted, after=first.next_after, limit=2)
    finally:
        event.remove(database.work, "before_cursor_execute", note)
    assert sent
    with database.work_read() as connection:
        for statement, parameters in sent:
            plan = connection.exec_driver_sql("EXPLAIN QUERY PLAN " + statement, parameters).all()  # type: ignore[call-overload]
            steps = [str(row[-1]) for row in plan if "migration_objects" in str(row[-1])]
            assert steps, statement
            assert all(step.startswith("SEARCH") for step in steps), (statement, steps)
            assert not any("TEMP B-TREE" in str(row[-1]) for row in plan), (statement, plan)


def test_the_report_is_in_key_order(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashboard.services.migrations.report.PAGE", 9)
    document = json.loads("".join(json_lines(MINE, report_rows(database, MINE))))
    rows = every(LedgerSearch(database), ObjectFilter(), 1000)
    assert document["id"] == MINE
    assert sorted(each["id"] for each in document["objects"]) == [row.id for row in rows]
    keys = [each["key"] for each in document["objects"]]
    assert keys == sorted(keys, key=lambda key: (key != key.encode("utf-8", "replace").decode(), key))
    assert document["objects"][0]["deleted"] is False
    assert list(document["objects"][0]) == list(LedgerRow.__dataclass_fields__)


def test_a_report_of_nothing_is_still_a_document(database: Database) -> None:
    assert json.loads("".join(json_lines(99, report_rows(database, 99)))) == {"id": 99, "objects": []}


@pytest.mark.parametrize(
    "wanted",
    [
        ObjectFilter(state=ObjectState.FAILED, prefix="p/"),
        ObjectFilter(state=ObjectState.FAILED, min_size=1),
        ObjectFilter(state=ObjectState.FAILED, max_size=10**6),
    ],
    ids=["prefix", "smallest", "largest"],
)
def test_no_page_looks_beyond_the_rows_it_may(
    wanted: ObjectFilter, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_search, "FIRST_SCANNED", 50)
    monkeypatch.setattr(ledger_search, "MAX_SCANNED", 50)
    large = 9
    states = (ObjectState.FAILED, *[ObjectState.VERIFIED] * 9)
    rows = [
        {
            "migration_id": large,
            "key": f"p/{number:05}",
            "size": number + 1,
            "state": states[number % 10].value,
        }
        for number in range(4000)
    ]
    with database.work_write() as connection:
        connection.execute(insert(objects), [{**row, "action": "copy"} for row in rows])
    steps: list[int] = []
    try:
        with database.work_read() as connection:
            raw = connection.connection.driver_connection
            if not isinstance(raw, sqlite3.Connection):
                pytest.skip("only SQLite tells how much it reads")
            search = ledger_search._Search(connection, large, wanted)
            first = search.page("", 20)
            # Not the beginning: a page in the middle has two bounds of its own.
            raw.set_progress_handler(lambda: steps.append(1), 100)
            second = search.page(first.next_after, 20)
            raw.set_progress_handler(None, 0)
    finally:
        with database.work_write() as connection:
            connection.execute(delete(objects).where(objects.c.migration_id == large))
    assert (len(first.rows), len(second.rows), second.is_partial) == (5, 5, True)
    assert len(steps) < 100, "one of 4,000 rows takes six steps"


def test_a_place_in_another_filters_list_goes_on_there(database: Database) -> None:
    by_key = LedgerSearch(database).page(MINE, ObjectFilter(prefix="a"), limit=2)
    every_key = LedgerSearch(database).page(MINE, ObjectFilter(), after=by_key.next_after, limit=500)
    assert [row.key for row in every_key.rows if row.key <= by_key.rows[-1].key] == []
    assert every_key.rows
