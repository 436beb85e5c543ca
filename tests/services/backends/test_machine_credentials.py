"""Credentials of this machine: an admin of the console gains them only where whoever runs it says so."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import select

from dashboard.app import open_services
from dashboard.errors import InvalidInput
from dashboard.models.backends import Backend
from dashboard.services.backends.values import Draft
from dashboard.services.services import Services
from dashboard.settings import Settings, SettingsError
from dashboard.storage.types import Secret
from tests.services.console import ADMIN, ServiceConsole

S3 = {"region": "eu-central-1", "bucket": "media", "sign_in": "machine"}


def allowing(instance: Path, names: str) -> Services:
    return open_services(Settings.from_env({"STOWAGE_MACHINE_CREDENTIALS": names}, instance=instance))


DRAFTS = [
    Draft("keyless", "aws", S3, {}),
    Draft("role", "aws", {**S3, "sign_in": "role", "role_arn": "arn:aws:iam::1:role/media"}, {}),
    Draft("google", "gcs", {"bucket": "media", "sign_in": "ambient"}, {}),
]


def test_they_are_kept_from_the_console_until_the_setting_allows_them(
    console: ServiceConsole, instance: Path
) -> None:
    backends = console.services.backends
    calls = [
        call
        for draft in DRAFTS
        for call in (partial(backends.add, ADMIN, draft), partial(backends.draft_driver, draft))
    ]
    for call in calls:
        with pytest.raises(InvalidInput, match="may not be shown") as refused:
            call()
        assert refused.value.subject == "sign_in"
        assert "STOWAGE_MACHINE_CREDENTIALS=" in refused.value.remedy
    services = allowing(instance, "aws, google")
    for draft in DRAFTS:
        services.backends.add(ADMIN, draft)
        services.backends.driver(draft.name)
    # Whoever can write to the database leads them nowhere else.
    with services.database.write() as session:
        for row in session.scalars(select(Backend).where(Backend.preset == "aws")):
            row.options = {**row.options, "endpoint": "https://s3.example.com"}
            row.version += 1
    for name in ("keyless", "role"):
        with pytest.raises(InvalidInput, match=r"may not be shown to s3\.example\.com"):
            services.backends.driver(name)
    services.close()
    # Without the setting the backends are there and cannot be used.
    for draft in DRAFTS:
        with pytest.raises(InvalidInput):
            backends.driver(draft.name)


def test_a_backend_changes_over_to_them_and_its_key_is_not_asked_for_again(instance: Path) -> None:
    services = allowing(instance, "aws")
    keyed = {"region": "eu-central-1", "bucket": "media", "access_key_id": "AK"}
    saved = services.backends.add(
        ADMIN, Draft("media", "aws", keyed, {"secret_access_key": Secret("s" * 20)})
    )
    changed = Draft("media", "aws", S3, {}, existing="media", version=saved.version)
    services.backends.edit(ADMIN, changed)
    services.backends.driver("media")
    services.close()


def test_the_setting_names_clouds_and_servers(tmp_path: Path) -> None:
    def read(text: str) -> tuple[str, ...]:
        return Settings.from_env({"STOWAGE_MACHINE_CREDENTIALS": text}, instance=tmp_path).machine_credentials

    assert read("") == ()
    assert read("AWS, minio.example.com:9000 10.0.0.5") == ("aws", "minio.example.com:9000", "10.0.0.5")
    for wrong in ("https://s3.example.com", "*", "a/b"):
        with pytest.raises(SettingsError, match="STOWAGE_MACHINE_CREDENTIALS"):
            read(wrong)
