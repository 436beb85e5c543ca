"""tus 1.0 and forms over HTTP: what each request gets, who may send it, and what hostile headers get."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from werkzeug.test import TestResponse

from dashboard.web.api.tus import CHUNK_TYPE, EXTENSIONS
from tests.web.conftest import Browser, WebConsole, open_console, set_up

ROOT = "/api/v1/uploads"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebConsole]:
    """A console with people, for all tests here."""
    console = open_console(tmp_path_factory.mktemp("uploads"))
    set_up(console)
    yield console
    console.services.close()


@pytest.fixture(scope="module")
def otto(site: WebConsole) -> Browser:
    """An operator's browser."""
    browser = site.browser()
    browser.sign_in("otto")
    return browser


def tus(browser: Browser, method: str, path: str = ROOT, data: bytes = b"", **headers: str) -> TestResponse:
    sent = {"Tus-Resumable": "1.0.0", "X-CSRFToken": browser.token}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    if data:
        sent.setdefault("Content-Type", CHUNK_TYPE)
    return browser.client.open(path, method=method, headers=sent, data=data)


def text(value: str) -> str:
    return base64.b64encode(value.encode()).decode()


def begin(browser: Browser, size: int = 10, name: str = "a.txt") -> str:
    response = tus(browser, "POST", Upload_Length=str(size), Upload_Metadata=f"filename {text(name)}")
    assert response.status_code == 201
    return response.headers["Location"]


def test_the_protocol_from_creation_to_the_last_byte(otto: Browser) -> None:
    location = begin(otto)
    assert location.startswith(f"{ROOT}/"), "relative, so that TLS in front of a proxy stays"
    head = tus(otto, "HEAD", location)
    assert (head.status_code, head.headers["Upload-Offset"], head.headers["Upload-Length"]) == (
        200,
        "0",
        "10",
    )
    assert head.headers["Cache-Control"] == "no-store"
    assert "GMT" in head.headers["Upload-Expires"]
    first = tus(otto, "PATCH", location, b"01234", Upload_Offset="0")
    assert (first.status_code, first.headers["Upload-Offset"], first.data) == (204, "5", b"")
    assert tus(otto, "PATCH", location, b"01234", Upload_Offset="0").status_code == 409
    seen = otto.get(location).get_json()
    assert {name: seen[name] for name in ("state", "percent", "received", "size", "file", "error")} == {
        **{"state": "receiving", "percent": 40, "received": 5, "size": 10, "file": None, "error": None}
    }
    last = tus(otto, "PATCH", location, b"56789", Upload_Offset="5")
    assert last.headers["Upload-Offset"] == "10"
    assert otto.get(location).get_json()["state"] == "checking"
    assert otto.get(ROOT).get_json()["uploads"][0]["id"] == seen["id"]


def test_what_the_server_can_do(otto: Browser) -> None:
    response = otto.client.options(ROOT)
    assert response.status_code == 204
    assert response.headers["Tus-Extension"] == EXTENSIONS
    assert response.headers["Tus-Checksum-Algorithm"] == "sha1,sha256"
    assert int(response.headers["Tus-Max-Size"]) > 0


def test_creation_with_the_first_bytes(otto: Browser) -> None:
    response = tus(otto, "POST", data=b"01234", Upload_Length="10")
    assert (response.status_code, response.headers["Upload-Offset"]) == (201, "5")


def test_a_megabyte_in_one_request(otto: Browser) -> None:
    """The limit of forms is smaller."""
    size = 1024 * 1024
    location = begin(otto, size)
    assert tus(otto, "PATCH", location, bytes(size), Upload_Offset="0").status_code == 204


def test_checksums(otto: Browser) -> None:
    location = begin(otto)
    right = f"sha1 {base64.b64encode(hashlib.sha1(b'01234').digest()).decode()}"
    wrong = tus(otto, "PATCH", location, b"01x34", Upload_Offset="0", Upload_Checksum=right)
    assert wrong.status_code == 460
    assert tus(otto, "HEAD", location).headers["Upload-Offset"] == "0"
    assert tus(otto, "PATCH", location, b"01234", Upload_Offset="0", Upload_Checksum=right).status_code == 204
    for bad in ("md4 AAAA", "sha256 %%%", "sha1", ""):
        response = tus(otto, "PATCH", location, b"5", Upload_Offset="5", Upload_Checksum=bad)
        assert response.status_code == 400, bad


def test_termination(otto: Browser) -> None:
    location = begin(otto)
    assert tus(otto, "DELETE", location).status_code == 204
    assert tus(otto, "HEAD", location).status_code == 404
    overridden = begin(otto)
    response = tus(otto, "POST", overridden, X_HTTP_Method_Override="DELETE")
    assert (response.status_code, tus(otto, "HEAD", overridden).status_code) == (204, 404)
    assert tus(otto, "POST", begin(otto), X_HTTP_Method_Override="GET").status_code == 405


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Tus_Resumable": "0.2.2", "Upload_Length": "1"}, 412),
        ({}, 400),
        ({"Upload_Length": "-1"}, 400),
        ({"Upload_Length": "1e3"}, 400),
        ({"Upload_Length": "٣"}, 400),
        ({"Upload_Length": "9" * 400}, 400),
        ({"Upload_Length": "9" * 18}, 413),
        ({"Upload_Length": "1", "Upload_Metadata": "filename %%"}, 400),
        ({"Upload_Length": "1", "Upload_Metadata": "x" * 9000}, 400),
        ({"Upload_Length": "1", "Upload_Metadata": f"backend {text('nowhere')}"}, 404),
        ({"Upload_Length": "1", "Upload_Metadata": f"folder {text('../up')}"}, 400),
    ],
)
def test_creations_that_are_refused(otto: Browser, headers: dict[str, str], status: int) -> None:
    encoded = {name: value.encode().decode("latin-1") for name, value in headers.items()}
    response = tus(otto, "POST", **encoded)
    assert response.status_code == status
    assert response.get_json()["error"]["reason"].endswith(".")
    assert response.headers["Tus-Resumable"] == "1.0.0"


def test_appends_that_are_refused(otto: Browser) -> None:
    location = begin(otto)
    assert tus(otto, "PATCH", location, b"x", Content_Type="text/plain", Upload_Offset="0").status_code == 415
    assert tus(otto, "PATCH", location, b"x").status_code == 400
    assert tus(otto, "PATCH", location, b"x" * 11, Upload_Offset="0").status_code == 413
    assert tus(otto, "PATCH", f"{ROOT}/{'0' * 32}", b"x", Upload_Offset="0").status_code == 404
    assert tus(otto, "PATCH", f"{ROOT}/..%2f..%2fx", b"x", Upload_Offset="0").status_code == 404
    assert tus(otto, "HEAD", location).headers["Upload-Offset"] == "0"


def test_who_may_upload(site: WebConsole, otto: Browser) -> None:
    location = begin(otto)
    stranger = site.browser()
    assert tus(stranger, "POST", Upload_Length="1").status_code in (400, 401)
    assert stranger.client.open(location, method="HEAD").status_code == 401
    viewer = site.browser()
    viewer.sign_in("vera")
    assert tus(viewer, "POST", Upload_Length="1").status_code == 403
    maria = site.browser()
    maria.sign_in("maria")
    assert tus(maria, "PATCH", location, b"01234", Upload_Offset="0").status_code == 409
    without = Browser(otto.client)
    for method in ("POST", "PATCH", "DELETE"):
        assert tus(without, method, location, Upload_Offset="0").status_code == 400, "no CSRF token"


def test_forms(otto: Browser, site: WebConsole, tmp_path: Path) -> None:
    response = otto.client.post(
        ROOT,
        data={"file": (io.BytesIO(b"hello"), "../hello.txt"), "folder": "notes"},
        headers={"X-CSRFToken": otto.token},
    )
    assert response.status_code == 201
    sent = response.get_json()
    assert (sent["name"], sent["folder"], sent["state"]) == ("hello.txt", "notes", "checking")
    path = site.services.settings.instance / "uploads" / sent["id"]
    assert path.read_bytes() == b"hello"
    empty = otto.client.post(
        ROOT, data={"folder": "x"}, content_type="multipart/form-data", headers={"X-CSRFToken": otto.token}
    )
    assert empty.status_code == 400
    assert (
        otto.client.post(f"{location_of(sent)}/retry", headers={"X-CSRFToken": otto.token}).status_code == 409
    )


def test_a_photo_as_a_form(otto: Browser) -> None:
    """Larger than every other form may be."""
    body = b'--x\r\nContent-Disposition: form-data; name="file"; filename="photo.dat"\r\n\r\n'
    body += bytes(3 << 20) + b"\r\n--x--\r\n"
    sent = otto.client.post(
        ROOT,
        data=body,
        content_type="multipart/form-data; boundary=x",
        headers={"X-CSRFToken": otto.token},
    )
    assert (sent.status_code, sent.get_json()["received"]) == (201, 3 << 20)


def location_of(upload: dict[str, str]) -> str:
    return f"{ROOT}/{upload['id']}"
