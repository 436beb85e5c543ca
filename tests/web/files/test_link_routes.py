"""Links as they are opened: by people, programs, scanners and broken lines."""

from __future__ import annotations

import http.client
import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest
from werkzeug.test import TestResponse

from dashboard.services.backends.values import Draft
from dashboard.services.files.sharing import link_uses
from dashboard.services.files.sharing.links import NewLink
from dashboard.services.people.throttle import LIMITS
from dashboard.services.permissions import Role
from tests.servers.processes import wait_until
from tests.web.conftest import PASSWORD
from tests.web.files.conftest import HOME, MARIA, SPARE, FilesConsole
from tests.web.test_server import serving

CONTENT = b"0123456789" * 100
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
SIZE = 24_000_000
"""More than the kernel takes ahead."""


@pytest.fixture(autouse=True)
def with_a_file(served: FilesConsole) -> None:
    served.put(HOME, "shared/a file.bin", CONTENT)


def link(served: FilesConsole, key: str = "shared/a file.bin", **options: object) -> NewLink:
    return served.console.services.links.create(MARIA, HOME, key, **{"seconds": 600, **options})  # type: ignore[arg-type]


def get(served: FilesConsole, made: NewLink, **options: object) -> TestResponse:
    """Of somebody who is not signed in."""
    return served.console.app.test_client().get(made.path, **options)  # type: ignore[arg-type]


def get_when_free(served: FilesConsole, made: NewLink) -> TestResponse:
    """After another download broke: what it held is free again once other threads have counted it, and until
    then nobody gets the file."""
    found: list[TestResponse] = []

    def asked() -> bool:
        found.append(get(served, made))
        return found[-1].status_code != 429

    wait_until(asked, seconds=60, what="a use that is free again")
    return found[-1]


def uses(served: FilesConsole, made: NewLink) -> int:
    return served.console.services.links.get(MARIA, made.info.id).uses


def test_a_link_sends_its_file_to_anyone_and_says_nothing_about_where_it_is(served: FilesConsole) -> None:
    made = link(served)
    found = get(served, made, headers=BROWSER)
    assert (found.status_code, found.data) == (200, CONTENT)
    assert "X-Stowage-Backend" not in found.headers
    assert found.headers["Cache-Control"] == "private, no-cache"
    assert found.headers["Referrer-Policy"] == "no-referrer"
    assert found.headers["Content-Security-Policy"].startswith("sandbox")
    assert "a file.bin" in found.headers["Content-Disposition"]
    same = get(served, made, headers={"If-None-Match": found.headers["ETag"]})
    assert (same.status_code, same.data) == (304, b"")
    assert uses(served, made) == 1


def test_head_parts_and_broken_downloads_cost_no_use(served: FilesConsole) -> None:
    made = link(served, uses=1)
    head = served.console.app.test_client().head(made.path)
    assert (head.status_code, head.headers["Content-Length"], head.data) == (200, str(len(CONTENT)), b"")
    part = get(served, made, headers={"Range": "bytes=0-63"})
    assert (part.status_code, part.data) == (206, CONTENT[:64])
    broken = get(served, made, buffered=False)
    broken.close()
    assert get(served, made, headers={"Range": "bytes=5000-"}).status_code == 416
    assert uses(served, made) == 0
    whole = get_when_free(served, made)
    assert (whole.data, whole.headers["Cache-Control"]) == (CONTENT, "no-store")
    assert uses(served, made) == 1
    used = get(served, made)
    assert used.status_code == 410
    assert "once" in used.text


def test_a_browser_gets_a_page_with_a_button_first(served: FilesConsole) -> None:
    made = link(served, uses=1)
    browser = served.console.browser()
    page = browser.get(made.path, headers=BROWSER)
    assert page.status_code == 200
    assert "a file.bin" in page.text
    assert "1.0 kB" in page.text
    assert uses(served, made) == 0
    pressed = browser.post(made.path)
    assert pressed.headers["Location"] == f"{made.path}?download=1"
    assert uses(served, made) == 0
    sent = browser.client.get(pressed.headers["Location"], headers=BROWSER)
    assert sent.data == CONTENT
    assert sent.headers["Content-Disposition"].startswith("attachment")
    assert uses(served, made) == 1


def test_a_file_that_is_gone_costs_no_use(served: FilesConsole) -> None:
    served.put(HOME, "to-be-deleted", CONTENT)
    made = link(served, "to-be-deleted", uses=1)
    served.console.services.backends.driver(HOME).delete("to-be-deleted")
    assert get(served, made, headers=BROWSER).status_code == 404
    assert get(served, made).status_code == 404
    assert uses(served, made) == 0


def test_an_empty_file_is_used_once(served: FilesConsole) -> None:
    served.put(HOME, "nothing-in-it", b"")
    made = link(served, "nothing-in-it", uses=1)
    assert get(served, made).data == b""
    assert get(served, made).status_code == 410


def test_a_link_for_one_person_asks_to_sign_in_and_leads_back(served: FilesConsole) -> None:
    services = served.console.services
    if "pia" not in [user.username for user in services.accounts.list()]:
        services.accounts.add(MARIA, "pia", PASSWORD, Role.VIEWER)
    made = link(served, user="pia", uses=1)
    away = get(served, made, headers=BROWSER)
    assert (away.status_code, away.headers["Location"]) == (303, f"/sign-in?next={made.path}")
    assert get(served, made).status_code == 401
    wrong = served.browser.client.get(made.path)
    assert wrong.status_code == 403
    assert "somebody else" in wrong.text
    pia = served.console.browser()
    pia.sign_in("pia")
    found = pia.client.get(made.path)
    assert (found.data, found.headers["Cross-Origin-Resource-Policy"]) == (CONTENT, "same-origin")
    assert get(served, made, headers=BROWSER).status_code == 410


def test_a_link_for_a_network(served: FilesConsole) -> None:
    made = link(served, network="198.51.100.0/24")
    assert get(served, made).status_code == 403
    assert get(served, made, environ_base={"REMOTE_ADDR": "198.51.100.77"}).data == CONTENT


@pytest.mark.parametrize(
    "path", ["/d/", "/d/x", "/d/" + "A" * 22, "/d/" + "A" * 5000, "/d/%ff%00", "/d/..%2f"]
)
def test_an_unknown_link_is_not_found(served: FilesConsole, path: str) -> None:
    client = served.console.app.test_client()
    assert client.get(path, environ_base={"REMOTE_ADDR": "192.0.2.1"}).status_code == 404


def test_too_many_unknown_links_have_to_wait(served: FilesConsole) -> None:
    client, here = served.console.app.test_client(), {"REMOTE_ADDR": "203.0.113.9"}
    for _ in range(LIMITS["link"].free_attempts):
        assert client.get("/d/" + "B" * 22, environ_base=here).status_code == 404
    refused = client.get("/d/" + "B" * 22, environ_base=here)
    assert refused.status_code == 429
    assert int(refused.headers["Retry-After"]) > 0


def test_revoked_is_gone(served: FilesConsole) -> None:
    made = link(served)
    served.console.services.links.revoke(MARIA, made.info.id)
    gone = get(served, made)
    assert gone.status_code == 410
    assert "revoked" in gone.text


def test_a_second_download_has_to_wait_for_the_last_use(served: FilesConsole) -> None:
    made = link(served, uses=1)
    first = get(served, made, buffered=False)
    second = get(served, made)
    assert second.status_code == 429
    assert int(second.headers["Retry-After"]) > 0
    first.close()
    assert get_when_free(served, made).data == CONTENT


# With the server itself: the body is taken by its loop, and counted by other threads.


@pytest.fixture
def server(served: FilesConsole, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int]]:
    served.put(HOME, "large.bin", b"x" * SIZE)
    with serving(served.console.app, monkeypatch) as address:
        yield address


@contextmanager
def reading(address: tuple[str, int], path: str, **headers: str) -> Iterator[http.client.HTTPResponse]:
    connection = http.client.HTTPConnection(*address, timeout=120)
    # What the kernel takes ahead must be less than the file.
    connection.sock = socket.socket()
    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    connection.sock.settimeout(20)
    connection.sock.connect(address)
    try:
        connection.request("GET", path, headers={"Host": "localhost", **headers})
        with connection.getresponse() as response:
            yield response
    finally:
        connection.close()


def test_the_server_counts_what_it_sent(served: FilesConsole, server: tuple[str, int]) -> None:
    made = link(served, "large.bin", uses=2)
    for expected in (1, 2):
        with reading(server, made.path) as response:
            assert len(response.read()) == SIZE
        wait_until(partial(is_used, served, made, expected), seconds=60, what="a counted use")
    with reading(server, made.path) as response:
        assert response.status == 410


def test_the_server_notices_a_client_that_is_gone(served: FilesConsole, server: tuple[str, int]) -> None:
    made = link(served, "large.bin", uses=1)
    for _ in range(3):
        with reading(server, made.path) as response:
            assert len(response.read(100_000)) == 100_000

        def is_free() -> bool:
            with reading(server, made.path, Range="bytes=0-0") as response:
                response.read()
                return response.status == 206

        wait_until(is_free, seconds=60, what="the end of the broken download")
    assert uses(served, made) == 0
    with reading(server, made.path) as response:
        assert len(response.read()) == SIZE
    wait_until(lambda: uses(served, made) == 1, seconds=60, what="a counted use")


def test_the_server_cuts_off_a_revoked_download(
    served: FilesConsole, server: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_uses, "REPORT_SECONDS", 0.0)
    for limit in (1, None):
        made = link(served, "large.bin", uses=limit)
        with reading(server, made.path) as response:
            response.read(1000)
            served.console.services.links.revoke(MARIA, made.info.id)
            with pytest.raises((http.client.IncompleteRead, ConnectionError)):
                response.read()


def test_a_link_follows_a_copy_that_is_provably_the_same(
    served: FilesConsole, monkeypatch: pytest.MonkeyPatch
) -> None:
    import hashlib

    digest = hashlib.sha256(CONTENT).hexdigest()
    served.put(HOME, "twice", CONTENT)
    served.put(SPARE, "twice", CONTENT)
    served.catalogue(HOME, "twice", len(CONTENT), sha256=digest)
    made = link(served, "twice", uses=1)
    served.console.services.backends.driver(HOME).delete("twice")
    assert get(served, made).data == CONTENT
    assert uses(served, made) == 1


def test_what_comes_through_windows_is_counted_too(
    served: FilesConsole, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A compressed backend has no file that could be sent as it is: threads fetch it in windows.
    folder = served.folder / "compressed"
    folder.mkdir()
    options = {"root": str(folder), "compress": "true"}
    draft = Draft(name="compressed", preset="local", options=options, secrets={})
    services = served.console.services
    services.backends.add(MARIA, draft)
    content = random.Random(5).randbytes(3_000_000)
    services.backends.driver("compressed").put("a.bin", content)
    made = services.links.create(MARIA, "compressed", "a.bin", seconds=600, uses=2)
    with serving(served.console.app, monkeypatch) as address:
        for start, end in ((1_000_000, 2_999_999), (0, 999_999)):
            with reading(address, made.path, Range=f"bytes={start}-{end}") as response:
                assert response.status == 206
                assert response.read() == content[start : end + 1]
        wait_until(partial(is_used, served, made, 1), seconds=60, what="a counted use")
        with reading(address, made.path) as response:
            assert response.read() == content
        wait_until(partial(is_used, served, made, 2), seconds=60, what="a counted use")
        with reading(address, made.path) as response:
            assert response.status == 410


def is_used(served: FilesConsole, made: NewLink, times: int) -> bool:
    return uses(served, made) == times
