"""Tables of ``work.db`` with figures about the catalogue, which a job computes and pages only read.

``backend_id`` refers to a row of the main database without a foreign key, because it is another file. Times
are seconds since the epoch, sizes bytes.
"""

from __future__ import annotations

from sqlalchemy import JSON, Column, Float, Index, Integer, String, Table

from dashboard.models.work import KeyText, metadata

summaries = Table(
    "usage_summaries",
    metadata,
    Column("backend_id", Integer, primary_key=True, autoincrement=False),
    Column("at", Float, nullable=False),
    Column("files", Integer, nullable=False),
    Column("bytes", Integer, nullable=False),
    # Of files without a checksum nobody knows whether they are duplicates.
    Column("without_checksum", Integer, nullable=False),
    # Lists of [name, files, bytes], in the order in which they are shown.
    Column("kinds", JSON, nullable=False),
    Column("sizes", JSON, nullable=False),
    Column("ages", JSON, nullable=False),
    # Lists of [key, size, modified].
    Column("largest", JSON, nullable=False),
    Column("oldest", JSON, nullable=False),
    Column("duplicate_groups", Integer, nullable=False),
    Column("duplicate_files", Integer, nullable=False),
    Column("duplicate_bytes", Integer, nullable=False),
    # The changes of the catalogue that are in these figures: see files_by_day. Null: not known.
    Column("changes", Integer),
)

# The groups of files with the same content that waste most.
duplicates = Table(
    "usage_duplicates",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("backend_id", Integer, nullable=False),
    # SHA-256, or MD5 where that is all that is known.
    Column("checksum", String(64), nullable=False),
    Column("size", Integer, nullable=False),
    Column("copies", Integer, nullable=False),
    Column("wasted", Integer, nullable=False),
    # One of them, to show.
    Column("key", KeyText, nullable=False),
    Index("ix_usage_duplicates_wasted", "wasted", "id"),
    sqlite_autoincrement=True,
)

# What was asked of backends: one row for each class of requests, and for each kind of error.
request_counts = Table(
    "request_counts",
    metadata,
    Column("backend_id", Integer, primary_key=True, autoincrement=False),
    # Days since the epoch, in UTC.
    Column("day", Integer, primary_key=True, autoincrement=False),
    # A class such as "read", or "error:" and a kind.
    Column("what", String(32), primary_key=True),
    Column("requests", Integer, nullable=False),
    Column("bytes", Integer, nullable=False),
    sqlite_with_rowid=False,
)

# Content that several backends hold: most bytes that nothing needs first.
shared_contents = Table(
    "usage_shared_contents",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("sha256", String(64), nullable=False),
    Column("size", Integer, nullable=False),
    # One of the files, to show.
    Column("key", KeyText, nullable=False),
    # Lists of [backend_id, files].
    Column("places", JSON, nullable=False),
    Column("spare_bytes", Integer, nullable=False),
    Index("ix_usage_shared_contents_spare", "spare_bytes", "size", "id"),
    sqlite_autoincrement=True,
)

# One row about all of it.
shared_totals = Table(
    "usage_shared_totals",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("at", Float, nullable=False),
    # Ids of the backends that held copies on purpose then.
    Column("on_purpose", JSON, nullable=False),
    Column("contents", Integer, nullable=False),
    Column("spare_files", Integer, nullable=False),
    Column("spare_bytes", Integer, nullable=False),
    Column("repeated_bytes", Integer, nullable=False),
    Column("without_sha256", Integer, nullable=False),
)
