"""Every page in an invented language that marks what was translated: what has no mark was forgotten."""

from __future__ import annotations

import re
from collections.abc import Iterator
from gettext import NullTranslations
from html.parser import HTMLParser

import pytest

from dashboard.web.language import catalogs, sentences, translating
from tests.web.conftest import Browser, WebConsole
from tests.web.test_pages import FRAGMENTS, PAGES, with_a_bucket_and_a_migration  # noqa: F401  # a fixture

GERMAN = {"Accept-Language": "de"}
MORE = (
    "/settings/preferences",
    "/settings/sessions",
    "/settings/tokens",
    "/settings/backups",
    "/settings/uploads",
    "/settings/environment",
    "/settings/keys/rotate",
    "/settings/notifications",
    "/settings/schedules",
    "/health",
    "/search?q=local",
)
SHOWN = tuple(page for page in PAGES if "preset=" not in page or page.endswith(("=aws", "=sftp")))
SPOKEN = {"aria-label", "title", "alt", "data-announce", "placeholder"}
SILENT = {"script", "style", "code", "pre", "kbd", "svg", "bdi", "time", "textarea"}
"""What is no language, or what people and servers wrote: names, keys, commands."""
VOID = {"input", "br", "meta", "link", "img", "rect", "use", "col", "hr"}
OWN = re.compile(
    r"local-disk|bucket-one|some-bucket on 127\.0\.0\.1:9|maria|otto|vera|\ba\.txt|my-bucket"
    r"|csv json log txt xml|nothing|stowage\.db|work\.db|Stowage|Linux\S+|https?://[^\s⟦⟧]+|\b[a-z]+\.example\.com\S*"
)
"""Names and examples that stay as they are."""
OF_A_SERVER = re.compile(r", PostgreSQL [\d.]+|\bt[0-9a-f]{12}\.stowage(_work)?\b")
"""The same, with the databases on one."""
PLAIN = re.compile(
    r"""[\W\d_]*                                                       # figures and signs
    | ([\d.,\s]*([kMGTPE]?i?B(/s)?|ms|s|min|h|d|px))+
    | [A-Z]{3,4}                                                    # a time zone
    | English | Englisch | Deutsch | CSV | JSON | API | Python | Prometheus
    | \S*[/*<>=…@:]\S* | -----.* | \{.* | [A-Z][A-Z0-9_]{3,} | [a-z0-9]+[-_][a-z0-9_-]+
    | [A-Z]\w+\ 20\d\d | [A-Z][a-z]+tag,\ .*                                  # a month, a day
    | true | false | debug | info | warning | error | media | default | stowage""",
    re.VERBOSE,
)
PIECES = re.compile(r"(<[^>]*>|%\(\w+\)s|%%)")


class Marking(NullTranslations):
    """Puts marks around every text that is asked for, apart from its markup and its values."""

    def gettext(self, message: str) -> str:
        parts = enumerate(PIECES.split(message))
        return "".join(part if i % 2 or not part.strip() else f"⟦{part}⟧" for i, part in parts)

    def ngettext(self, one: str, many: str, count: int) -> str:
        return self.gettext(one if count == 1 else many)


class MarkedSentences:
    """Puts marks around every sentence that Python made, apart from the signs that stand for names."""

    def translate(self, text: str) -> str:
        parts = enumerate(re.split("(\ue000\\d+\ue001)", text))
        return "".join(part if i % 2 or not part.strip() else f"⟦{part}⟧" for i, part in parts)


class Visible(HTMLParser):
    """The texts that a reader sees or hears."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.open: list[bool] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if not any(self.open) and tag != "time":
            self.found += [
                value for name, value in attrs if name in SPOKEN and value and self._speaks(name, value)
            ]
        if tag not in VOID:
            foreign = given.get("translate") == "no" or ("lang" in given and tag != "html")
            looks = set((given.get("class") or "").split())
            self.open.append(tag in SILENT or foreign or "mono" in looks)

    @staticmethod
    def _speaks(name: str, value: str) -> bool:
        """Most placeholders are examples of what to type."""
        return name != "placeholder" or re.search("[a-z]{2,} [a-z]{2,}", value) is not None

    def handle_endtag(self, tag: str) -> None:
        if self.open and tag not in VOID:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        if not any(self.open) and data.strip():
            self.found.append(" ".join(data.split()))


def unmarked(text: str) -> Iterator[str]:
    """What of a text has no mark and yet has words."""
    for part in re.split("⟦[^⟦⟧]*⟧", OWN.sub("", text)):
        if re.search("[A-Za-z]{3,}", part) and not PLAIN.fullmatch(part.strip(" ,.:;()·–→/“”%")):
            yield part.strip()


@pytest.fixture
def marking(console: WebConsole, monkeypatch: pytest.MonkeyPatch) -> None:
    marks = catalogs.LanguageCatalog(Marking(), {}, "0")
    monkeypatch.setattr(translating, "catalog", lambda language: marks)
    monkeypatch.setattr(sentences, "sentences", lambda language: MarkedSentences())


def test_nothing_visible_is_left_in_english(console: WebConsole, admin: Browser, marking: None) -> None:
    key = console.services.keys.state().key_id
    left: dict[str, list[str]] = {}
    for path in (*SHOWN, *MORE):
        page = OF_A_SERVER.sub("", admin.get(path, headers=GERMAN).text.replace(key, ""))
        for text in Visible(page).found:
            for part in unmarked(text):
                left.setdefault(part, []).append(path)
    assert {part: pages[:2] for part, pages in left.items()} == {}


def test_a_text_that_nobody_wrapped_is_found() -> None:
    page = '<p title="⟦known⟧">⟦Saved by⟧ <bdi>somebody</bdi> and kept</p><b>12.5 MB</b><kbd>Esc</kbd>'
    assert [part for text in Visible(page).found for part in unmarked(text)] == ["and kept"]
    assert list(unmarked(Marking().gettext("Copied %(num)s of <b>all</b>") % {"num": "few"})) == ["few"]
