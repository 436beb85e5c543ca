"""Direct uploads over HTTP: the requests that a client sends, and what the document says of the answers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import urllib3
from flask import Response

from dashboard.media.policy import DEFAULT
from dashboard.services.files.receiving import bucket_parts
from dashboard.web.headers import OWN_HEADERS, allow_connections
from tests.servers.seaweedfs import SeaweedFS
from tests.services.composed import add_s3
from tests.services.console import ADMIN
from tests.web.api.conftest import ApiProgram, NewProgram
from tests.web.conftest import Browser, WebConsole

ROOT = "/api/v1/uploads"
PART = 5 * 1024 * 1024
FILE = bytes(PART) + b"the end"


@pytest.fixture(scope="module")
def cloud(console: WebConsole, seaweedfs: SeaweedFS) -> str:
    """A bucket that takes direct uploads."""
    add_s3(console.services, "cloud", seaweedfs.endpoint, seaweedfs.new_bucket(), seaweedfs.admin)
    console.services.upload_policies.save(ADMIN, "large", replace(DEFAULT, direct=True))
    return "cloud"


@pytest.fixture
def program(new_program: NewProgram, monkeypatch: pytest.MonkeyPatch) -> ApiProgram:
    monkeypatch.setattr(bucket_parts, "PART_BYTES", PART)
    return new_program("write_files")


def put(part: dict[str, Any], data: bytes) -> str:
    with urllib3.PoolManager(retries=False) as http:
        sent = http.request(part["method"], part["url"], body=data, headers=part["headers"])
    assert sent.status == 200
    return sent.headers["ETag"]


def test_a_file_goes_to_the_bucket_in_parts(program: ApiProgram, console: WebConsole, cloud: str) -> None:
    new = {"name": "film.dat", "size": len(FILE), "backend": cloud, "folder": "films", "policy": "large"}
    begun = program.post(f"{ROOT}/direct", new)
    assert begun.status_code == 201, begun.text
    address, parts = begun.json["upload_url"], begun.json["parts"]
    assert begun.headers["Location"] == address
    assert (begun.json["part_size"], begun.json["part_count"]) == (PART, 2)
    assert [(part["number"], part["size"], part["headers"]) for part in parts] == [(1, PART, {}), (2, 7, {})]
    etag = put(parts[0], FILE[:PART])
    again = program.post(f"{address}/parts", {"numbers": [2]})
    assert again.json["parts"][0]["size"] == 7
    early = program.post(f"{address}/finish", {"parts": [{"number": 1, "etag": etag}]})
    assert (early.status_code, early.json["error"]["subject"]) == (409, "2")
    put(again.json["parts"][0], FILE[PART:])
    assert [part["number"] for part in program.get(f"{address}/parts").json["parts"]] == [1, 2]
    assert program.get(address).json["percent"] == 80
    finished = program.post(f"{address}/finish")
    assert (finished.status_code, finished.json["state"]) == (202, "checking")
    console.services.uploads.process(finished.json["id"])
    assert program.get(address).json["file"]["key"] == "films/film.dat"
    assert program.post(f"{address}/finish").json["state"] == "done"
    assert program.post(f"{address}/parts", {"numbers": [1]}).status_code == 409


def test_what_is_refused(program: ApiProgram, cloud: str) -> None:
    for changes, status in (
        ({"policy": ""}, 422),
        ({"backend": "local-disk"}, 422),
        ({"backend": "nowhere"}, 404),
        ({"policy": "nothing"}, 404),
        ({"size": 0}, 400),
        ({"size": 10**15}, 413),
        ({"name": "page.html"}, 415),
        ({"folder": "../up"}, 400),
        ({"method": "tus"}, 400),
    ):
        new = {"name": "a.dat", "size": 10, "backend": cloud, "policy": "large", **changes}
        refused = program.post(f"{ROOT}/direct", new)
        assert (refused.status_code, refused.json["error"]["reason"][-1]) == (status, "."), refused.text
    begun = program.post(f"{ROOT}/direct", {"name": "a.dat", "size": 10, "backend": cloud, "policy": "large"})
    address = begun.json["upload_url"]
    assert program.post(f"{address}/parts", {"numbers": [2]}).status_code == 400
    tus = program.send("DELETE", address, headers={"Tus-Resumable": "1.0.0"})
    assert tus.status_code == 204
    assert program.get(address).json["error"]["reason"] == "This upload was cancelled."
    assert program.get(f"{ROOT}/{'0' * 32}/parts").status_code == 404


def test_who_may(new_program: NewProgram, cloud: str) -> None:
    new = {"name": "a.dat", "size": 10, "backend": cloud, "policy": "large"}
    assert new_program("read_files").post(f"{ROOT}/direct", new).status_code == 403
    begun = new_program("write_files").post(f"{ROOT}/direct", new)
    other = new_program("write_files", username="otto")
    for method, path in (("GET", "parts"), ("POST", "parts"), ("POST", "finish")):
        body = {"numbers": [1]} if (method, path) == ("POST", "parts") else None
        response = other.send(method, f"{begun.json['upload_url']}/{path}", body)
        assert response.status_code == 404


def test_the_files_page_may_connect_to_its_bucket_only(
    console: WebConsole, admin: Browser, seaweedfs: SeaweedFS, cloud: str
) -> None:
    def allowed(backend: str) -> str:
        page = admin.get(f"/browse/{backend}")
        assert page.status_code == 200
        policy = page.headers["Content-Security-Policy"]
        assert ("data-direct-backend" in page.text) is (seaweedfs.endpoint in policy)
        return policy.partition("connect-src ")[2].partition(";")[0]

    assert allowed(cloud) == "'self'", "the default policy sends nothing directly"
    console.services.upload_policies.save(ADMIN, "default", replace(DEFAULT, direct=True))
    try:
        assert allowed(cloud) == f"'self' {seaweedfs.endpoint}"
        assert allowed("local-disk") == "'self'"
    finally:
        console.services.upload_policies.remove(ADMIN, "default")


@pytest.mark.parametrize(
    "origin", ["", "https://a.example; script-src *", "http://[::1]:8333", "https://a.example/path", "data:"]
)
def test_only_an_origin_joins_the_policy(origin: str) -> None:
    response = Response()
    allow_connections(response, origin)
    assert not hasattr(response, OWN_HEADERS)
