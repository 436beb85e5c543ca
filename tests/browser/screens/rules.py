"""What every page has to keep, whoever looks at it: WCAG 2.2 AA as far as a program can tell, and nothing
from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import ConsoleMessage, Page, Request

AXE = Axe().axe_script
OPTIONS = {
    "resultTypes": ["violations"],
    # Off unless asked for; a level-AA criterion of WCAG 2.2.
    "rules": {"target-size": {"enabled": True}},
}
TEXT_SPACING = """
() => {
  const sheet = new CSSStyleSheet();
  sheet.replaceSync('* { line-height: 1.5 !important; letter-spacing: .12em !important;'
    + ' word-spacing: .16em !important; } p { margin-bottom: 2em !important; }');
  document.adoptedStyleSheets = [sheet];
}
"""
"""What WCAG 1.4.12 lets a person set."""
CUT_OFF = """
() => [...document.querySelectorAll('button, .btn, .badge, .tag, th, td, dd, label, h1, h2, a')].filter(
each => {
  const style = getComputedStyle(each);
  return each.checkVisibility() && !each.closest('.sr, [aria-hidden=true]')
    && style.textOverflow !== 'ellipsis'
    && ['hidden', 'clip'].includes(style.overflowX) && style.clipPath === 'none'
    && each.scrollWidth > each.clientWidth + 1;
}).map(each => each.tagName + '.' + each.className + ': ' + each.textContent.trim().slice(0, 60))
"""


def violations(page: Page) -> list[str]:
    """What axe finds on the page as it is now."""
    if page.evaluate("typeof axe") == "undefined":
        page.evaluate(AXE)
    found = page.evaluate("options => axe.run(document, options).then(found => found.violations)", OPTIONS)
    return [f"{each['id']}: {[node['target'] for node in each['nodes']][:3]}" for each in found]


def overflow(page: Page) -> list[str]:
    """What makes the page scroll sideways."""
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    if wide <= 0:
        return []
    widest = page.evaluate(
        "() => [...document.querySelectorAll('body *')].filter(each => each.checkVisibility()"
        " && each.getBoundingClientRect().right > innerWidth + 1)"
        ".slice(-1).map(each => each.tagName + '.' + each.getAttribute('class')).join()"
    )
    return [f"{wide} pixels wider than the screen of {page.viewport_size}: {widest}"]


@dataclass
class Complaints:
    """What the browser said while a page was open."""

    origin: str
    lines: list[str] = field(default_factory=list)

    def take(self) -> list[str]:
        """What was said since the last call."""
        taken, self.lines = self.lines, []
        return taken


@contextmanager
def listening(page: Page, origin: str) -> Iterator[Complaints]:
    """Note errors of scripts, of the console, and requests that leave ``origin``."""
    heard = Complaints(origin)

    def message(said: ConsoleMessage) -> None:
        # A page that is not there, and a backend that does not answer, are pages as well.
        expected = any(f"status of {status}" in said.text for status in (404, 502))
        if said.type in ("error", "warning") and not expected:
            heard.lines.append(f"console: {said.text}")

    def request(sent: Request) -> None:
        if not sent.url.startswith((f"{origin}/", "data:", "blob:", "about:")):
            heard.lines.append(f"a request to {sent.url}")

    def error(raised: object) -> None:
        heard.lines.append(f"script: {raised}")

    page.on("console", message)
    page.on("request", request)
    page.on("pageerror", error)
    yield heard
    page.remove_listener("console", message)
    page.remove_listener("request", request)
    page.remove_listener("pageerror", error)
