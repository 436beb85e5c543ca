"""The script that keeps parts of a page up to date, in a real browser against scripted answers: what it asks
for and when, and what a person keeps while a part is replaced."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

pytestmark = pytest.mark.browser

STATIC = Path(__file__).parents[2] / "static"
SITE = "http://console.test"
CONFIG = (Path(__file__).parents[2] / "templates" / "document.html").read_text(encoding="utf-8")
PAGE = """<!doctype html><html><head>{config}
<script src="/static/vendor/htmx.min.js" defer></script><script src="/static/language.js" defer></script>
<script src="/static/stowage.js" defer></script>
</head><body>{part}<div id="announcer" role="status"></div></body></html>"""
PART = """<section id="live" hx-get="/live" hx-trigger="every 2s, wake" hx-swap="outerHTML">
<p id="figure">{figure}</p><a href="/one">One</a> <a href="/two">Two</a> <button>Press</button>
<details><summary>More about {figure}</summary><div class="scroll" tabindex="0">much</div></details>
</section>"""


class AnsweredPart:
    """Answers the part with ``figure``, or 304 to whoever has it."""

    def __init__(self, page: Page) -> None:
        self.figure = 1
        self.asked: list[str] = []
        page.route(f"{SITE}/**", self.answer)

    def answer(self, route: Route) -> None:
        path = route.request.url.removeprefix(SITE)
        if path.startswith("/static/"):
            route.fulfill(path=STATIC / path.removeprefix("/static/"))
            return
        part = PART.format(figure=self.figure)
        if path != "/live":
            config = next(line for line in CONFIG.splitlines() if 'name="htmx-config"' in line)
            route.fulfill(body=PAGE.format(config=config, part=part), content_type="text/html")
            return
        tag, sent = f'W/"{self.figure}"', route.request.headers.get("if-none-match", "")
        self.asked.append(sent)
        if sent == tag:
            route.fulfill(status=304, headers={"ETag": tag})
        else:
            route.fulfill(body=part, content_type="text/html", headers={"ETag": tag})


@pytest.fixture
def server(page: Page) -> AnsweredPart:
    """The page, and a clock that only the test moves."""
    server = AnsweredPart(page)
    page.clock.install()
    page.goto(SITE)
    return server


def pass_time(page: Page, server: AnsweredPart, seconds: int) -> int:
    """Let time pass, two seconds at a time; return how often the part was asked for."""
    before = len(server.asked)
    for _ in range(seconds // 2):
        page.clock.run_for(2000)
        page.evaluate("new Promise((done) => fetch('/quiet').then(done))")
        # Nothing is asked again while an answer is on its way.
        expect(page.locator(".htmx-request")).to_have_count(0)
    return len(server.asked) - before


def show_hidden(page: Page, hidden: bool) -> None:
    page.evaluate(
        """(hidden) => {
          Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
          document.dispatchEvent(new Event("visibilitychange"));
        }""",
        hidden,
    )


def test_what_has_not_changed_is_not_touched_and_asked_for_less_often(
    page: Page, server: AnsweredPart
) -> None:
    assert pass_time(page, server, 4) == 2
    assert server.asked == ["", 'W/"1"']
    page.evaluate("document.getElementById('live').dataset.mine = 'yes'")
    assert pass_time(page, server, 10) >= 4
    assert pass_time(page, server, 40) <= 8, "every eighth second"
    assert page.locator("#live").get_attribute("data-mine") == "yes"
    server.figure = 2
    pass_time(page, server, 8)
    expect(page.locator("#figure")).to_have_text("2")
    assert pass_time(page, server, 8) >= 3, "as often as before, because it changes again"


def test_nobody_looking_means_nobody_asking(page: Page, server: AnsweredPart) -> None:
    assert pass_time(page, server, 2) == 1
    show_hidden(page, True)
    assert pass_time(page, server, 30) == 0
    server.figure = 2
    show_hidden(page, False)
    expect(page.locator("#figure")).to_have_text("2")


def test_focus_and_what_is_open_stay_while_a_part_is_replaced(page: Page, server: AnsweredPart) -> None:
    page.get_by_text("More about").click()
    for role, name in (("link", "Two"), ("button", "Press")):
        page.get_by_role(role, name=name).focus()  # type: ignore[arg-type]
        server.figure += 1
        pass_time(page, server, 2)
        expect(page.locator("#figure")).to_have_text(str(server.figure))
        expect(page.get_by_role(role, name=name)).to_be_focused()  # type: ignore[arg-type]
        expect(page.locator("details")).to_have_attribute("open", "")


def test_what_a_form_put_there_is_replaced_whatever_was_there_before(
    page: Page, server: AnsweredPart
) -> None:
    pass_time(page, server, 4)
    page.evaluate("htmx.ajax('POST', '/other', { target: '#live', swap: 'outerHTML', select: '#live' })")
    pass_time(page, server, 4)
    assert server.asked[:3] == ["", 'W/"1"', ""]
