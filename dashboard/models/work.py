"""Tables of ``work.db``: the ledgers of migrations, their counters, and their live progress.

Core tables with their own metadata, so that the ledger works in any program. All times are seconds since the
epoch, all sizes bytes. ``migration_id`` refers to a row of the main database; there is no foreign key,
because it is another file.
"""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    text,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

metadata = MetaData()


class KeyText(TypeDecorator[str]):
    """An object's exact key.

    A file name that is not UTF-8 has surrogate escapes (PEP 383), which databases do not accept as text. It
    is stored as bytes, which SQLite never equals to text, so nothing collides. PostgreSQL has a form of its
    own for every text that it does not accept: ``services/postgresql/texts.py``.
    """

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Return text as it is, or bytes if it is not valid Unicode."""
        if value is None or value.isascii() or dialect.name != "sqlite":
            return value
        try:
            value.encode()
        except UnicodeEncodeError:
            return value.encode("utf-8", "surrogatepass")  # type: ignore[return-value]
        return value

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        """Return the stored key."""
        return value.decode("utf-8", "surrogatepass") if isinstance(value, bytes) else value


class KeyBytes(LargeBinary):
    """The bytes of a key that is no text, in comparisons with a column of such keys."""


objects = Table(
    "migration_objects",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("migration_id", Integer, nullable=False),
    Column("key", KeyText, nullable=False),
    Column("size", Integer, nullable=False),
    Column("modified", Float),
    Column("etag", String),
    Column("state", String(16), nullable=False),
    Column("action", String(16), nullable=False),
    # What the plan found at the destination under this key; "*": any object.
    Column("found", String, nullable=False, server_default=text("'*'")),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    # 1: was in flight when a run ended and its leftovers are not swept yet; 2: they are swept.
    Column("interrupted", Integer, nullable=False, server_default=text("0")),
    Column("kind", String(24), nullable=False, server_default=text("''")),
    Column("reason", String, nullable=False, server_default=text("''")),
    Column("remedy", String, nullable=False, server_default=text("''")),
    # Empty unless it differs from the key (keep both).
    Column("destination_key", KeyText, nullable=False, server_default=text("''")),
    Column("source_checksum", String, nullable=False, server_default=text("''")),
    Column("destination_checksum", String, nullable=False, server_default=text("''")),
    Column("source_version", String, nullable=False, server_default=text("''")),
    Column("destination_etag", String, nullable=False, server_default=text("''")),
    Column("started_at", Float),
    Column("finished_at", Float),
    # The fence of the run whose final listing has this object at the destination; negative if it has the
    # key with another size or etag.
    Column("seen", Integer, nullable=False, server_default=text("0")),
    Column("deleted", Boolean, nullable=False, server_default=text("0")),
    UniqueConstraint("migration_id", "key", name="uq_migration_objects_key"),
    Index("ix_migration_objects_state", "migration_id", "state", "id"),
    Index("ix_migration_objects_unswept", "migration_id", "id", sqlite_where=text("interrupted = 1")),
    # For filters of the ledger's pages.
    Index("ix_migration_objects_reason", "migration_id", "reason", "id", sqlite_where=text("reason != ''")),
    Index("ix_migration_objects_size", "migration_id", "size", "id"),
)
own_keys = Index(
    "ix_migration_objects_own_keys",
    objects.c.migration_id,
    objects.c.destination_key,
    sqlite_where=text("destination_key != ''"),
)
"""For the few rows with a key of their own at the destination."""

COUNTED = (
    "found",
    "copied",
    "verified",
    "skipped",
    "failed",
    "deleted",
    "to_copy",
    "to_replace",
    "to_compare",
    "to_keep_both",
)
"""The counters; each has a twin ending in ``_bytes``."""

counters = Table(
    "migration_counters",
    metadata,
    Column("migration_id", Integer, primary_key=True, autoincrement=False),
    Column("fence", Integer, nullable=False, server_default=text("0")),
    # By which the migration recognizes its own objects; see migration/provenance.py.
    Column("token", String(32), nullable=False, server_default=text("''")),
    Column("listing_final", Boolean, nullable=False, server_default=text("0")),
    # A JSON list of keys at the destination.
    Column("markers", String, nullable=False, server_default=text("''")),
    *(
        Column(name + suffix, Integer, nullable=False, server_default=text("0"))
        for name in COUNTED
        for suffix in ("", "_bytes")
    ),
)

failure_groups = Table(
    "migration_failure_groups",
    metadata,
    Column("migration_id", Integer, primary_key=True, autoincrement=False),
    Column("kind", String(24), primary_key=True),
    Column("reason", String, primary_key=True),
    Column("remedy", String, nullable=False),
    Column("example", KeyText, nullable=False),
    Column("objects", Integer, nullable=False),
)

live = Table(
    "migration_live",
    metadata,
    Column("migration_id", Integer, primary_key=True, autoincrement=False),
    Column("at", Float, nullable=False),
    Column("status", String, nullable=False),
)

# What pages show beside the counters, as JSON: the review before the start, and throughput over time.
facts = Table(
    "migration_facts",
    metadata,
    Column("migration_id", Integer, primary_key=True, autoincrement=False),
    Column("review", String, nullable=False, server_default=text("''")),
    Column("series", String, nullable=False, server_default=text("''")),
)

# What is left to copy while a run uses carriers: rows of a migration from one id to another, which one
# carrier at a time may claim. A chunk whose rows are settled is deleted; a run begins without any.
chunks = Table(
    "migration_chunks",
    metadata,
    Column("migration_id", Integer, primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("first_id", Integer, nullable=False),
    Column("last_id", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    # By whom it is claimed, until when, and a number that grows with each claim.
    Column("carrier", Integer, nullable=False, server_default=text("0")),
    Column("lease_until", Float, nullable=False, server_default=text("0")),
    Column("fence", Integer, nullable=False, server_default=text("0")),
)

# The carriers of a run: what each may do, and what it reports.
carriers = Table(
    "migration_carriers",
    metadata,
    Column("migration_id", Integer, primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),
    # How many objects it may copy at once.
    Column("workers", Integer, nullable=False),
    # Its part of the limits; nothing for no limit.
    Column("bytes_per_second", Float),
    Column("objects_per_second", Float),
    Column("at", Float, nullable=False),
    Column("status", String, nullable=False, server_default=text("''")),
)

# While a migration is planned: names reserved at a destination that treats several names as the same.
names = Table(
    "migration_names",
    metadata,
    Column("migration_id", Integer, primary_key=True, autoincrement=False),
    Column("folded", KeyText, primary_key=True),
    Column("name", KeyText, nullable=False),
    sqlite_with_rowid=False,
)

# If a listing is not sorted: the destination's listing, while the source's is compared with it.
listing = Table(
    "migration_listing",
    metadata,
    Column("migration_id", Integer, primary_key=True, autoincrement=False),
    Column("key", KeyText, primary_key=True),
    Column("size", Integer, nullable=False),
    Column("modified", Float),
    Column("etag", String),
    sqlite_with_rowid=False,
)
