"""The panel that finds what is wrong with a bucket's settings and mends it."""

from __future__ import annotations

import re

from tests.servers.moto import MotoS3
from tests.web.conftest import Browser, Console

SITE = "https://www.example.com"


def test_the_page_finds_and_mends(admin: Browser, console: Console, moto_s3: MotoS3) -> None:
    options = {
        "option.endpoint": moto_s3.endpoint,
        "option.path_style": "true",
        "option.bucket": moto_s3.new_bucket(),
        "option.access_key_id": moto_s3.admin.access_key,
        "secret.secret_access_key": moto_s3.admin.secret_key,
    }
    assert admin.post("/backends/new", preset="s3", name="looked-at", **options).status_code == 303
    assert console.services.place_settings.offered("looked-at")
    page = admin.get("/backend/looked-at").text
    assert "Settings of the bucket" in page
    assert "Settings of the bucket" not in admin.get("/backend/local-disk").text
    panel = admin.htmx("/backend/looked-at/settings", origin=SITE).text
    assert f"no CORS rule for {SITE}" in panel
    assert len(re.findall("Fix it", panel)) == 2
    after = admin.htmx("/backend/looked-at/settings/fix", origin=SITE, finding="cors").text
    assert f"Browsers may upload from {SITE}" in after
    assert len(re.findall("Fix it", after)) == 1
    plain = admin.post("/backend/looked-at/settings/fix", origin=SITE, finding="unfinished-uploads")
    assert plain.status_code == 200
    assert "Unfinished uploads are tidied away." in plain.text
    assert "Fix it" not in plain.text
    wrong = admin.htmx("/backend/looked-at/settings", origin="nonsense")
    assert wrong.status_code == 200
    assert "For example: https://www.example.com" in wrong.text
    assert "Check" in admin.get("/backend/looked-at/settings").text
