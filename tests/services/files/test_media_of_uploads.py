"""What policies do to the content of uploads: decoded in the sandbox, scanned by a real clamd."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from dashboard.app import open_services
from dashboard.errors import Kind
from dashboard.media.policy import DEFAULT, Scan
from dashboard.media.recipes import RECIPES
from dashboard.media.scan import EICAR
from dashboard.services.files.receiving.upload_rows import UploadState
from dashboard.services.services import Services
from dashboard.settings import Settings
from tests.servers.clamd import clamd_server
from tests.services.composed import running
from tests.services.console import ADMIN, OPERATOR, PASSWORD
from tests.services.files.conftest import send
from tests.services.files.test_processing import process, quarantined, stored, until_done


def picture(width: int = 600, height: int = 400) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), (200, 30, 30)).save(file, "JPEG")
    return file.getvalue()


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """A console with one sandbox for all tests here."""
    services = open_services(Settings.from_env({}, instance=tmp_path_factory.mktemp("media") / "instance"))
    services.setup.complete(services.setup.issue_code(), ADMIN.name, PASSWORD)
    yield services
    services.close()


def test_an_image_gets_its_facts_and_its_thumbnails(console: Services) -> None:
    data = picture()
    with running(console):
        upload_id = send(console, data, "red.jpg")
        until_done(console, upload_id)
    done = console.uploads.get(OPERATOR, upload_id)
    assert done.file_id is not None
    file = console.catalogue.get(done.file_id)
    assert (file.width, file.height, file.content_type) == (600, 400, "image/jpeg")
    sha256 = hashlib.sha256(data).hexdigest()
    small = console.derivatives.find(sha256, RECIPES["small"])
    assert small is not None
    with Image.open(small.path) as thumbnail:
        assert thumbnail.size == (150, 100)


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        ("cut.jpg", picture()[:800], Kind.REFUSED),
        ("script.png", b'<svg xmlns="http://www.w3.org/2000/svg"><script>1</script></svg>', Kind.WRONG_TYPE),
    ],
)
def test_what_is_no_whole_image_is_refused(console: Services, name: str, data: bytes, kind: Kind) -> None:
    refused = process(console, send(console, data, name))
    assert refused.error is not None
    assert (refused.state, refused.error.kind) == (UploadState.REFUSED, kind)
    assert name not in stored(console)


def test_required_scans_fail_closed(services: Services) -> None:
    services.upload_policies.save(ADMIN, "default", replace(DEFAULT, scan=Scan.REQUIRED))
    failed = process(services, send(services, b"hello"))
    assert failed.error is not None
    assert (failed.state, failed.error.kind) == (UploadState.FAILED, Kind.UNREACHABLE)
    assert stored(services) == {}


def test_the_eicar_file_is_refused_end_to_end(tmp_path: Path) -> None:
    folder = tmp_path / "clamd"
    folder.mkdir()
    with clamd_server(folder) as address:
        services = open_services(Settings.from_env({}, instance=tmp_path / "instance", clamav=address))
        try:
            services.setup.complete(services.setup.issue_code(), ADMIN.name, PASSWORD)
            services.upload_policies.save(ADMIN, "default", replace(DEFAULT, scan=Scan.REQUIRED))
            refused = process(services, send(services, EICAR, "harmless.txt"))
            assert refused.error is not None
            assert (refused.state, refused.error.kind) == (UploadState.REFUSED, Kind.REFUSED)
            assert "Eicar" in refused.error.reason
            assert stored(services) == {}
            assert quarantined(services) == []
            done = process(services, send(services, b"hello"))
            assert done.file_id is not None
            assert services.catalogue.get(done.file_id).details["scanned"] is True
        finally:
            services.close()
