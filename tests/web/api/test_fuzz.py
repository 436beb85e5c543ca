"""Requests made from the OpenAPI document: no 500, and no status or body that it does not name."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import urllib3
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import SearchStrategy

from dashboard.migration.types import Spec
from dashboard.services.backends.values import Draft
from dashboard.services.permissions import TOKEN_SCOPES, Actor, Role
from dashboard.services.services import Services
from dashboard.web.api.cursors import encode
from dashboard.web.context import API_DOCUMENT
from tests.servers.console import ConsoleProcess
from tests.services.composed import composed
from tests.web.api.checked import ApiResponse, DocumentCheck
from tests.web.api.fuzzing import FuzzRequest, RequestMaker
from tests.web.conftest import ADMIN, PASSWORD, open_console, set_up

WHO = Actor(ADMIN, Role.ADMIN, "web")
Send = Callable[[FuzzRequest], ApiResponse]
Json = Mapping[str, Any]

QUICK, LONG = 2, 100
"""Requests for each operation."""


def known_values(folder: Path) -> dict[str, list[str]]:
    """What a request may name so that it reaches further than “not found”."""
    return {
        "name": ["local-disk", "one", "two", "s3", "local"],
        "names": ["one", "two"],
        "source": ["local-disk", "one"],
        "destination": ["one", "two"],
        "backend": ["local-disk", "one", "none"],
        "preset": ["local", "s3", "sftp"],
        "id": ["1", "2"],
        "username": ["vera", "otto"],
        "password": [PASSWORD],
        "option": ["root", "read_only", "endpoint", "bucket"],
        "value": [str(folder / "new"), "true", "http://127.0.0.1:9"],
        "path": ["a.txt", "b/c.txt"],
        "prefix": ["", "b/"],
        "folder": ["", "b/"],
        "key": ["a.txt", "b/c.txt", "b/"],
        "cursor": ["", *(encode(kind, 5) for kind in ("backends", "migrations", "jobs", "audit", "objects"))],
        "origin": ["https://www.example.com"],
        "If-Match": ["*", '"1"'],
        "Tus-Resumable": ["1.0.0"],
        "Upload-Length": ["5"],
        "Upload-Offset": ["0"],
        "Range": ["bytes=0-1"],
    }


def working_bodies(folder: Path) -> dict[str, list[Any]]:
    """Bodies that work, or nearly, by operation."""
    local = {"preset": "local", "options": {"root": str(folder / "new")}}
    cloud = {"endpoint": "http://127.0.0.1:9", "region": "us-east-1", "bucket": "b", "access_key_id": "A"}
    s3 = {"preset": "s3", "options": cloud, "secrets": {"secret_access_key": "x" * 20}}
    return {
        "backend_changes_add": [{"name": "new", **local}, {"name": "cloud", **s3}],
        "backend_changes_edit": [{"options": {"read_only": "false"}}, {"name": "two"}, {}],
        "backend_changes_set_fallback_order": [{"names": ["one", "local-disk"]}, {"names": []}],
        "tests_test_draft": [{"name": "new", **local}, {"name": "one", "existing": "one", **local}],
        "tests_findings": [{"origin": "https://www.example.com"}],
        "migration_control_create": [
            {"source": "one", "destination": "two"},
            {"source": "local-disk", "destination": "one", "include": ["**/*.txt"], "approve": True},
        ],
        "file_changes_copy": [
            {"files": [{"key": "a.txt", "to": "copy.txt"}]},
            {"files": [{"key": "a.txt", "to": "a.txt"}, {"key": "none", "to": "b/"}]},
        ],
        "file_changes_move": [{"files": [{"key": "copy.txt", "to": "b/moved.txt"}]}],
        "file_changes_remove": [{"files": [{"key": "copy.txt"}]}, {"files": [], "confirmed": 1}],
        "file_changes_edit": [
            {"key": "a.txt", "headers": {"content-type": "text/plain"}},
            {"key": "a.txt", "metadata": {"a": "b"}, "tags": {"c": "d"}, "tier": "x"},
        ],
        "file_changes_new_folder": [{"folder": "b/"}, {"folder": "b/c/"}],
        "file_changes_restore": [{"key": "a.txt", "version_id": "1"}],
        "links_create": [{"backend": "one", "key": "a.txt"}, {"backend": "one", "key": "none", "uses": 1}],
        "zip_downloads_select": [
            {"backend": "one", "files": ["a.txt"]},
            {"backend": "one", "folders": ["b/"]},
        ],
        "users_add": [{"username": "nils", "password": PASSWORD, "role": "viewer"}],
        "users_change": [{"role": "viewer"}, {"disabled": False}, {"password": PASSWORD}],
    }


def prepare(services: Services, folder: Path) -> str:
    """Two more backends, a file, a migration; a token with every scope."""
    for name in ("one", "two"):
        (folder / name).mkdir()
        services.backends.add(WHO, Draft(name, "local", {"root": str(folder / name)}, {}))
    (folder / "one" / "a.txt").write_text("hello")
    services.migrations.create(WHO, "one", "two", Spec())
    return services.tokens.create(WHO, "fuzz", sorted(TOKEN_SCOPES), seconds=None).secret.reveal()


def attack(document: Json, folder: Path, send: Send, *, requests: int) -> dict[int, int]:
    """Send requests to every operation and check the responses; return how often each status came."""
    maker = RequestMaker(document, known_values(folder), working_bodies(folder))
    check = DocumentCheck(document)
    statuses: dict[int, int] = {}
    for template, methods in document["paths"].items():
        for method, operation in methods.items():
            wanted = maker.requests(method, template, operation)
            for request in seeded(wanted, requests):
                response = send(request)
                statuses[response.status] = statuses.get(response.status, 0) + 1
                where = f"{request.method} {request.path} {request.headers} {request.body[:200]!r}"
                assert response.status != 500, where
                if not another_path(response):
                    check.check_operation(operation, where, response)
    return statuses


def another_path(response: ApiResponse) -> bool:
    """Whether the request came to no operation, because what was filled in holds slashes or nothing."""
    if response.status == 405:
        return True
    return response.status == 404 and b"There is nothing at this address." in response.body


def seeded(strategy: SearchStrategy[FuzzRequest], number: int) -> list[FuzzRequest]:
    """The same requests in every run."""
    found: list[FuzzRequest] = []

    @settings(
        max_examples=number,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(request: FuzzRequest) -> None:
        found.append(request)

    collect()
    return found


@pytest.fixture
def in_process(tmp_path: Path) -> Iterator[tuple[Json, Send]]:
    console = open_console(tmp_path, api_requests_per_minute=1_000_000)
    set_up(console)
    token = prepare(console.services, tmp_path)
    client = console.app.test_client(use_cookies=False)

    def send(request: FuzzRequest) -> ApiResponse:
        headers = {**request.headers, "Authorization": f"Bearer {token}"}
        response = client.open(request.path, method=request.method, headers=headers, data=request.body)
        found = ApiResponse(response.status_code, response.mimetype, response.get_data())
        response.close()
        return found

    yield console.app.extensions[API_DOCUMENT](), send
    console.services.close()


def test_no_request_that_the_document_allows_or_nearly_allows_fails(
    in_process: tuple[Json, Send], tmp_path: Path
) -> None:
    statuses = attack(in_process[0], tmp_path, in_process[1], requests=QUICK)
    assert {200, 400, 404, 409} <= statuses.keys(), statuses


@pytest.mark.torture
@pytest.mark.timeout(900)
def test_a_running_console_survives_a_long_attack(tmp_path: Path) -> None:
    with composed(tmp_path / "instance") as services:
        services.setup.complete(services.setup.issue_code(), ADMIN, PASSWORD)
        services.accounts.add(WHO, "vera", PASSWORD, Role.VIEWER)
        services.accounts.add(WHO, "otto", PASSWORD, Role.OPERATOR)
        token = prepare(services, tmp_path)
    environ = {"STOWAGE_API_REQUESTS_PER_MINUTE": "1000000", "STOWAGE_LOG_LEVEL": "error"}
    with ConsoleProcess(tmp_path / "instance", environ=environ) as console:
        pool = urllib3.PoolManager()

        def send(request: FuzzRequest) -> ApiResponse:
            headers = {**request.headers, "Authorization": f"Bearer {token}"}
            response = pool.request(
                request.method,
                console.address.rstrip("/") + request.path,
                body=request.body,
                headers=headers,
                redirect=False,
                retries=False,
            )
            kind = response.headers.get("Content-Type", "").partition(";")[0]
            return ApiResponse(response.status, kind, response.data)

        document = send(FuzzRequest("GET", "/api/v1/openapi.json", {}, b""))
        started = time.monotonic()
        statuses = attack(json.loads(document.body), tmp_path, send, requests=LONG)
        print(f"{sum(statuses.values())} requests in {time.monotonic() - started:.0f} s: {statuses}")
    assert 500 not in statuses
