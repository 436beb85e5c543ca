"""Backends with wrappers, as the services see them: refused, tested, migrated."""

from __future__ import annotations

import base64
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from dashboard.errors import InvalidInput, Kind, StowageError
from dashboard.migration.types import ObjectState, Outcome, Spec, State, Verify
from dashboard.services.backends.backends import Badge
from dashboard.services.backends.values import Draft
from dashboard.services.services import Services
from dashboard.storage.checks.wrappers import new_encryption_key
from dashboard.storage.types import Secret
from tests.servers.seaweedfs import SeaweedFS
from tests.services.composed import add_local, add_s3, await_state, composed, digests, fill, running
from tests.services.console import ADMIN
from tests.services.test_canary import assert_absent


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    """A console with the backends “one” and “two”, and “closed”, which is read-only."""
    with composed(tmp_path / "instance") as services:
        add_local(services, "one", tmp_path / "one")
        add_local(services, "two", tmp_path / "two")
        (tmp_path / "closed").mkdir()
        options = {"root": str(tmp_path / "closed"), "read_only": "true"}
        services.backends.add(ADMIN, Draft("closed", "local", options, {}))
        yield services


def test_nothing_migrates_to_a_read_only_backend(services: Services) -> None:
    with pytest.raises(InvalidInput) as caught:
        services.migrations.create(ADMIN, "one", "closed", Spec())
    assert caught.value.subject == "destination"
    assert "read-only" in caught.value.reason
    assert caught.value.remedy
    with pytest.raises(InvalidInput) as caught:
        services.migrations.create(ADMIN, "closed", "one", Spec(delete_source=True))
    assert caught.value.subject == "source"
    assert "read-only" in caught.value.reason
    assert services.migrations.create(ADMIN, "closed", "one", Spec())


def test_a_read_only_backend_does_not_become_the_active_one(services: Services, tmp_path: Path) -> None:
    with pytest.raises(StowageError) as caught:
        services.activation.activate(ADMIN, "closed")
    assert caught.value.kind is Kind.CONFLICT
    assert "read-only" in caught.value.reason
    services.activation.activate(ADMIN, "one")
    options = {"root": str(tmp_path / "one"), "read_only": "true"}
    with pytest.raises(InvalidInput) as refused:
        services.backends.edit(ADMIN, Draft("one", "local", options, {}, existing="one"))
    assert refused.value.subject == "read_only"


def test_a_read_only_backend_that_can_be_read_is_healthy(services: Services) -> None:
    steps = {step.name: step for step in services.probes.run(ADMIN, "closed")}
    assert steps["write"].state == "skipped"
    assert steps["list"].state == "passed"
    assert services.backends.get("closed").status.badge is Badge.HEALTHY


SIZES = {"a.txt": 0, "b/c.bin": 70_000, "b/d.bin": 131_072, "big.bin": 9_000_000, "é ü.txt": 12}


def migrate(services: Services, source: str, destination: str, spec: Spec) -> int:
    number = services.migrations.create(ADMIN, source, destination, spec, approve=True)
    with running(services):
        progress = await_state(services, number, State.FINISHED, State.FAILED)
    assert (progress.state, progress.outcome) == (State.FINISHED, Outcome.CLEAN), progress.message
    return number


@pytest.mark.parametrize("verify", Verify)
def test_a_migration_to_encryption_and_back_loses_nothing(
    services: Services, tmp_path: Path, seaweedfs: SeaweedFS, verify: Verify
) -> None:
    fill(tmp_path / "one", SIZES)
    bucket = seaweedfs.new_bucket()
    add_s3(services, "bucket", seaweedfs.endpoint, bucket, seaweedfs.admin)
    info = services.backends.get("bucket")
    secret = new_encryption_key()
    draft = Draft(
        "bucket",
        info.preset,
        {**info.options, "encrypt": "true"},
        {"encryption_key": secret},
        existing="bucket",
    )
    services.backends.edit(ADMIN, draft)
    number = migrate(services, "one", "bucket", Spec(verify=verify))
    rows = services.migrations.rows(number)
    assert {row.state for row in rows} == {ObjectState.VERIFIED}
    if verify is not Verify.SIZE:
        assert all(row.source_checksum == row.destination_checksum for row in rows)
    assert digests(services, "bucket") == digests(services, "one")
    stored = {o["Key"]: o["Size"] for o in seaweedfs.client().list_objects_v2(Bucket=bucket)["Contents"]}
    assert all(stored[key] > size + 56 for key, size in SIZES.items())

    again = services.migrations.create(ADMIN, "one", "bucket", Spec(verify=verify), approve=True)
    with running(services):
        await_state(services, again, State.FINISHED)
    assert {row.state for row in services.migrations.rows(again)} == {ObjectState.SKIPPED}

    migrate(services, "bucket", "two", Spec(verify=verify, delete_source=verify is not Verify.SIZE))
    assert digests(services, "two") == digests(services, "one")
    assert len(digests(services, "bucket")) == (len(SIZES) if verify is Verify.SIZE else 0)


def encrypted_draft(root: Path, secret: str, **more: str) -> Draft:
    options = {"root": str(root), "encrypt": "true", **more}
    return Draft("vaulted", "local", options, {"encryption_key": Secret(secret)} if secret else {})


def test_a_stored_key_is_kept_and_never_replaced(services: Services, tmp_path: Path) -> None:
    key = new_encryption_key().reveal()
    (tmp_path / "place").mkdir()
    services.backends.add(ADMIN, encrypted_draft(tmp_path / "place", key))
    services.backends.driver("vaulted").put("a", b"hello")
    for typed in ("", key):
        draft = encrypted_draft(tmp_path / "place", typed)
        services.backends.edit(ADMIN, Draft("vaulted", "local", draft.options, draft.secrets, "vaulted"))
    other = encrypted_draft(tmp_path / "place", new_encryption_key().reveal())
    with pytest.raises(InvalidInput) as caught:
        services.backends.edit(ADMIN, Draft("vaulted", "local", other.options, other.secrets, "vaulted"))
    assert caught.value.subject == "encryption_key"
    with services.backends.driver("vaulted").read("a") as reading:
        assert reading.read_all() == b"hello"


def test_an_encryption_key_is_not_asked_for_again_when_the_server_changes(
    services: Services, seaweedfs: SeaweedFS
) -> None:
    add_s3(services, "bucket", seaweedfs.endpoint, seaweedfs.new_bucket(), seaweedfs.admin)
    info = services.backends.get("bucket")
    options = {**info.options, "encrypt": "true"}
    services.backends.edit(
        ADMIN, Draft("bucket", info.preset, options, {"encryption_key": new_encryption_key()}, "bucket")
    )
    options["endpoint"] = "http://127.0.0.1:9"
    with pytest.raises(InvalidInput) as caught:
        services.backends.edit(ADMIN, Draft("bucket", info.preset, options, {}, "bucket"))
    assert caught.value.subject == "secret_access_key"
    again = {"secret_access_key": Secret("x" * 20)}
    services.backends.edit(ADMIN, Draft("bucket", info.preset, options, again, "bucket"))


def test_the_encryption_key_is_found_nowhere(
    services: Services, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    key = new_encryption_key().reveal()
    (tmp_path / "place").mkdir()
    draft = encrypted_draft(tmp_path / "place", key)
    shown = [repr(draft), repr(services.backends.add(ADMIN, draft))]
    shown += [repr(step) for step in services.probes.run(ADMIN, "vaulted")]
    driver = services.backends.driver("vaulted")
    shown += [repr(driver), repr(vars(driver)), repr(driver.put("a", b"hello"))]
    with pytest.raises(StowageError) as caught:
        services.backends.add(
            ADMIN, Draft("other", "local", draft.options, {"encryption_key": Secret(key + "x")})
        )
    shown += [repr(caught.value), str(caught.value.as_dict())]
    shown += [repr(row) for row in services.audit.rows(limit=100)]
    raw = base64.b64decode(key).decode("latin-1")
    for path in (*(tmp_path / "instance").rglob("*"), *(tmp_path / "place").rglob("*")):
        if path.is_file():
            assert_absent(key, path.name, path.read_bytes())
            assert raw.encode("latin-1") not in path.read_bytes()
    assert_absent(key, "the log", caplog.text.encode())
    assert_absent(key, "what was shown", "\n".join(shown).encode())


@pytest.mark.parametrize(
    ("before", "after", "field"),
    [
        ({"encrypt": "true"}, {"encrypt": "false"}, "encrypt"),
        ({"compress": "log txt"}, {"compress": "log"}, "compress"),
        ({"compress": "*"}, {"compress": ""}, "compress"),
        ({"compress": "*"}, {"compress": "txt"}, "compress"),
        ({"compress": "log"}, {"compress": "txt log"}, ""),
        ({"compress": "log"}, {"compress": "*"}, ""),
        ({}, {"compress": "txt"}, ""),
        ({"read_only": "true"}, {}, ""),
    ],
)
def test_what_is_stored_stays_readable_through_edits(
    services: Services, tmp_path: Path, before: dict[str, str], after: dict[str, str], field: str
) -> None:
    (tmp_path / "place").mkdir()
    options = {"root": str(tmp_path / "place")}
    secrets = {"encryption_key": new_encryption_key()}
    services.backends.add(ADMIN, Draft("kept", "local", options | before, secrets))
    draft = Draft("kept", "local", options | after, {}, existing="kept")
    if not field:
        services.backends.edit(ADMIN, draft)
        return
    with pytest.raises(InvalidInput) as caught:
        services.backends.edit(ADMIN, draft)
    assert caught.value.subject == field
    assert "add it again" in caught.value.remedy


def test_a_migration_to_compression_and_back_loses_nothing(services: Services, tmp_path: Path) -> None:
    sizes = SIZES | {"notes/a.log": 20_000, "b.log": 0}
    fill(tmp_path / "one", sizes)
    (tmp_path / "one" / "c.log").write_bytes(b"again and again\n" * 700_000)
    (tmp_path / "small").mkdir()
    options = {"root": str(tmp_path / "small"), "compress": "log txt"}
    services.backends.add(ADMIN, Draft("small", "local", options, {}))
    migrate(services, "one", "small", Spec())
    assert (tmp_path / "small" / "c.log").stat().st_size < 100_000
    assert digests(services, "small") == digests(services, "one")
    migrate(services, "small", "two", Spec(delete_source=True))
    assert digests(services, "two") == digests(services, "one")


def test_pages_read_through_the_cache_and_migrations_do_not(services: Services, tmp_path: Path) -> None:
    (tmp_path / "place").mkdir()
    options = {"root": str(tmp_path / "place"), "cache": "true", "cache_seconds": "3600"}
    services.backends.add(ADMIN, Draft("near", "local", options, {}))
    caches = tmp_path / "instance" / "cache"

    def read(label: str = "") -> bytes:
        with services.backends.driver("near", label=label).read("a") as reading:
            return reading.read_all()

    services.backends.driver("near").put("a", b"old")
    assert read("migration-7") == b"old"
    assert not caches.exists()
    assert read() == b"old"
    (tmp_path / "place" / "a").write_bytes(b"newer")
    assert (read(), read("migration-7")) == (b"old", b"newer")
    services.backends.driver("near", label="migration-7").put("a", b"moved here")
    assert read() == b"moved here"
    assert [path.name for path in caches.iterdir()] == [f"{services.backends.get('near').id}-1"]
    services.backends.edit(ADMIN, Draft("near", "local", options | {"cache_size": "5"}, {}, "near"))
    assert list(caches.iterdir()) == []
    assert read() == b"moved here"
    services.backends.remove(ADMIN, "near")
    assert list(caches.iterdir()) == []


def test_no_backend_holds_the_cache(services: Services, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        services.backends.add(
            ADMIN, Draft("inside", "local", {"root": str(tmp_path / "instance" / "cache")}, {})
        )
    assert caught.value.subject == "root"
