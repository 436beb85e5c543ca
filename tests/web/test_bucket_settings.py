"""The panel that finds what is wrong with a bucket's settings and mends it."""

from __future__ import annotations

import re

import pytest

from tests.servers.gcs.server import GoogleStorage
from tests.servers.moto import MotoS3
from tests.web.conftest import Browser, WebConsole

SITE = "https://www.example.com"


@pytest.fixture(params=["s3", "gcs"])
def place(request: pytest.FixtureRequest) -> dict[str, str]:
    """What is typed in to add an empty bucket of a provider."""
    if request.param == "gcs":
        google: GoogleStorage = request.getfixturevalue("google")
        return {
            "preset": "gcs",
            "option.endpoint": google.endpoint,
            "option.bucket": google.new_bucket(),
            "secret.credential": google.writer,
        }
    moto_s3: MotoS3 = request.getfixturevalue("moto_s3")
    return {
        "preset": "s3",
        "option.endpoint": moto_s3.endpoint,
        "option.path_style": "true",
        "option.bucket": moto_s3.new_bucket(),
        "option.access_key_id": moto_s3.admin.access_key,
        "secret.secret_access_key": moto_s3.admin.secret_key,
    }


def test_the_page_finds_and_mends(admin: Browser, console: WebConsole, place: dict[str, str]) -> None:
    name = f"looked-at-{place['preset']}"
    assert admin.post("/backends/new", name=name, **place).status_code == 303
    assert console.services.bucket_settings.is_supported(name)
    page = admin.get(f"/backend/{name}").text
    assert "Bucket settings" in page
    assert "Bucket settings" not in admin.get("/backend/local-disk").text
    panel = admin.htmx(f"/backend/{name}/settings", origin=SITE).text
    assert f"no CORS rule for {SITE}" in panel
    assert len(re.findall("Fix it", panel)) == 2
    after = admin.htmx(f"/backend/{name}/settings/fix", origin=SITE, finding="cors").text
    assert f"Browsers may upload from {SITE}" in after
    assert len(re.findall("Fix it", after)) == 1
    plain = admin.post(f"/backend/{name}/settings/fix", origin=SITE, finding="unfinished-uploads")
    assert plain.status_code == 200
    assert "Unfinished uploads are removed automatically." in plain.text
    assert "Fix it" not in plain.text
    wrong = admin.htmx(f"/backend/{name}/settings", origin="nonsense")
    assert wrong.status_code == 200
    assert "For example: https://www.example.com" in wrong.text
    assert "Check" in admin.get(f"/backend/{name}/settings").text
