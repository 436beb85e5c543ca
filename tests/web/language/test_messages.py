"""The catalogs hold every text of templates, scripts and the web package, translated whole."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from babel.messages.catalog import Message

from dashboard.web.language.catalogs import FOLDER, catalog, read_catalog
from tests.web.conftest import WebConsole
from tests.web.language.messages import ROOT, TRANSLATED, collected, path_of

PLACEHOLDER = re.compile(r"%%|%\(\w+\)s|%.")
TAG = re.compile(r"<[^>]*>|&\w+;")


def messages() -> list[tuple[str, Message]]:
    return [(code, each) for code in TRANSLATED for each in read_catalog(path_of(code), code) if each.id]


def forms(text: object) -> tuple[str, ...]:
    return (text,) if isinstance(text, str) else tuple(text or ())  # type: ignore[arg-type]


@pytest.mark.parametrize("language", TRANSLATED)
def test_the_catalog_is_what_the_sources_say(language: str) -> None:
    assert path_of(language).read_bytes() == collected(language), "run: make translations"


def test_every_language_has_its_folder_and_no_other() -> None:
    assert {path.name for path in FOLDER.iterdir()} == set(TRANSLATED)


def test_every_text_is_translated_whole() -> None:
    for language, message in messages():
        found = forms(message.string)
        assert all(text.strip() for text in found), (language, message.id)
        assert not message.fuzzy, (language, message.id)
        assert len(found) == len(forms(message.id)), (language, message.id)


def test_translations_have_the_placeholders_and_tags_of_their_texts() -> None:
    for language, message in messages():
        for text, translated in zip(forms(message.id), forms(message.string), strict=True):
            where = (language, text, translated)
            # “One file” needs no figure.
            figures = {"%(num)s"} if len(forms(message.id)) > 1 else set()
            before, after = ({*PLACEHOLDER.findall(each)} - figures for each in (text, translated))
            assert before == after, where
            assert Counter(TAG.findall(text)) == Counter(TAG.findall(translated)), where
            assert ('"' in translated) <= ('"' in text), where
            assert text[:1].isspace() == translated[:1].isspace(), where
            assert text[-1:].isspace() == translated[-1:].isspace(), where


def test_only_text_is_translated() -> None:
    """What scripts, forms and filters read is the same in every language."""
    machine = re.compile(r'value="\{\{ [^}"]*\|translated|_\("[^"]*=\\"[^)]*\)')
    found = {
        str(path): machine.findall(path.read_text(encoding="utf-8"))
        for path in (ROOT / "templates").rglob("*.html")
    }
    assert {path: each for path, each in found.items() if each} == {}


def test_scripts_get_what_they_say_and_nothing_else(console: WebConsole) -> None:
    scripts = catalog("de").scripts
    assert scripts["Copied"] == ("Kopiert",)
    assert "Sign out" not in scripts
    browser = console.browser()
    page = browser.get("/sign-in", headers={"Accept-Language": "de"}).text
    found = re.search(r'src="(/language/de\.\w+\.js)"', page)
    assert found
    response = browser.get(found[1])
    assert response.mimetype == "text/javascript"
    assert "immutable" in response.headers["Cache-Control"]
    assert '"Copied":["Kopiert"]' in response.text
    for other in ("/language/de.000000000000.js", "/language/en..js", "/language/xx.0.js"):
        assert browser.get(other).status_code == 404
    assert "/language/" not in browser.get("/sign-in").text, "English needs no translations"
