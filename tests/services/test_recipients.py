"""A stored secret is sent to whom it was entered for, whoever changes what in the database."""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
from collections.abc import Mapping
from pathlib import Path

import pytest
from sqlalchemy import delete, select, update

from dashboard.errors import InvalidInput, Kind, StowageError
from dashboard.models.backends import Backend, BackendSecret
from dashboard.models.console import Setting
from dashboard.models.every_table import METADATA
from dashboard.services import sealed_rows
from dashboard.services.backends.backends import Draft
from dashboard.services.sealed_rows import BOUND
from dashboard.storage.recipients import recipient
from dashboard.storage.types import Secret
from dashboard.vault import tokens
from dashboard.vault.keyring import KeyFile
from dashboard.vault.keys import to_recovery
from dashboard.vault.tokens import Binding
from tests.services.console import ADMIN, ServiceConsole, started
from tests.services.test_upgrade import left_by


@pytest.fixture
def console(fresh: ServiceConsole) -> ServiceConsole:
    """One that nobody has set up: its only backends are those a test adds."""
    return fresh


AZURE_KEY = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo="
DRAFTS: Mapping[str, tuple[dict[str, str], dict[str, str]]] = {
    "minio": (
        {"endpoint": "http://127.0.0.1:9", "bucket": "files", "access_key_id": "me"},
        {"secret_access_key": "s3cr3t-access-key-of-minio"},
    ),
    "b2": (
        {"region": "us-west-004", "bucket": "files", "access_key_id": "me"},
        {"secret_access_key": "s3cr3t-access-key-of-b2-it-is"},
    ),
    "azure": ({"account": "stowagetest", "container": "files"}, {"credential": AZURE_KEY}),
    "vercel_blob": ({"store": "store_AbCdEf"}, {"token": "vercel_blob_rw_AbCdEf_0123456789abcdef"}),
    "webdav": (
        {"endpoint": "http://127.0.0.1:9/dav", "username": "ada"},
        {"password": "Sommer in Rom im Jahr 2026!"},
    ),
    "sftp": ({"host": "127.0.0.1", "port": "9", "user": "ada"}, {"password": "Sommer in Rom 2026!"}),
    "ftp": ({"host": "127.0.0.1", "port": "9", "user": "ada"}, {"password": "Sommer in Rom 2026!"}),
}
CHANGES = [
    ("minio", "endpoint", "http://evil.example"),
    ("minio", "tls_verify", "false"),
    ("minio", "ca_certificate", "-----BEGIN CERTIFICATE-----"),
    ("b2", "endpoint", "https://s3.evil.example"),
    ("azure", "account", "evil"),
    ("azure", "endpoint", "https://evil.example"),
    ("vercel_blob", "store", "evil"),
    ("vercel_blob", "endpoint", "https://evil.example"),
    ("webdav", "endpoint", "http://evil.example/dav"),
    ("sftp", "host", "evil.example"),
    ("sftp", "port", "10"),
    ("sftp", "host_key", "ssh-ed25519 AAAA"),
    ("ftp", "host", "evil.example"),
    ("ftp", "tls", "none"),
]


def add(console: ServiceConsole, preset: str, **more: str) -> None:
    options, secrets = DRAFTS[preset]
    sealed = {name: Secret(value) for name, value in secrets.items()}
    console.services.backends.add(ADMIN, Draft(preset.replace("_", "-"), preset, {**options, **more}, sealed))


def edit_in_database(console: ServiceConsole, **options: str) -> None:
    with console.database.write() as session:
        row = session.scalars(select(Backend)).one()
        row.options = {**row.options, **options}
        row.version += 1


def edit(console: ServiceConsole, name: str, changed: Mapping[str, str], **secrets: str) -> None:
    stored = console.services.backends.get(name)
    draft = Draft(
        name,
        stored.preset,
        {**stored.options, **changed},
        {each: Secret(value) for each, value in secrets.items()},
        existing=name,
    )
    console.services.backends.edit(ADMIN, draft)


def refusal(console: ServiceConsole, name: str) -> StowageError:
    with pytest.raises(StowageError) as caught:
        console.services.backends.driver(name)
    return caught.value


def to_version_before(console: ServiceConsole) -> None:
    """Seal the secrets as versions did that knew no recipients, and forget that it was ever otherwise."""
    ring = KeyFile(console.settings.key_file).read()
    assert ring
    with console.database.write() as session:
        for row in session.scalars(select(BackendSecret)):
            here = Binding("backend_secrets", "sealed", f"{row.backend_id}/{row.name}", row.sent_to)
            before = Binding("backend_secrets", "sealed", f"{row.backend_id}/{row.name}")
            row.sealed = tokens.seal(ring.current, tokens.unseal(ring.current, row.sealed, here), before)
            row.sent_to = ""
        session.execute(delete(Setting).where(Setting.key == BOUND))


def sealed(console: ServiceConsole) -> list[str]:
    with console.database.read() as session:
        return list(session.scalars(select(BackendSecret.sealed)))


@pytest.mark.parametrize(("preset", "option", "value"), CHANGES)
def test_an_address_changed_in_the_database_gets_no_secret(
    console: ServiceConsole, preset: str, option: str, value: str
) -> None:
    add(console, preset)
    name = preset.replace("_", "-")
    before = console.services.backends.get(name).options[option]
    console.services.backends.driver(name)
    edit_in_database(console, **{option: value})
    error = refusal(console, name)
    assert error.kind is Kind.DAMAGED
    assert "outside Stowage" in error.reason
    assert not error.retryable
    with console.database.write() as session:
        row = session.scalars(select(BackendSecret)).first()
        assert row
        row.sent_to = json.dumps(
            recipient(console.services.backends.get(name).driver, {option: value}, row.name), sort_keys=True
        )
    assert refusal(console, name).kind is Kind.DAMAGED, "the seal protects the note of the recipient"
    with console.database.write() as session:
        session.execute(update(BackendSecret).values(sent_to=""))
    assert refusal(console, name).kind is Kind.DAMAGED, "and cannot be taken off"
    assert before != value


def test_a_changed_address_is_put_right_in_the_form(console: ServiceConsole) -> None:
    add(console, "minio")
    edit_in_database(console, endpoint="http://evil.example")
    with pytest.raises(InvalidInput, match="must be entered again") as caught:
        edit(console, "minio", {})
    assert caught.value.subject == "secret_access_key"
    edit(console, "minio", {"endpoint": "http://127.0.0.1:9"})
    console.services.backends.driver("minio")
    edit_in_database(console, endpoint="http://other.example")
    edit(console, "minio", {}, secret_access_key="entered-for-the-other-one")
    console.services.backends.driver("minio")


def test_a_driver_of_another_kind_gets_no_secret(console: ServiceConsole) -> None:
    add(console, "ftp")
    with console.database.write() as session:
        session.execute(update(Backend).values(driver="sftp", version=2))
    assert refusal(console, "ftp").kind is Kind.DAMAGED


def test_a_backend_whose_secret_is_gone_says_so(console: ServiceConsole) -> None:
    add(console, "minio")
    with console.database.write() as session:
        session.execute(delete(BackendSecret))
    assert "enter its secrets again" in refusal(console, "minio").remedy


def test_a_cdns_key_is_for_that_cdn_only(console: ServiceConsole) -> None:
    cloudfront = {"cdn_domain": "cdn.example.com", "cdn_purge": "cloudfront", "cdn_zone": "E12345"}
    cloudfront["cdn_key_id"] = "AKIAEXAMPLE"
    add(console, "minio")
    edit(console, "minio", cloudfront, cdn_secret="the-key-of-cloudfront")
    for changed in ({"cdn_purge": "cloudflare"}, {"cdn_purge": "cloudflare", "cdn_domain": "b.example.com"}):
        with pytest.raises(InvalidInput, match="must be entered again") as caught:
            edit(console, "minio", changed)
        assert caught.value.subject == "cdn_secret"
    edit(console, "minio", {"cdn_purge": "none"})
    console.services.backends.driver("minio")
    with pytest.raises(InvalidInput, match="must be entered again"):
        edit(console, "minio", {"cdn_purge": "cloudflare"})
    edit(console, "minio", {"cdn_purge": "cloudfront"})
    console.services.backends.driver("minio")
    edit_in_database(console, cdn_purge="cloudflare")
    assert refusal(console, "minio").kind is Kind.DAMAGED
    edit(console, "minio", {"cdn_purge": "cloudflare"}, cdn_secret="the-token-of-cloudflare")
    console.services.backends.driver("minio")


def test_a_wrappers_keys_stay_where_they_are_when_the_backend_moves(console: ServiceConsole) -> None:
    add(console, "minio")
    key = AZURE_KEY[:-1].ljust(43, "A") + "="
    edit(console, "minio", {"encrypt": "true", "cache": "true"}, encryption_key=key,
         cache_redis="redis://:word@127.0.0.1:9/0")  # fmt: skip
    edit(console, "minio", {"endpoint": "http://127.0.0.1:10"}, secret_access_key="entered-once-more")
    console.services.backends.driver("minio")


def test_secrets_of_an_earlier_version_are_bound_at_the_next_start(
    console: ServiceConsole, instance: Path
) -> None:
    add(console, "minio")
    to_version_before(console)
    [old] = sealed(console)
    assert old.startswith("v1.")
    with started(instance) as again:
        assert sealed(again)[0].startswith("v2.")
        again.services.backends.driver("minio")
        # What an earlier version sealed is not opened any more: its recipient was anybody.
        with again.database.write() as session:
            session.execute(update(BackendSecret).values(sealed=old, sent_to=""))
            session.execute(update(Backend).values(version=2))
        assert refusal(again, "minio").kind is Kind.DAMAGED


def test_secrets_of_a_sealed_console_are_bound_when_the_key_is_back(
    console: ServiceConsole, instance: Path
) -> None:
    add(console, "minio")
    to_version_before(console)
    aside = instance / "elsewhere"
    console.settings.key_file.rename(aside)
    with started(instance) as again:
        assert again.services.keys.state().sealed
        assert sealed(again)[0].startswith("v1.")
        aside.rename(again.settings.key_file)
        again.services.backends.driver("minio")
        assert sealed(again)[0].startswith("v2.")


def test_a_recovery_key_opens_and_binds_an_old_backup(console: ServiceConsole, instance: Path) -> None:
    add(console, "minio")
    to_version_before(console)
    ring = KeyFile(console.settings.key_file).read()
    assert ring
    console.settings.key_file.unlink()
    with started(instance) as again:
        assert not again.services.keys.restore(ADMIN, to_recovery(ring.current)).sealed
        assert sealed(again)[0].startswith("v2.")
        again.services.backends.driver("minio")


def test_a_rotation_keeps_every_recipient(console: ServiceConsole) -> None:
    add(console, "minio")
    add(console, "webdav")
    to_version_before(console)
    console.services.keys.rotate(ADMIN)
    for name in ("minio", "webdav"):
        console.services.backends.driver(name)
    with console.database.write() as session:
        row = session.scalars(select(Backend).where(Backend.name == "minio")).one()
        row.options = {**row.options, "endpoint": "http://evil.example"}
        row.version += 1
    console.services.keys.rotate(ADMIN)
    assert refusal(console, "minio").kind is Kind.DAMAGED, "a rotation binds nothing to a new address"


@pytest.mark.parametrize("preset", list(DRAFTS))
def test_the_end_of_a_key_is_shown_and_that_of_a_password_never(console: ServiceConsole, preset: str) -> None:
    add(console, preset)
    shown = console.services.backends.get(preset.replace("_", "-")).secrets
    assert shown.get("password", "") == ""
    for name, value in DRAFTS[preset][1].items():
        assert name == "password" or shown[name] == value[-4:]


def tables(connection: sqlite3.Connection) -> dict[str, set[str]]:
    """The columns of every table."""
    query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    names = [name for (name,) in connection.execute(query)]
    return {name: {row[1] for row in connection.execute(f"PRAGMA table_info({name})")} for name in names}


def test_endings_of_passwords_that_were_kept_once_are_forgotten(
    console: ServiceConsole, instance: Path
) -> None:
    add(console, "webdav")
    add(console, "minio")
    console.database.close()
    with contextlib.closing(sqlite3.connect(console.settings.database)) as connection, connection:
        connection.execute("UPDATE backend_secrets SET hint = '026!'")
        connection.execute("ALTER TABLE backend_secrets DROP COLUMN sent_to")
        # As step 4 left it.
        (instance.parent / "old").mkdir()
        left_by(instance.parent / "old", main="0004")
        with contextlib.closing(sqlite3.connect(instance.parent / "old" / "stowage.db")) as old:
            kept = tables(old) | {"alembic_version": {"version_num"}}
        for (trigger,) in connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        ).fetchall():
            connection.execute(f"DROP TRIGGER {trigger}")
        for table, columns in tables(connection).items():
            if table not in kept:
                # An index brings tables of its own, and takes them along.
                connection.execute(f"DROP TABLE IF EXISTS {table}")
                continue
            for later in columns - kept[table]:
                connection.execute(f"ALTER TABLE {table} DROP COLUMN {later}")
        connection.execute("UPDATE alembic_version SET version_num = '0004'")
    with started(instance) as again, again.database.read() as session:
        hints = session.execute(select(BackendSecret.name, BackendSecret.hint))
        assert sorted(tuple(row) for row in hints) == [("password", ""), ("secret_access_key", "026!")]


def test_keys_in_use_are_looked_for_in_every_table_with_sealed_values() -> None:
    tables = [table for each in METADATA.values() for table in each.tables.values()]
    sealed = {table.name for table in tables if "sealed" in table.c}
    assert set(re.findall(r"FROM (\w+)", str(sealed_rows._SEALED))) == sealed
