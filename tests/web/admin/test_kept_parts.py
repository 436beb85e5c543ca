"""What pages keep: a change is on the next page, whoever made it, and nobody sees what another may."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
from markupsafe import Markup

from dashboard.services.backends.status import Badge
from dashboard.services.permissions import Actor, Role
from dashboard.web.admin import drawn_charts
from dashboard.web.admin.kept_parts import KeptParts
from dashboard.web.chart_scales import BYTES
from dashboard.web.charts import Chart, Series
from tests.web.conftest import Browser, WebConsole, add_bucket

SignedIn = Callable[[str], Browser]
PAGES = ("/", "/backends", "/health?window=24h", "/usage")
ELSEWHERE = """
import sqlite3, sys
with sqlite3.connect(sys.argv[1]) as connection:
    connection.execute("update backend_status set objects = 4711, latency_ms = 4711 where objects > 1000")
"""
TOKEN = re.compile(r'name="csrf_token" value="([^"]+)"|name="csrf-token" content="([^"]+)"')


@pytest.fixture(scope="module", autouse=True)
def counted(console: WebConsole, admin: Browser) -> int:
    """A backend with a count and a check."""
    assert add_bucket(admin).status_code == 303
    assert "is saved" in admin.get("/").text
    backend = console.services.backends.get("bucket-one").id
    console.services.status.record_check(backend, Badge.HEALTHY, 12.0)
    console.services.status.record_count(backend, 1_234, 5_600_000, final=True)
    return backend


def shown(browser: Browser, path: str, language: str = "en") -> str:
    """A page without what differs in each response: tokens, and how long the databases took."""
    answer = browser.get(path, headers={"Accept-Language": language})
    assert answer.status_code == 200
    return re.sub(r"(&lt;)?\d+ ms", "", TOKEN.sub("", answer.text))


@pytest.fixture
def _still(console: WebConsole, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing changes by itself: no minute and no day begins."""
    now = time.time()
    monkeypatch.setattr("time.time", lambda: now)
    for service in (console.services.history, console.services.backends.requests):
        monkeypatch.setattr(service, "_clock", lambda: now)


@pytest.mark.usefixtures("_still")
@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_the_same_again(admin: Browser, path: str) -> None:
    assert shown(admin, path) == shown(admin, path)


def test_a_change_is_on_the_next_page(console: WebConsole, admin: Browser, counted: int) -> None:
    shown(admin, "/")
    for objects in (2_345, 3_456):
        console.services.status.record_count(counted, objects, 7_000_000, final=True)
        for path in ("/", "/backends", "/usage"):
            assert f"{objects:,}" in shown(admin, path), path
    console.services.status.record_check(counted, Badge.DOWN, None, "The server does not answer.")
    for path in ("/", "/backends", "/health?window=24h"):
        assert 'class="badge bad">Down' in shown(admin, path), path
    console.services.status.record_check(counted, Badge.HEALTHY, 12.0)
    assert 'class="badge bad">Down' not in shown(admin, "/")


def test_a_change_of_another_process_is_on_the_next_page(console: WebConsole, admin: Browser) -> None:
    for path in ("/", "/backends", "/usage"):
        assert "4,711" not in shown(admin, path)
    database = console.services.database.main.url.database
    subprocess.run([sys.executable, "-c", ELSEWHERE, str(database)], check=True)
    for path in ("/", "/backends", "/usage"):
        assert "4,711" in shown(admin, path), path


def test_a_backend_that_is_added_or_renamed_is_on_the_next_page(admin: Browser) -> None:
    before = [shown(admin, path) for path in PAGES]
    assert add_bucket(admin, "bucket-two").status_code == 303
    for path, earlier in zip(PAGES, before, strict=True):
        assert "bucket-two" not in earlier
        assert "bucket-two" in shown(admin, path), path


def test_how_long_ago_something_was_goes_on(admin: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    began = time.time()
    for hours in (3, 7):
        monkeypatch.setattr("time.time", lambda hours=hours: began + hours * 3_600 + 60)
        for path in ("/", "/backends"):
            assert f"{hours} h ago" in shown(admin, path), path


def test_everybody_sees_what_they_may(signed_in: SignedIn) -> None:
    # One after the other, and again: whoever came first has left parts for the others.
    for name, checks in (("maria", True), ("vera", False), ("otto", True), ("vera", False), ("maria", True)):
        for path in ("/", "/backends"):
            assert ('id="refresh-' in shown(signed_in(name), path)) is checks, (name, path)
    assert 'href="/audit"' in shown(signed_in("maria"), "/")
    assert 'href="/audit"' not in shown(signed_in("vera"), "/")


@pytest.mark.usefixtures("_still")
def test_everybody_reads_their_own_language(admin: Browser) -> None:
    for path in PAGES:
        english, german, again = (shown(admin, path, language) for language in ("en", "de", "en"))
        assert english != german, path
        assert "Backends" in english
        assert again == english, path
        assert "gespeichert" in german.lower() or path.startswith("/health"), path


def test_everybody_sees_their_own_time(signed_in: SignedIn, console: WebConsole) -> None:
    operator = Actor("otto", Role.OPERATOR, "web")
    hours = []
    for zone in ("Pacific/Auckland", "America/Anchorage", ""):
        console.services.accounts.preferences.change(operator, time_zone=zone)
        for name in ("maria", "otto"):
            titles = re.findall(r'<time datetime="[^"]+([+-]\d\d:\d\d)"', shown(signed_in(name), "/"))
            hours.append((name, zone, sorted(set(titles))))
    of_admin = {str(each) for name, _, each in hours if name == "maria"}
    of_operator = [str(each) for name, _, each in hours if name == "otto"]
    assert len(of_admin) == 1
    assert len(set(of_operator)) == 3


def test_a_forms_token_is_the_viewers_own(console: WebConsole) -> None:
    two = [console.browser(), console.browser()]
    tokens = []
    for each in two:
        each.sign_in("otto")
        found = {first or second for first, second in TOKEN.findall(each.get("/").text)}
        assert len(found) == 1, "a token of somebody else, or a placeholder"
        tokens.append(found.pop())
    assert tokens[0] != tokens[1]
    for each, token in zip(two, tokens, strict=True):
        each.token = token
        assert each.post("/backend/bucket-one/refresh").status_code == 303


def test_addresses_are_those_of_where_the_console_is(admin: Browser) -> None:
    for root in ("/storage", ""):
        text = admin.get("/", environ_overrides={"SCRIPT_NAME": root}).text
        assert f'href="{root}/backend/bucket-one"' in text
        assert f'href="{root}/migrations"' in text


class TestParts:
    def test_values_that_are_equal_but_look_different_are_told_apart(self) -> None:
        parts = KeptParts()
        for values in ((1,), (True,), (1.0,), ("<b>",), (Markup("<b>"),)):
            assert parts.get("key", values, lambda values=values: repr(values)) == repr(values)  # type: ignore[misc]

    def test_a_part_is_rendered_again_when_a_value_changes(self) -> None:
        parts, built = KeptParts(), iter(range(9))
        found = [parts.get("key", (value,), lambda: str(next(built))) for value in "aabba"]
        assert found == ["0", "0", "1", "1", "2"]

    def test_they_take_so_many_characters_at_most(self) -> None:
        parts = KeptParts(most=100)
        for number in range(50):
            parts.get(number, (number,), lambda: "x" * 30)
            # A value that changes replaces what was kept.
            parts.get(number, (-number,), lambda: "y" * 40)
        assert parts._size == sum(len(each.html) for each in parts._parts.values()) <= 100
        assert parts.get("large", (), lambda: "z" * 1_000) == "z" * 1_000
        assert parts._size == 0

    def test_a_failure_is_not_kept(self) -> None:
        parts = KeptParts()

        def fail() -> str:
            raise OSError("no")

        with pytest.raises(OSError, match="no"):
            parts.get("key", (), fail)
        assert parts.get("key", (), lambda: "html") == "html"


class TestCharts:
    TIMES = tuple(86_400.0 * day for day in range(20_000, 20_030))

    def draw(self, console: WebConsole, values: list[float | None], **headers: str) -> Chart:
        with console.app.test_request_context("/", headers=headers):
            return drawn_charts.line([Series("Stored", values)], self.TIMES, BYTES, now="today")

    def test_the_same_figures_are_drawn_once(self, console: WebConsole) -> None:
        values: list[float | None] = [float(day) for day in range(30)]
        first = self.draw(console, values)
        assert self.draw(console, list(values)) is first
        values[-1] = 31.0
        changed = self.draw(console, values)
        assert changed.shapes != first.shapes
        assert changed.table.rows[0][1] == ("31 B",)

    def test_each_language_has_its_own_words(self, console: WebConsole) -> None:
        values: list[float | None] = [1.0] * 30
        drawn = [self.draw(console, values, accept_language=each) for each in ("en", "de", "en")]
        assert [mark.text for mark in drawn[0].x] != [mark.text for mark in drawn[1].x]
        assert drawn[0] is drawn[2]
