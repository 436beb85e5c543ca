"""Statements for many rows store exactly what SQLAlchemy stores."""

from __future__ import annotations

import pytest
from sqlalchemy import bindparam, create_engine, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.exc import IntegrityError

from dashboard.models.catalogue import files
from dashboard.models.work import metadata, objects
from dashboard.services.bulk import BulkStatement

ROWS = [
    {"backend_id": 1, "key": "plain", "size": 5, "modified": 2.5, "details": {"a": [1, "ü"]}},
    {"backend_id": 1, "key": "ü/\udcff", "size": 2**62, "modified": None, "details": None},
    {"backend_id": 2, "key": "", "size": 0, "modified": -1.0, "details": {}},
]
TIMES = {"created_at": 1.0, "updated_at": 2.0}


def test_rows_are_those_that_sqlalchemy_writes() -> None:
    rows = [{**row, **TIMES} for row in ROWS]
    found = []
    add = upsert(files)
    change = add.on_conflict_do_update(index_elements=["backend_id", "key"], set_={"size": add.excluded.size})
    for statement in (insert(files), change):
        for bulk in (True, False):
            engine = create_engine("sqlite://")
            metadata.create_all(engine)
            with engine.begin() as connection:
                if bulk:
                    assert BulkStatement(statement, rows[0]).run(connection, rows).rowcount == 3
                else:
                    connection.execute(statement, rows)
                raw = connection.exec_driver_sql("SELECT *, typeof(key), typeof(details) FROM files").all()
                found.append((raw, connection.execute(select(files)).all()))
            engine.dispose()
    assert found.count(found[0]) == 4


def test_constants_and_booleans_are_bound_and_rows_counted() -> None:
    engine = create_engine("sqlite://")
    metadata.create_all(engine)
    end = BulkStatement(
        update(objects)
        .where(objects.c.key == bindparam("b_key"), objects.c.state == "in_flight")
        .values(state="copied", deleted=bindparam("gone")),
        ("b_key", "gone"),
    )
    with engine.begin() as connection:
        for key, state in (("a", "in_flight"), ("b\udcff", "in_flight"), ("c", "pending")):
            row = {"migration_id": 1, "key": key, "size": 1, "state": state, "action": "copy"}
            connection.execute(insert(objects), [row])
        result = end.run(connection, [{"b_key": key, "gone": key == "a"} for key in ("a", "b\udcff", "c")])
        assert result.rowcount == 2
        rows = connection.execute(select(objects.c.key, objects.c.state, objects.c.deleted)).all()
        assert [tuple(row) for row in rows] == [
            ("a", "copied", True),
            ("b\udcff", "copied", False),
            ("c", "pending", False),
        ]
    engine.dispose()


def test_errors_are_those_of_sqlalchemy() -> None:
    engine = create_engine("sqlite://")
    metadata.create_all(engine)
    statement = BulkStatement(insert(files), [*ROWS[0], *TIMES])
    with engine.begin() as connection, pytest.raises(IntegrityError):
        statement.run(connection, [{**ROWS[0], **TIMES}] * 2)
    with engine.begin() as connection, pytest.raises(KeyError):
        statement.run(connection, [dict(ROWS[0])])
    engine.dispose()
