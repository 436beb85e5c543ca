"""The audit log's chain: whatever is done to the table without the key is found."""

from __future__ import annotations

import multiprocessing
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from dashboard.services.auditing.newest_seen import FILE_NAME
from dashboard.services.auditing.verifying import LAST_RESULT, ProblemKind, Verification
from tests.services.console import ADMIN, ServiceConsole, started
from tests.services.database_file import change_by_hand

ROWS = 12


@pytest.fixture
def chained(console: ServiceConsole) -> ServiceConsole:
    write(console, ROWS)
    return console


def write(console: ServiceConsole, count: int, prefix: str = "thing") -> None:
    for number in range(count):
        with console.database.write() as session:
            console.services.audit.record(session, ADMIN, "backend.test", f"{prefix} {number}", saved="yes")


def change(console: ServiceConsole, *statements: str) -> None:
    more = ()
    if console.database.on_server:
        # In a file the next entry has the number after the last.
        more = ("SELECT setval(pg_get_serial_sequence('audit', 'id'), (SELECT max(id) FROM audit))",)
    change_by_hand(console.database.main, *statements, *more)


def check(console: ServiceConsole) -> Verification:
    return console.services.audit.verify(ADMIN)


def kinds(console: ServiceConsole) -> list[ProblemKind]:
    return [problem.kind for problem in check(console).problems]


def sentences(console: ServiceConsole) -> list[str]:
    return [problem.sentence for problem in check(console).problems]


def last(console: ServiceConsole) -> int:
    return console.services.audit.rows(limit=1)[0].id


def test_an_untouched_chain_is_whole(chained: ServiceConsole) -> None:
    found = check(chained)
    assert (found.whole, found.problems, found.pending, found.later) == (True, (), 0, 0)
    assert found.entries == found.head_id == last(chained)
    assert "is whole" in found.sentence
    assert chained.services.audit.last_verification() == found


def test_rows_of_one_transaction_follow_each_other(console: ServiceConsole) -> None:
    with console.database.write() as session:
        for number in range(3):
            console.services.audit.record(session, ADMIN, "backend.test", f"x {number}")
    newest, middle, first = console.services.audit.rows(limit=3)
    assert (newest.previous, middle.previous) == (middle.mac, first.mac)
    assert check(console).whole


def test_a_transaction_that_fails_leaves_the_chain_as_it_was(chained: ServiceConsole) -> None:
    def fail() -> None:
        with chained.database.write() as session:
            chained.services.audit.record(session, ADMIN, "backend.add", "x")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    write(chained, 1)
    assert check(chained).whole


CHANGES = (
    "at = at + 1",
    "at = 'yesterday'",
    "actor = 'bob'",
    "via = 'cli'",
    "address = '203.0.113.9'",
    "action = 'backend.remove'",
    "subject = 'other'",
    'detail = \'{"saved": "no"}\'',
    "detail = '{'",
    "detail = x'ff'",
    "outcome = 'refused'",
    "chained = 'later'",
    f"mac = '{'0' * 64}'",
    "mac = ''",
    "mac = x'00'",
)
OF_ANOTHER_TYPE = ("at = 'yesterday'", "detail = x'ff'", "mac = x'00'")
"""What only a file takes."""


def test_a_changed_row_is_named(chained: ServiceConsole) -> None:
    change(chained, "CREATE TABLE kept AS SELECT * FROM audit WHERE id = 5")
    for value in CHANGES:
        if chained.database.on_server and value in OF_ANOTHER_TYPE:
            continue
        change(chained, f"UPDATE audit SET {value} WHERE id = 5")
        found = check(chained)
        assert not found.whole, value
        assert any((problem.first, problem.last) == (5, 5) for problem in found.problems), value
        # Neither the page nor an export stops at it.
        assert len(chained.services.audit.rows(limit=100)) == last(chained)
        change(chained, "DELETE FROM audit WHERE id = 5", "INSERT INTO audit SELECT * FROM kept")
    assert check(chained).whole
    change(chained, f"UPDATE audit SET {CHANGES[0]} WHERE id = 5")
    write(chained, 2)
    assert sentences(chained) == ["Entry 5 was changed."]


def test_a_deleted_row_is_named(chained: ServiceConsole) -> None:
    change(chained, "DELETE FROM audit WHERE id = 5")
    assert sentences(chained) == ["Entry 5 is missing."]
    change(chained, "DELETE FROM audit WHERE id IN (1, 2, 8, 9)")
    assert sentences(chained) == [
        "Entries 1 to 2 are missing.",
        "Entry 5 is missing.",
        "Entries 8 to 9 are missing.",
    ]


def test_renumbered_rows_do_not_hide_a_deleted_one(chained: ServiceConsole) -> None:
    change(chained, "DELETE FROM audit WHERE id = 5", "UPDATE audit SET id = id - 1 WHERE id > 5")
    assert not check(chained).whole


def test_swapped_rows_are_found(chained: ServiceConsole) -> None:
    change(
        chained,
        "UPDATE audit SET id = -5 WHERE id = 5",
        "UPDATE audit SET id = 5 WHERE id = 6",
        "UPDATE audit SET id = 6 WHERE id = -5",
    )
    found = check(chained)
    assert {problem.first for problem in found.problems} >= {5, 6}


def test_swapped_contents_are_found(chained: ServiceConsole) -> None:
    change(
        chained,
        "UPDATE audit SET subject = (SELECT subject FROM audit WHERE id = 7) WHERE id = 5",
    )
    assert kinds(chained) == [ProblemKind.ALTERED]


COLUMNS = "at, via, address, action, subject, detail, outcome"
INSERT = (
    f"INSERT INTO audit (id, actor, {COLUMNS}, chained, previous, mac)"
    f" SELECT {{id}}, 'bob', {COLUMNS}, {{rest}} FROM audit WHERE id = 5"
)


@pytest.mark.parametrize("number", [-3, 0])
def test_an_inserted_row_without_a_code_is_found(chained: ServiceConsole, number: int) -> None:
    change(chained, INSERT.format(id=number, rest="'', '', ''"))
    assert kinds(chained) == [ProblemKind.FOREIGN]


def test_a_row_added_at_the_end_with_a_copied_code_is_found(chained: ServiceConsole) -> None:
    change(chained, INSERT.format(id=last(chained) + 1, rest="chained, previous, mac"))
    assert ProblemKind.FOREIGN in kinds(chained)
    write(chained, 3)
    assert not check(chained).whole


def test_a_row_added_at_the_end_without_a_code_is_said_to_be_chained_later(chained: ServiceConsole) -> None:
    change(chained, INSERT.format(id=last(chained) + 1, rest="'', '', ''"))
    assert check(chained).pending == 1
    write(chained, 1)
    assert (check(chained).later, check(chained).pending) == (1, 0)
    assert [row.chained for row in chained.services.audit.rows(limit=2)] == ["live", "later"]


def test_a_cut_end_is_found(chained: ServiceConsole) -> None:
    end = last(chained)
    change(chained, f"DELETE FROM audit WHERE id > {end - 3}")
    assert (
        sentences(chained)[0] == f"The end is missing: the last entry was {end}, here it ends with {end - 3}."
    )
    # It stays found when the log goes on, also if numbers are used again.
    if not chained.database.on_server:
        change(chained, f"UPDATE sqlite_sequence SET seq = {end - 3} WHERE name = 'audit'")
    write(chained, 5)
    assert not check(chained).whole


@pytest.mark.parametrize("head", ["DELETE FROM audit_head", "UPDATE audit_head SET {}"])
def test_a_head_that_was_cut_with_the_end_is_found(chained: ServiceConsole, head: str) -> None:
    row = chained.services.audit.rows(limit=3)[-1]
    values = f"last_id = {row.id}, last_mac = '{row.mac}'"
    change(chained, f"DELETE FROM audit WHERE id > {row.id}", head.format(values))
    (chained.settings.instance / FILE_NAME).unlink()
    assert ProblemKind.HEAD in kinds(chained)
    write(chained, 2)
    assert kinds(chained) == [ProblemKind.HEAD]


def test_an_older_database_that_is_put_back_is_found(tmp_path: Path) -> None:
    with started(tmp_path) as console:
        write(console, 3)
        console.services.backups.copies.write(ADMIN, tmp_path / "copy")
        write(console, 3)
    (tmp_path / "stowage.db-wal").unlink(missing_ok=True)
    (tmp_path / "stowage.db-shm").unlink(missing_ok=True)
    shutil.copy(tmp_path / "copy" / "stowage.db", tmp_path / "stowage.db")
    with started(tmp_path) as console:
        assert kinds(console) == [ProblemKind.OLDER]
        # Writing more rows than were lost does not hide it, and only accepting it ends it.
        write(console, 5, "other")
        assert kinds(console) == [ProblemKind.OLDER]
        assert console.services.audit.accept_end(ADMIN).whole
        assert console.services.audit.rows(limit=1)[0].action == "audit.accept_end"
        write(console, 2)
        assert check(console).whole


def test_accepting_an_older_database_mends_nothing_else(chained: ServiceConsole) -> None:
    change(chained, "UPDATE audit SET actor = 'bob' WHERE id = 5", "DELETE FROM audit WHERE id > 8")
    assert not chained.services.audit.accept_end(ADMIN).whole
    assert "Entry 5 was changed." in sentences(chained)


def test_a_forged_note_of_the_newest_row_is_ignored(chained: ServiceConsole) -> None:
    note = chained.settings.instance / FILE_NAME
    for text in ("", "[", '[1, "x", "y"]', "{}", "\x00" * 5000):
        note.write_text(text)
        assert check(chained).whole
    note.unlink()
    note.symlink_to("/etc/passwd")
    assert check(chained).whole
    write(chained, 1)
    assert not note.is_symlink()


def test_the_chains_key_cannot_be_exchanged(chained: ServiceConsole) -> None:
    change(chained, "DELETE FROM settings WHERE key = 'audit_chain_key'")
    chained.services.keys.prepare()
    assert not check(chained).whole
    write(chained, 2)
    assert not check(chained).whole


def test_a_rotation_keeps_the_chain(chained: ServiceConsole) -> None:
    chained.services.keys.rotate(ADMIN)
    write(chained, 2)
    assert check(chained).whole


def test_rows_of_a_sealed_console_are_chained_later_and_said_to_be(tmp_path: Path) -> None:
    with started(tmp_path) as console:
        write(console, 2)
        recovery = console.services.keys.recovery_key().text
    key_file = tmp_path / "stowage.key"
    key_file.unlink()
    with started(tmp_path) as console:
        write(console, 3)
        found = check(console)
        assert (found.whole, found.entries) == (False, 0)
        assert "sealed" in found.sentence
        console.services.keys.restore(ADMIN, recovery)
        assert [row.chained for row in console.services.audit.rows(limit=4)] == ["live", *["later"] * 3]
        assert (check(console).whole, check(console).later) == (True, 3)


def test_rows_of_earlier_versions_are_chained_by_the_upgrade_and_said_to_be(tmp_path: Path) -> None:
    with started(tmp_path) as console:
        write(console, 20)
        change(
            console,
            "UPDATE audit SET chained = '', previous = '', mac = ''",
            "DELETE FROM audit_head",
            "DELETE FROM settings WHERE key = 'audit_chain_key'",
        )
        (tmp_path / FILE_NAME).unlink()
    with started(tmp_path) as console:
        row = console.services.audit.rows(limit=1)[0]
        assert (row.action, row.detail["entries"]) == ("audit.chain", "20")
        assert (check(console).whole, check(console).later) == (True, 20)
    with started(tmp_path) as console:
        assert console.services.audit.rows(limit=1)[0] == row


def test_a_change_does_not_wait_for_many_earlier_rows(
    chained: ServiceConsole, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashboard.services.auditing.chain.MAX_ADOPTED", 3)
    change(chained, *(INSERT.format(id=last(chained) + n, rest="'', '', ''") for n in range(1, 6)))
    write(chained, 1)
    assert chained.services.audit.rows(limit=1)[0].chained == ""
    chained.services.audit.chain_earlier_rows()
    assert (check(chained).whole, check(chained).later) == (True, 6)


def test_a_forged_result_is_not_shown(chained: ServiceConsole) -> None:
    check(chained)
    assert chained.services.audit.last_verification() is not None
    change(
        chained, f"UPDATE settings SET value = replace(value, 'true', 'false') WHERE key = '{LAST_RESULT}'"
    )
    assert chained.services.audit.last_verification() is None


def _write_in_a_process(folder: Path, ready: Callable[[], object], prefix: str) -> None:
    with started(folder) as console:
        ready()
        write(console, 25, prefix)


def test_two_processes_share_one_chain(tmp_path: Path) -> None:
    with started(tmp_path):
        pass
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(2)
    writers = [
        context.Process(target=_write_in_a_process, args=(tmp_path, barrier.wait, name)) for name in "ab"
    ]
    for each in writers:
        each.start()
    for each in writers:
        each.join(60)
        assert each.exitcode == 0
    with started(tmp_path) as console:
        assert (check(console).whole, check(console).later) == (True, 0)
        assert len({row.subject for row in console.services.audit.rows(limit=100)}) == 50
