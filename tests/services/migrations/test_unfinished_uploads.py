"""Unfinished uploads of migrations that nobody could abort then."""

from __future__ import annotations

import pytest

from dashboard.migration.ledger import Planned
from dashboard.migration.types import Action, Spec, State
from dashboard.models.migrations import Migration
from dashboard.services.backends.backends import Draft
from dashboard.services.migrations.migrations import Migrations
from dashboard.services.migrations.sql_ledger import SqlLedger
from dashboard.services.migrations.unfinished_uploads import UnfinishedUploads
from dashboard.storage.types import Secret
from tests.servers.seaweedfs import SeaweedFS
from tests.services.console import ADMIN, ServiceConsole

MIB = 1024 * 1024


def test_only_old_uploads_to_keys_of_migrations_are_aborted(
    console: ServiceConsole, seaweedfs: SeaweedFS, monkeypatch: pytest.MonkeyPatch
) -> None:
    services, bucket, s3 = console.services, seaweedfs.new_bucket(), seaweedfs.client()
    options = {
        "endpoint": seaweedfs.endpoint,
        "bucket": bucket,
        "access_key_id": seaweedfs.admin.access_key,
        "prefix": "p/",
    }
    secrets = {"secret_access_key": Secret(seaweedfs.admin.secret_key)}
    services.backends.add(ADMIN, Draft("bucket", "s3", options, secrets))
    backend = services.backends.get("bucket").id
    number = Migrations(console.database, services.audit).create(ADMIN, "local-disk", "bucket", Spec())
    ledger = SqlLedger(console.database.work, number)
    ledger.begin()
    rows = [("ours", 20 * MIB, Action.COPY), ("small", 10, Action.COPY), ("theirs", 20 * MIB, Action.SKIP)]
    ledger.record([Planned(key, size, action) for key, size, action in rows])
    for key in ("p/ours", "p/small", "p/theirs", "p/unknown", "ours"):
        s3.create_multipart_upload(Bucket=bucket, Key=key)
    sweeper = UnfinishedUploads(console.database, services.backends, services.keys)

    def put(state: State, started_at: float) -> None:
        with console.database.write() as session:
            row = session.get_one(Migration, number)
            row.state, row.started_at = state.value, started_at

    put(State.FINISHED, 1.0)
    assert sweeper.sweep(backend) == 0
    monkeypatch.setattr("dashboard.services.migrations.unfinished_uploads.LEFTOVER_SECONDS", -60.0)
    put(State.RUNNING, 1.0)
    assert sweeper.sweep(backend) == 0
    put(State.FINISHED, 9e9)
    assert sweeper.sweep(backend) == 0
    put(State.FINISHED, 1.0)
    assert sweeper.sweep(backend) == 1
    left = s3.list_multipart_uploads(Bucket=bucket)["Uploads"]
    assert {each["Key"] for each in left} == {"p/small", "p/theirs", "p/unknown", "ours"}
    assert sweeper.sweep(services.backends.get("local-disk").id) == 0
    assert sweeper.sweep(10**6) == 0
