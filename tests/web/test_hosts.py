"""Which names a console answers to, and that no answer repeats a name that it was called by."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dashboard.settings import Settings
from tests.web.conftest import Browser, WebConsole, open_console

EVIL = {"Host": "evil.example"}


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebConsole]:
    """A console that knows its names."""
    env = {"STOWAGE_HOSTS": "Stowage.example.com, .example.org [2001:db8::7]"}
    hosts = Settings.from_env(env, instance=Path("unused")).hosts
    opened = open_console(tmp_path_factory.mktemp("named"), hosts=hosts)
    yield opened
    opened.services.close()


@pytest.mark.parametrize(
    "host",
    [
        *("stowage.example.com", "STOWAGE.example.com.:8443", "example.org", "a.b.example.org"),
        *("localhost:8080", "127.0.0.1", "127.9.9.9:1", "[::1]:8080", "[2001:db8::7]"),
    ],
)
def test_a_console_answers_to_its_names(named: WebConsole, host: str) -> None:
    assert named.app.test_client().get("/setup", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "example.com", "xstowage.example.com", "badexample.org", "192.0.2.1", "[2001:db8::8]"],
)
def test_and_to_no_other(named: WebConsole, host: str) -> None:
    client = named.app.test_client()
    for address in ("/setup", "/nowhere", "/static/app.css", "/api/v1/backends"):
        refused = client.get(address, headers={"Host": host})
        assert refused.status_code == 400
        assert "does not answer to the name" in refused.get_data(as_text=True)
        assert "STOWAGE_HOSTS" in refused.get_data(as_text=True)
    assert client.get("/healthz", headers={"Host": host}).data == b"ok\n"


@pytest.mark.parametrize(
    "host", ["", "a b", "evil.example/x", "user@evil.example", "evil\x01.example", "a:b:c"]
)
def test_what_is_no_host_is_refused_even_where_any_will_do(console: WebConsole, host: str) -> None:
    assert console.app.test_client().get("/sign-in", headers={"Host": host}).status_code == 400


def test_no_redirect_repeats_the_host(admin: Browser, console: WebConsole) -> None:
    stranger = console.browser()
    for address in ("//backends", "/backends/", "/migrations//new", "/x/../backends", "/backends"):
        for browser in (admin, stranger):
            answer = browser.get(address, headers=EVIL)
            assert "evil.example" not in answer.headers.get("Location", ""), address
            assert "evil.example" not in str(answer.headers), address
    signed_in = stranger.client.post("/sign-in", headers=EVIL)
    assert "evil.example" not in str(signed_in.headers)
