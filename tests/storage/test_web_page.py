"""An address that leads to somebody else's web server: the connection test says that, and blames no key."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from dashboard.storage.driver import CreatesBuckets, Driver
from dashboard.storage.errors import StorageError
from dashboard.storage.registry import build, check_options
from dashboard.storage.types import Secret
from tests.servers.gcs.server import GoogleStorage
from tests.storage.probing import failed_step, run

PAGE = b"<html><body>Welcome!</body></html>"


class _Page(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    status = 200

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test's output readable."""

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(self.status)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE)

    do_GET = do_PUT = do_PROPFIND = do_MKCOL = _answer

    def do_POST(self) -> None:
        """The token that Google's own server gives, wherever the endpoint leads."""
        token = json.dumps({"access_token": "token", "expires_in": 3599, "token_type": "Bearer"}).encode()
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(200)
        self.send_header("Content-Length", str(len(token)))
        self.end_headers()
        self.wfile.write(token)


@pytest.fixture(scope="module")
def page() -> Iterator[str]:
    """The address of a web server that has one page."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Page)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def driver_at(kind: str, page: str, google: GoogleStorage) -> Driver:
    """Somebody's storage, looked for there."""
    google_key = json.dumps(json.loads(google.writer) | {"token_uri": f"{page}/token"})
    options, secrets = {
        "s3": (
            {"endpoint": page, "bucket": "bucket", "access_key_id": "KEY"},
            {"secret_access_key": "secret-not-for-use"},
        ),
        "azure": (
            {"endpoint": f"{page}/account", "account": "account", "container": "container"},
            {"credential": base64.b64encode(bytes(64)).decode()},
        ),
        "vercel_blob": (
            {"endpoint": f"{page}/api/blob", "store": "Store"},
            {"token": "vercel_blob_rw_Store_secretnotforuse"},
        ),
        "gcs": ({"endpoint": page, "bucket": "bucket"}, {"credential": google_key}),
        "webdav": ({"endpoint": page, "username": "ada"}, {"password": "secret-not-for-use"}),
    }[kind]
    sealed = {name: Secret(value) for name, value in secrets.items()}
    return build(kind, check_options(kind, options, sealed), sealed)


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("s3", "something that is not S3"),
        ("azure", "something that is not Azure Blob Storage"),
        ("vercel_blob", "something that is not Vercel Blob"),
        ("gcs", "something that is not Google Cloud Storage"),
    ],
)
@pytest.mark.parametrize("status", [200, 401, 403, 404, 405])
def test_a_web_page_is_not_taken_for_storage(
    page: str, google: GoogleStorage, kind: str, says: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if (kind, status) == ("gcs", 401):
        says = "Google does not accept the sign-in"
    monkeypatch.setattr(_Page, "status", status)
    driver = driver_at(kind, page, google)
    result = run(driver)
    driver.close()
    step = failed_step(result, "authenticate")
    assert says in step.message
    assert step.remedy.startswith("Check that the ")
    assert not result.can_create_bucket


@pytest.mark.parametrize(
    ("status", "says"),
    [(200, "not WebDAV"), (405, "does not speak WebDAV"), (501, "a request that is part of WebDAV")],
)
def test_a_web_page_is_not_taken_for_a_network_drive(
    page: str, google: GoogleStorage, status: int, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_Page, "status", status)
    driver = driver_at("webdav", page, google)
    step = failed_step(run(driver), "authenticate")
    driver.close()
    assert says in step.message
    assert step.remedy.startswith("Check ")


def test_a_folder_is_not_made_where_nothing_takes_one(
    page: str, google: GoogleStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_Page, "status", 404)
    driver = driver_at("webdav", page, google)
    assert isinstance(driver, CreatesBuckets)
    with pytest.raises(StorageError, match="does not speak WebDAV") as caught:
        driver.create_bucket()
    driver.close()
    assert "path of the address" in caught.value.remedy
