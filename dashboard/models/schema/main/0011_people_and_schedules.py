"""What people choose for their pages; schedules of recurring jobs and of copies between backends."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from dashboard.models import audit_search

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    _add_preferences()
    _create_schedules()
    _create_copy_runs()
    _create_probe_objects()
    _create_notification_channels()
    _index_audit()
    _keep_time_of_rotation()


def _create_schedules() -> None:
    op.create_table(
        "job_timings",
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("timing", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("kind", name=op.f("pk_job_timings")),
    )
    op.create_table(
        "copy_schedules",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("source", sa.String(length=63), nullable=False),
        sa.Column("source_id", sa.Integer(), nullable=True),
        sa.Column("destination", sa.String(length=63), nullable=False),
        sa.Column("destination_id", sa.Integer(), nullable=True),
        sa.Column("spec", sa.JSON(), nullable=False),
        sa.Column("keep_days", sa.Integer(), nullable=False),
        sa.Column("timing", sa.String(length=32), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("next_run", sa.Double(), nullable=False),
        sa.Column("created_by", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        *(
            sa.ForeignKeyConstraint(
                [column],
                ["backends.id"],
                name=op.f(f"fk_copy_schedules_{column}_backends"),
                ondelete="SET NULL",
            )
            for column in ("source_id", "destination_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_copy_schedules")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_copy_schedules_next_run"), "copy_schedules", ["next_run"], unique=False)


def _create_copy_runs() -> None:
    op.create_table(
        "copy_runs",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("schedule_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("due_at", sa.Double(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("migration_id", sa.Integer(), nullable=True),
        sa.Column("destination_id", sa.Integer(), nullable=True),
        sa.Column("kept_in", sa.String(length=64), nullable=False),
        sa.Column("keep_until", sa.Double(), nullable=True),
        sa.Column("swept_at", sa.Double(), nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("message", sa.String(), nullable=False),
        sa.Column("remedy", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["migration_id"],
            ["migrations.id"],
            name=op.f("fk_copy_runs_migration_id_migrations"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["destination_id"],
            ["backends.id"],
            name=op.f("fk_copy_runs_destination_id_backends"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_copy_runs")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_copy_runs_schedule", "copy_runs", ["schedule_id", "id"], unique=False)


def _create_probe_objects() -> None:
    op.create_table(
        "probe_objects",
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("backend_id", sa.Integer(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["backend_id"],
            ["backends.id"],
            name=op.f("fk_probe_objects_backend_id_backends"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_probe_objects")),
    )
    op.create_index(op.f("ix_probe_objects_backend_id"), "probe_objects", ["backend_id"], unique=False)


def _add_preferences() -> None:
    for name, length in (("language", 16), ("time_zone", 64), ("theme", 8)):
        column = sa.Column(name, sa.String(length=length), server_default=sa.text("''"), nullable=False)
        op.add_column("users", column)


def _create_notification_channels() -> None:
    op.create_table(
        "notification_channels",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("options", sa.JSON(), nullable=False),
        sa.Column("events", sa.JSON(), nullable=False),
        sa.Column("every", sa.Integer(), nullable=False),
        sa.Column("reminders", sa.Boolean(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("muted_until", sa.Double(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_by", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notification_channels")),
        sa.UniqueConstraint("name", name=op.f("uq_notification_channels_name")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "notification_secrets",
        sa.Column("channel_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("sealed", sa.String(), nullable=False),
        sa.Column("sent_to", sa.String(), nullable=False),
        sa.Column("hint", sa.String(length=8), nullable=False),
        sa.ForeignKeyConstraint(
            ["channel_id"],
            ["notification_channels.id"],
            name=op.f("fk_notification_secrets_channel_id_notification_channels"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("channel_id", "name", name=op.f("pk_notification_secrets")),
    )


def _index_audit() -> None:
    connection = op.get_bind()
    if not audit_search.create(connection):
        return
    # What is there already is indexed later, in small transactions.
    connection.exec_driver_sql(
        "INSERT INTO settings(key, value) SELECT ?, CAST(id + 1 AS TEXT) FROM audit ORDER BY id DESC LIMIT 1",
        (audit_search.BEGIN,),
    )


def _keep_time_of_rotation() -> None:
    op.get_bind().exec_driver_sql(
        "INSERT INTO settings(key, value) SELECT 'key_rotated_at', CAST(at AS TEXT) FROM audit "
        "WHERE action = 'keys.rotate' ORDER BY at DESC LIMIT 1"
    )
