"""The audit log is written with the deed, pages backwards, and holds no secret."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select

from dashboard.models.console import AuditEntry
from dashboard.services.audit import HIDDEN, redact_options
from dashboard.services.permissions import Actor, Role
from dashboard.storage.options import Option, OptionType
from dashboard.storage.types import Secret
from tests.services.console import ADMIN, ServiceConsole

BOB = Actor("bob", Role.ADMIN, "cli")


@pytest.fixture
def full(console: ServiceConsole) -> ServiceConsole:
    with console.database.write() as session:
        for number in range(30):
            actor, action = (ADMIN, "backend.edit") if number % 2 else (BOB, "user.add")
            console.services.audit.record(session, actor, action, f"thing {number}", number=number)
    return console


def test_rows_page_backwards_without_gaps(full: ServiceConsole) -> None:
    audit = full.services.audit
    seen: list[int] = []
    before: int | None = None
    while rows := audit.rows(before_id=before, limit=7):
        seen += [row.id for row in rows]
        before = rows[-1].id
    with full.database.read() as session:
        assert len(seen) == session.scalar(select(func.count(AuditEntry.id)))
    assert seen == sorted(seen, reverse=True)


def test_rows_are_found_by_action_its_beginning_and_actor(full: ServiceConsole) -> None:
    audit = full.services.audit
    assert len(audit.rows(action="backend.edit")) == 15
    assert {row.action for row in audit.rows(action="backend")} == {"backend.edit", "backend.add"}
    assert audit.rows(action="back") == ()
    assert audit.rows(action="%") == ()
    assert len(audit.rows(actor="bob", limit=100)) == 15
    assert audit.rows(actor="\udcff") == ()


def test_a_deed_that_fails_leaves_no_row(console: ServiceConsole) -> None:
    before = len(console.services.audit.rows(limit=500))

    def deed() -> None:
        with console.database.write() as session:
            console.services.audit.record(session, ADMIN, "backend.add", "x")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        deed()
    assert len(console.services.audit.rows(limit=500)) == before


def test_secrets_and_unknown_options_are_hidden() -> None:
    specs = (Option("bucket", "Bucket"), Option("secret_access_key", "Secret", OptionType.SECRET))
    values = {"bucket": "files", "secret_access_key": "hunter2", "mystery": "hunter3", "wrapped": Secret("x")}
    assert redact_options(specs, values) == {
        "bucket": "files",
        "secret_access_key": HIDDEN,
        "mystery": HIDDEN,
        "wrapped": HIDDEN,
    }


def test_hostile_texts_are_cut_and_cleaned(console: ServiceConsole) -> None:
    with console.database.write() as session:
        console.services.audit.record(
            session,
            Actor("\udcff" * 9, Role.ADMIN, "web"),
            "x",
            "y" * 5000,
            note="\udcff",
            key=Secret("hunter2"),
        )
    row = console.services.audit.rows(limit=1)[0]
    assert len(row.subject) == 300
    assert row.actor == "?" * 9
    assert dict(row.detail) == {"note": "?", "key": HIDDEN}
