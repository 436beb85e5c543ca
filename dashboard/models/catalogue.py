"""Tables of ``work.db`` about stored files: the catalogue, uploads that are under way, and what was deleted
and can be restored.

They are in the same database as the ledgers, so that a migration moves a file's row in the transaction that
records the copy. ``backend_id`` refers to a row of the main database without a foreign key, because it is
another file. All times are seconds since the epoch, all sizes bytes.
"""

from __future__ import annotations

from sqlalchemy import JSON, Boolean, Column, Float, Index, Integer, String, Table, UniqueConstraint, text

from dashboard.models.work import KeyText, metadata

files = Table(
    "files",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("backend_id", Integer, nullable=False),
    Column("key", KeyText, nullable=False),
    Column("size", Integer, nullable=False),
    Column("modified", Float),
    Column("etag", String, nullable=False, server_default=text("''")),
    # SHA-256 and MD5 of the content in hexadecimal digits, empty if unknown.
    Column("sha256", String(64), nullable=False, server_default=text("''")),
    Column("md5", String(32), nullable=False, server_default=text("''")),
    Column("content_type", String, nullable=False, server_default=text("''")),
    # See services/files/file_kinds.py.
    Column("kind", String(16), nullable=False, server_default=text("'other'")),
    # Pixels; seconds; pages of a document. Null if unknown or meaningless.
    Column("width", Integer),
    Column("height", Integer),
    Column("duration", Float),
    Column("pages", Integer),
    Column("taken_at", Float),
    # The username of the person, or the name of the token, that uploaded it.
    Column("owner", String(64), nullable=False, server_default=text("''")),
    Column("state", String(16), nullable=False, server_default=text("'stored'")),
    Column("details", JSON(none_as_null=True)),
    # The generation of the backend's count (see below) in which the row was written.
    Column("seen", Integer, nullable=False, server_default=text("0")),
    # Of an object that this migration has copied and is going to delete, and of its copy.
    Column("migration_id", Integer),
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
    UniqueConstraint("backend_id", "key", name="uq_files_key"),
    Index("ix_files_sha256", "sha256", sqlite_where=text("sha256 != ''")),
    Index("ix_files_md5", "md5", sqlite_where=text("md5 != ''")),
    # With all that a search by name reads, so that it examines an index only.
    Index("ix_files_size", "size", "backend_id", "key"),
    Index("ix_files_modified", "modified", "backend_id", "key"),
    sqlite_autoincrement=True,
)

# The latest count of each backend. Its generation fences: a count may write only while it is the latest, and
# rows that others write during it carry its generation, so that its older listing does not replace them.
counts = Table(
    "file_counts",
    metadata,
    Column("backend_id", Integer, primary_key=True, autoincrement=False),
    Column("generation", Integer, nullable=False, server_default=text("0")),
    Column("running", Boolean, nullable=False, server_default=text("0")),
    # Rows of earlier generations are about a place that the backend no longer is; 0: there are none.
    Column("valid_from", Integer, nullable=False, server_default=text("0")),
    # When a count was last complete.
    Column("completed_at", Float),
)

# Keys whose rows were removed during a count, so that its older listing does not bring them back; with
# ``until``, counts that begin before then do not either.
removals = Table(
    "file_removals",
    metadata,
    Column("backend_id", Integer, primary_key=True, autoincrement=False),
    Column("key", KeyText, primary_key=True),
    Column("until", Float, nullable=False, server_default=text("0")),
    sqlite_with_rowid=False,
)

# Deletions of old files, as confirmed by a person: the number of files that matched then. Only rows up to
# ``last_id`` that were not changed since count, so the deletion never grows.
cleanups = Table(
    "file_cleanups",
    metadata,
    Column("id", Integer, primary_key=True),
    # Null: all backends.
    Column("backend_id", Integer),
    Column("backend", String(63), nullable=False, server_default=text("''")),
    # Files modified before then.
    Column("before", Float, nullable=False),
    Column("planned_at", Float, nullable=False),
    Column("last_id", Integer, nullable=False),
    Column("files", Integer, nullable=False),
    Column("bytes", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    # The row that was looked at last.
    Column("after_id", Integer, nullable=False, server_default=text("0")),
    Column("deleted", Integer, nullable=False, server_default=text("0")),
    Column("deleted_bytes", Integer, nullable=False, server_default=text("0")),
    Column("kept", Integer, nullable=False, server_default=text("0")),
    Column("missing", Integer, nullable=False, server_default=text("0")),
    Column("failed", Integer, nullable=False, server_default=text("0")),
    # A JSON list of the first files that were kept or failed, each with its reason.
    Column("notes", JSON, nullable=False),
    Column("message", String, nullable=False, server_default=text("''")),
    Column("requested_by", String(64), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("finished_at", Float),
    sqlite_autoincrement=True,
)

uploads = Table(
    "uploads",
    metadata,
    # 128 random bits: an id that cannot be guessed.
    Column("id", String(32), primary_key=True),
    Column("owner", String(64), nullable=False),
    Column("policy", String(63), nullable=False),
    Column("backend_id", Integer, nullable=False),
    Column("folder", KeyText, nullable=False, server_default=text("''")),
    Column("name", KeyText, nullable=False),
    Column("content_type", String, nullable=False, server_default=text("''")),
    # Null while the client has not announced it.
    Column("size", Integer),
    Column("received", Integer, nullable=False, server_default=text("0")),
    Column("state", String(16), nullable=False),
    Column("percent", Integer, nullable=False, server_default=text("0")),
    # Where it will be or is stored.
    Column("key", KeyText, nullable=False, server_default=text("''")),
    Column("sha256", String(64), nullable=False, server_default=text("''")),
    Column("file_id", Integer),
    # Why it was refused or has failed: the kind of error, a sentence, what to do.
    Column("kind", String(24), nullable=False, server_default=text("''")),
    Column("reason", String, nullable=False, server_default=text("''")),
    Column("remedy", String, nullable=False, server_default=text("''")),
    # How often storing it was tried, and when to try again.
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("not_before", Float, nullable=False, server_default=text("0")),
    # 1 once the client sends checksums: what is beyond ``received`` has not been compared with one.
    Column("checksums", Integer, nullable=False, server_default=text("0")),
    # "tus", "form", "library" or "direct".
    Column("method", String(16), nullable=False),
    Column("details", JSON),
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False),
    Index("ix_uploads_state", "state", "expires_at"),
    Index("ix_uploads_owner", "owner", "created_at"),
)

deletions = Table(
    "file_deletions",
    metadata,
    # 128 random bits.
    Column("id", String(32), primary_key=True),
    Column("backend_id", Integer, nullable=False),
    Column("deleted_by", String(64), nullable=False),
    # A JSON list of what restores each object: its key and its version or the key where it is kept.
    Column("objects", JSON, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False, index=True),
)

folder_changes = Table(
    "folder_changes",
    metadata,
    # 128 random bits.
    Column("id", String(32), primary_key=True),
    Column("backend_id", Integer, nullable=False),
    # "move", "copy" or "delete".
    Column("action", String(16), nullable=False),
    # Both end in a slash; the target of a deletion is empty.
    Column("prefix", KeyText, nullable=False),
    Column("target", KeyText, nullable=False, server_default=text("''")),
    # "refuse", "replace" or "keep_both".
    Column("on_taken", String(16), nullable=False),
    # "waiting", "running", "cancelling", "cancelled", "failed" or "done".
    Column("state", String(16), nullable=False, index=True),
    Column("done", Integer, nullable=False, server_default=text("0")),
    Column("failed", Integer, nullable=False, server_default=text("0")),
    # The first files that were not changed: a JSON list of keys and reasons.
    Column("problems", JSON, nullable=False),
    # The ids of what was deleted, to undo it.
    Column("undo_ids", JSON, nullable=False),
    Column("message", String, nullable=False, server_default=text("''")),
    Column("created_by", String(64), nullable=False),
    Column("role", String(16), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
)

fallback_reads = Table(
    "fallback_reads",
    metadata,
    Column("backend_id", Integer, primary_key=True),
    Column("served_by_id", Integer, primary_key=True),
    # Days since the epoch, in UTC.
    Column("day", Integer, primary_key=True),
    Column("reads", Integer, nullable=False),
    Column("last_at", Float, nullable=False),
)
