"""Every sentence that Python makes has its translation, and finished sentences find it."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from dashboard.services.permissions import Actor, Role
from dashboard.web.language.patterns import Pattern, parse
from dashboard.web.language.sentence_matching import Sentences
from dashboard.web.language.sentences import path_of, sentences
from tests.web.conftest import ADMIN, PASSWORD, WebConsole
from tests.web.language.extraction import PACKAGE, collected, extract, known
from tests.web.language.messages import TRANSLATED

SMALL = {
    "There is no object “{key}”.": "Es gibt kein Objekt „{key}“.",
    "The bucket has {found:,} bytes, and {said:,} were announced.": "{said:,} angekündigt, {found:,} da.",
    "{destination} is empty.": "{destination} ist leer.",
    "“{subject}” could not be {done}: {reason}.": "„{subject}“ konnte nicht {done} werden: {reason}.",
    "It was copied, but not deleted: {sentence}": "Kopiert, aber nicht gelöscht: {sentence}",
    "the disk is full": "die Festplatte ist voll",
    "read": "gelesen",
    "Try again.": "Noch einmal.",
    "{count:,} objects": "{count:,} Objekte",
    "Moved {objects}.": "{objects} verschoben.",
    "A table is {{env = \"NAME\"}}.": "Eine Tabelle ist {{env = \"NAME\"}}.",
    "and": "und",
    "Checksums": "Prüfsummen",
    "Sizes": "Größen",
    "Compared: {ways}.": "Verglichen: {ways}.",
}  # fmt: skip


def filled(pattern: Pattern, values: Mapping[str, str]) -> str:
    shown = [*(values[each.name] for each in pattern.placeholders), ""]
    return "".join(literal + value for literal, value in zip(pattern.literals, shown, strict=True))


@pytest.fixture(scope="module")
def german() -> Sentences:
    return Sentences(SMALL, digits=".,")


@pytest.mark.parametrize("language", TRANSLATED)
def test_the_catalog_is_what_the_code_says(language: str) -> None:
    assert path_of(language).read_bytes() == collected(language), "run: make translations"


@pytest.mark.parametrize("language", TRANSLATED)
def test_every_sentence_is_translated_with_its_values(language: str) -> None:
    for message, text in known(language).items():
        before, after = parse(message), parse(text)
        names = {each.name: each.number for each in before.placeholders}
        assert text.strip(), message
        # A language may leave a value out, such as the noun that a pronoun stands for.
        assert {each.name: each.number for each in after.placeholders}.items() <= names.items(), message
        assert text.count("“") == text.count("„"), message
        assert message.endswith((".", "?", ":", "…")) <= text.endswith((".", "?", ":", "…", "!")), message


@pytest.mark.parametrize("language", TRANSLATED)
def test_no_two_ids_are_the_same_sentence(language: str) -> None:
    shapes = [parse(message).shape for message in known(language)]
    assert len(shapes) == len(set(shapes))


@pytest.mark.parametrize("language", TRANSLATED)
def test_every_id_finds_its_own_translation(language: str) -> None:
    """What is rendered from an id is recognized as this id again, or as one whose translation is the same."""
    catalog = sentences(language)
    for message, text in known(language).items():
        before, after = parse(message), parse(text)
        values = {
            each.name: f"{1000 + index:,}" if each.number else f"X{index}"
            for index, each in enumerate(before.placeholders)
        }
        shown = {each.name: catalog.value(each, values[each.name]) for each in before.placeholders}
        expected = filled(after, {name: value or values[name] for name, value in shown.items()})
        rendered = filled(before, values)
        assert catalog.translate(rendered) == expected, message


def test_values_keep_their_place_and_their_sense(german: Sentences) -> None:
    assert german.translate("There is no object “a/b.txt”.") == "Es gibt kein Objekt „a/b.txt“."
    assert german.translate("The bucket has 1,234 bytes, and 2,000,000 were announced.") == (
        "2.000.000 angekündigt, 1.234 da."
    )
    assert german.translate("media is empty. Try again.") == "media ist leer. Noch einmal."
    assert german.translate('A table is {env = "NAME"}.') == 'Eine Tabelle ist {env = "NAME"}.'
    assert german.translate(" Try again. ") == " Noch einmal. "
    assert german.translate("") == ""


def test_values_that_are_sentences_are_translated_with_it(german: Sentences) -> None:
    assert german.translate("“a” could not be read: the disk is full.") == (
        "„a“ konnte nicht gelesen werden: die Festplatte ist voll."
    )
    assert german.translate("It was copied, but not deleted: media is empty. Try again.") == (
        "Kopiert, aber nicht gelöscht: media ist leer. Noch einmal."
    )
    assert german.translate("Moved 1,204 objects.") == "1.204 Objekte verschoben."
    assert german.translate("Compared: Sizes and Checksums.") == "Verglichen: Größen und Prüfsummen."


def test_what_is_not_known_as_a_whole_stays_english(german: Sentences) -> None:
    for text in (
        "“a” could not be written: the disk is full.",
        "“a” could not be read: the moon is full.",
        "Moved 12 files.",
        "media is empty. Come back tomorrow.",
        "The bucket has many bytes, and 2 were announced.",
        "Compared: Sizes and weights.",
    ):
        assert german.translate(text) == text


def test_what_people_call_their_things_is_never_translated(german: Sentences) -> None:
    assert german.translate("There is no object “Sizes”.") == "Es gibt kein Objekt „Sizes“."
    assert german.translate("Sizes is empty.") == "Sizes ist leer."
    name = "x”. There is no object “y"
    assert german.translate(f"There is no object “{name}”.") == (
        "Es gibt kein Objekt „x”. There is no object “y“."
    ), "the marks of a name are its own"
    assert german.translate("There is no object “{key}”.") == "Es gibt kein Objekt „{key}“."


def test_hostile_texts_are_taken_apart_in_linear_time() -> None:
    """Counted in comparisons instead of seconds: a text of nothing but beginnings ends like any other."""
    catalog = Sentences(
        {f"{{a}} x {{b}} y {{c}} z{number}.": f"{{c}} {{b}} {{a}} {number}." for number in range(200)}
    )
    for text in ("x y " * 900, "“" * 3_000, "{a} x " * 600, ". " * 2_000, "and " * 1_000, "A. " * 1_300):
        assert catalog.translate(text) == text
    assert catalog.translate("Try again. " * 1_000) == "Try again. " * 1_000


def test_the_code_is_read_as_people_would(tmp_path: Path) -> None:
    (tmp_path / "services").mkdir()
    (tmp_path / "services" / "sample.py").write_text(
        '''"""A docstring is no message."""
LABELS = {"the key": "What it holds"}

def sample(name, count, moved):
    """Neither is this."""
    log.warning("Nobody translates a log")
    what = "moved" if moved else "copied"
    end = " It took long." if count > 5 else ""
    if name == "a name of something":
        raise ValueError("for programmers only")
    return f"{count:,} files of “{name}” were {what}." + end
''',
        encoding="utf-8",
    )
    assert {message.id for message in extract(tmp_path).values()} == {
        "{count:,} files of “{name}” were moved. It took long.",
        "{count:,} files of “{name}” were moved.",
        "{count:,} files of “{name}” were copied. It took long.",
        "{count:,} files of “{name}” were copied.",
        "What it holds",
    }


def test_other_floors_know_no_languages() -> None:
    knowing = re.compile(r"\bgettext\b|dashboard\.web\.language|from babel")
    found = [
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if "web" not in path.relative_to(PACKAGE).parts and knowing.search(path.read_text(encoding="utf-8"))
    ]
    assert found == []


def test_entries_of_the_log_are_put_together_in_the_readers_order(console: WebConsole) -> None:
    browser = console.browser()
    browser.sign_in(ADMIN)
    admin = Actor(ADMIN, Role.ADMIN, "web")
    named = "files"
    console.services.accounts.add(admin, named, PASSWORD, Role.VIEWER)
    with console.services.database.write() as session:
        console.services.audit.record(
            session, admin, "file.move", "media: Today.txt", to="media/Copied to here.", files="3"
        )
    page = browser.get("/audit", headers={"Accept-Language": "de"}).text
    rows = [html.unescape(re.sub(r"<[^>]+>", "", row)) for row in re.findall(r'class="text">(.*?)\n', page)]
    assert f"{ADMIN} hat {named} als Betrachter hinzugefügt" in rows
    assert f"{ADMIN} hat media/Today.txt und 2 weitere Dateien nach media/Copied to here. verschoben" in rows
    assert "<bdi>media/Today.txt</bdi>" in page
