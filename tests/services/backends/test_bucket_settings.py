"""Settings of a bucket, looked at and mended through the console's services and the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from dashboard.errors import InvalidInput, Kind, StowageError
from dashboard.services.backends.backends import Draft
from dashboard.services.backends.bucket_settings import parse_origin
from dashboard.services.permissions import Actor, Role
from dashboard.storage.types import Secret
from tests.cli.conftest import command_line
from tests.servers.moto import MotoS3
from tests.services.console import ADMIN, ServiceConsole

SITE = "https://www.example.com"


def draft(moto_s3: MotoS3) -> Draft:
    options = {
        "endpoint": moto_s3.endpoint,
        "bucket": moto_s3.new_bucket(),
        "access_key_id": moto_s3.admin.access_key,
    }
    return Draft("bucket", "s3", options, {"secret_access_key": Secret(moto_s3.admin.secret_key)})


def test_findings_are_mended_by_whoever_may_and_audited(console: ServiceConsole, moto_s3: MotoS3) -> None:
    services = console.services
    services.backends.add(ADMIN, draft(moto_s3))
    settings = services.bucket_settings
    assert settings.is_supported("bucket")
    assert not settings.is_supported("local-disk")
    assert [f.name for f in settings.findings(ADMIN, "bucket", SITE) if f.fixable] == [
        "cors",
        "unfinished-uploads",
    ]
    operator = Actor("olga", Role.OPERATOR, "web")
    assert settings.findings(operator, "bucket", SITE)
    with pytest.raises(StowageError) as caught:
        settings.fix(operator, "bucket", "cors", SITE)
    assert caught.value.kind is Kind.FORBIDDEN
    settings.fix(ADMIN, "bucket", "cors", SITE)
    row = services.audit.rows(action="backend.fix")[0]
    assert (row.subject, row.detail["finding"], row.detail["origin"]) == ("bucket", "cors", SITE)
    assert [f.name for f in settings.findings(ADMIN, "bucket", SITE) if f.fixable] == ["unfinished-uploads"]
    with pytest.raises(StowageError) as caught:
        settings.findings(ADMIN, "local-disk", SITE)
    assert caught.value.kind is Kind.UNSUPPORTED


@pytest.mark.parametrize(
    "typed", ["", "*", "www.example.com", "https://a/b", "javascript:alert(1)", "https://a b", "https://ü.de"]
)
def test_what_is_no_site_is_refused(typed: str) -> None:
    with pytest.raises(InvalidInput):
        parse_origin(typed)


@pytest.mark.parametrize(
    ("typed", "origin"),
    [(" https://WWW.example.com/ ", SITE), ("http://[::1]:8080", "http://[::1]:8080")],
)
def test_a_site_is_written_as_browsers_write_it(typed: str, origin: str) -> None:
    assert parse_origin(typed) == origin


def test_the_command_finds_and_mends(console: ServiceConsole, instance: Path, moto_s3: MotoS3) -> None:
    console.services.backends.add(ADMIN, draft(moto_s3))
    cli = command_line(instance)
    found = cli("backend", "check", "bucket", "--origin", SITE, "--json")
    assert found.code == 1
    assert {f["name"] for f in found.document["findings"] if f["fixable"]} == {"cors", "unfinished-uploads"}
    mended = cli("backend", "check", "bucket", "--origin", SITE, "--fix=cors", "--fix=unfinished-uploads")
    assert mended.code == 0, mended.err
    assert "Browsers may upload" in mended.err
    assert cli("backend", "check", "bucket", "--origin", "nonsense").code == 2
