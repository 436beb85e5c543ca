"""Live parts of pages: built once for everybody who sees the same, and sent only when they have changed."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable

import pytest
from flask import Flask
from flask.ctx import AppContext

from dashboard.migration.types import Spec
from dashboard.services.permissions import Actor, Role
from dashboard.web.admin import fragments
from dashboard.web.admin.fragments import MAX_SHARED, SharedFragments
from tests.web.conftest import Browser, WebConsole, add_bucket

WHO = Actor("maria", Role.ADMIN, "web")
SignedIn = Callable[[str], Browser]


@pytest.fixture(scope="module", autouse=True)
def with_a_bucket(admin: Browser) -> None:
    assert add_bucket(admin).status_code == 303


def live_paths(admin: Browser) -> list[str]:
    """What the pages' live parts ask for."""
    pages = (
        "/",
        "/backends",
        "/backends/local-disk",
        "/health",
        "/migrations",
        "/migrations/1",
        "/files/old",
    )
    found = []
    for page in pages:
        text = admin.get(page).text
        found += [
            path.replace("&amp;", "&") for path in re.findall(r'hx-get="([^"]+)" hx-trigger="every', text)
        ]
    return found


@pytest.fixture(scope="module")
def migration(console: WebConsole, with_a_bucket: None) -> int:
    return console.services.migrations.create(WHO, "local-disk", "bucket-one", Spec())


def poll(browser: Browser, path: str, tag: str = "") -> tuple[int, str, str]:
    """Status, ETag and content, asked for as the script of a page does."""
    headers = {"HX-Request": "true"} | ({"If-None-Match": tag} if tag else {})
    answer = browser.get(path, headers=headers)
    return answer.status_code, answer.headers.get("ETag", ""), answer.text


def test_what_a_page_shows_already_is_not_sent_again(
    admin: Browser, migration: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What is shown must not change by itself: “10 s ago”, or the size of a disk.
    now = time.time()
    monkeypatch.setattr("time.time", lambda: now)
    paths = live_paths(admin)
    assert len(paths) >= 6, paths
    for path in paths:
        status, tag, text = poll(admin, path)
        assert (status, bool(tag), bool(text)) == (200, True, True), path
        if path.startswith("/health") or path == "/live":
            continue
        assert poll(admin, path, tag) == (304, tag, ""), path


def test_a_change_is_sent_at_once(admin: Browser, console: WebConsole, migration: int) -> None:
    path = f"/migrations/{migration}/live"
    _, tag, _ = poll(admin, path)
    console.services.migrations.pause(WHO, migration)
    status, new, text = poll(admin, path, tag)
    assert (status, new != tag) == (200, True)
    assert 'id="do-resume"' in text


def test_a_page_that_is_opened_is_always_sent(admin: Browser, migration: int) -> None:
    _, tag, _ = poll(admin, f"/migrations/{migration}/live")
    answer = admin.get(f"/migrations/{migration}", headers={"If-None-Match": tag})
    assert answer.status_code == 200
    assert "ETag" not in answer.headers


def test_people_with_other_rights_get_no_fragment_of_each_other(
    signed_in: SignedIn, console: WebConsole, migration: int
) -> None:
    path = f"/migrations/{migration}/live"
    _, of_admin, by_admin = poll(signed_in("maria"), path)
    _, of_viewer, by_viewer = poll(signed_in("vera"), path)
    assert "do-cancel" in by_admin
    assert "do-cancel" not in by_viewer
    # Not even by claiming to have it.
    assert poll(signed_in("vera"), path, of_admin)[0] == 200
    assert poll(signed_in("vera"), path, of_viewer)[0] == 304


def test_everybody_gets_a_fragment_in_their_own_language(admin: Browser, migration: int) -> None:
    path = f"/migrations/{migration}/live"
    texts = []
    for language in ("en", "de", "en"):
        answer = admin.get(path, headers={"HX-Request": "true", "Accept-Language": language})
        texts.append(re.sub(r'name="csrf_token" value="[^"]+"', "", answer.text))
    assert texts[0] == texts[2] != texts[1]


def test_whoever_is_signed_out_learns_nothing_from_a_tag(console: WebConsole, migration: int) -> None:
    path = f"/migrations/{migration}/live"
    browser = console.browser()
    browser.sign_in("otto")
    _, tag, _ = poll(browser, path)
    assert poll(browser, path, tag)[0] == 304
    assert browser.post("/sign-out").status_code == 303
    status, _, text = poll(browser, path, tag)
    assert (status, text) == (401, "")


def test_a_forms_token_is_never_shared(console: WebConsole, with_a_bucket: None) -> None:
    # Its own, paused: a form to resume it is shown whichever tests ran before.
    migration = console.services.migrations.create(WHO, "local-disk", "bucket-one", Spec())
    console.services.migrations.pause(WHO, migration)
    two = [console.browser(), console.browser()]
    tokens = []
    for each in two:
        each.sign_in("otto")
        _, _, text = poll(each, f"/migrations/{migration}/live?shown=something-else")
        found = re.search(r'name="csrf_token" value="([^"]+)"', text)
        assert found
        tokens.append(found[1])
        each.token = found[1]
    assert tokens[0] != tokens[1]
    # Each token opens its own session's forms.
    for each in two:
        assert each.post(f"/migrations/{migration}/resume").status_code == 303


def _in_a_request() -> AppContext:
    return Flask(__name__).app_context()


class TestShared:
    def test_equal_content_is_built_once(self) -> None:
        built: list[str] = []
        shared = SharedFragments()
        with _in_a_request():
            for shows in (1, 1, 2, 2, 1):
                shared.get("key", shows, lambda: built.append("x") or "html")  # type: ignore[func-returns-value]
        assert len(built) == 3

    def test_it_is_built_again_after_a_second(self, monkeypatch: pytest.MonkeyPatch) -> None:
        now = 1000.0
        monkeypatch.setattr(fragments.time, "monotonic", lambda: now)
        shared, built = SharedFragments(), iter(range(9))
        with _in_a_request():
            first = shared.get("key", 1, lambda: str(next(built)))
            now += 0.9
            assert shared.get("key", 1, lambda: str(next(built))) == first
            now += 0.2
            assert shared.get("key", 1, lambda: str(next(built))) != first

    def test_many_at_once_wait_for_the_one_that_builds(self) -> None:
        shared, built, together = SharedFragments(), [], threading.Barrier(8)

        def build() -> str:
            built.append(1)
            return "html"

        def ask() -> None:
            with _in_a_request():
                together.wait()
                assert shared.get("key", 1, build) == "html"

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert len(built) == 1

    def test_what_addresses_name_fills_no_memory(self) -> None:
        shared = SharedFragments()
        with _in_a_request():
            for number in range(3 * MAX_SHARED):
                shared.get(number, 1, lambda: "html")
        assert len(shared._entries) == MAX_SHARED

    def test_a_failure_is_not_kept(self) -> None:
        shared = SharedFragments()

        def fail() -> str:
            raise OSError("no")

        with _in_a_request():
            with pytest.raises(OSError, match="no"):
                shared.get("key", 1, fail)
            assert shared.get("key", 1, lambda: "html") == "html"


class TestPace:
    def test_many_open_pages_ask_less_often_and_few_as_usual(self) -> None:
        now = [0.0]
        pace = fragments.Pace(clock=lambda: now[0])

        def ask(pages: int, cost: float = 0.003) -> tuple[int, int, int]:
            for number in range(pages):
                pace.count(f"page-{number}", cost)
            return pace.seconds(1), pace.seconds(2), pace.seconds(0)

        assert ask(0) == (1, 2, 0)
        assert ask(10) == (1, 2, 0)
        assert ask(10) == (1, 2, 0)
        assert ask(50) == (5, 5, 0)
        assert ask(100) == (fragments.MAX_SECONDS, fragments.MAX_SECONDS, 0)
        now[0] += fragments.OPEN_SECONDS + 1
        assert ask(1) == (1, 2, 0)

    def test_pages_are_told_when_they_are_opened(self) -> None:
        pace = fragments.Pace()
        for _ in range(100):
            pace.open()
        assert pace.seconds(1) == fragments.MAX_SECONDS

    def test_what_requests_cost_decides(self) -> None:
        pace = fragments.Pace()
        for number in range(1000):
            pace.count(f"page-{number % 20}", 0.0005)
        assert pace.seconds(2) == 2
        for number in range(1000):
            pace.count(f"page-{number % 20}", 0.009)
        assert pace.seconds(2) == 6

    def test_invented_pages_fill_no_memory_and_only_slow_down_to_the_maximum(self) -> None:
        pace = fragments.Pace()
        for number in range(3 * fragments.MAX_PAGES):
            pace.count(f"{number}" * 100, 60.0)
        assert pace.seconds(2) == fragments.MAX_SECONDS
        assert len(pace._pages) == fragments.MAX_PAGES
        assert max(map(len, pace._pages)) <= 64

    def test_each_page_is_one_by_the_header_of_its_script(self, admin: Browser) -> None:
        script = admin.get("/static/stowage.js").text
        assert f'headers["{fragments.PAGE_HEADER}"] = page' in script
