"""A full-text index of the audit log: the trigrams of each entry's text, kept in step by triggers.

It says which entries may contain a text; whether one does, the entry itself says. It holds no text, and each
trigram of an entry once.
"""

from __future__ import annotations

from sqlalchemy import Connection, event

from dashboard.models.console import AuditEntry

TABLE = "audit_search"
BEGIN = "audit_search_begin"
"""The setting with the number of the first entry that is indexed. Earlier ones are indexed by and by, the
newest first; without the setting all are."""
_TEXT = "{0}.actor || ' ' || {0}.address || ' ' || {0}.action || ' ' || {0}.subject || ' ' || {0}.detail"
_FROM_HERE = "coalesce((SELECT CAST(value AS INTEGER) FROM settings WHERE key = 'audit_search_begin'), 0)"
_INSERT = (
    f"INSERT INTO {TABLE}(rowid, text) SELECT new.id, {_TEXT.format('new')} WHERE new.id >= {_FROM_HERE}"
)
# An index without the text has to be told what it was.
_DELETE = (
    f"INSERT INTO {TABLE}({TABLE}, rowid, text) "
    f"SELECT 'delete', old.id, {_TEXT.format('old')} WHERE old.id >= {_FROM_HERE}"
)
INDEX_EARLIER = (
    "INSERT INTO audit_search(rowid, text) "
    "SELECT id, actor || ' ' || address || ' ' || action || ' ' || subject || ' ' || detail FROM audit "
    "WHERE id >= :first AND id < :before"
)
"""Adds entries of before the index. Their numbers must not be in it yet."""
_STATEMENTS = (
    f"CREATE VIRTUAL TABLE {TABLE} USING fts5(text, content='', tokenize='trigram', detail='none')",
    f"CREATE TRIGGER {TABLE}_insert AFTER INSERT ON audit BEGIN {_INSERT}; END",
    f"CREATE TRIGGER {TABLE}_delete AFTER DELETE ON audit BEGIN {_DELETE}; END",
    f"CREATE TRIGGER {TABLE}_update AFTER UPDATE OF actor, address, action, subject, detail ON audit "
    f"BEGIN {_DELETE}; {_INSERT}; END",
)


def create(connection: Connection) -> bool:
    """Create the index, without the entries that are there already. False if this SQLite has no such index:
    then a search reads the entries themselves."""
    if not _is_supported(connection):
        return False
    for statement in _STATEMENTS:
        connection.exec_driver_sql(statement)
    return True


def _is_supported(connection: Connection) -> bool:
    if connection.dialect.name != "sqlite":
        return False
    version = connection.exec_driver_sql("SELECT sqlite_version()").scalar_one()
    modules = connection.exec_driver_sql("SELECT count(*) FROM pragma_module_list WHERE name = 'fts5'")
    # Trigrams came with 3.34.
    return tuple(map(int, version.split(".")[:2])) >= (3, 34) and bool(modules.scalar())


@event.listens_for(AuditEntry.__table__, "after_create")
def _with_table(target: object, connection: Connection, **_: object) -> None:
    create(connection)


__all__ = ["BEGIN", "INDEX_EARLIER", "TABLE", "create"]
