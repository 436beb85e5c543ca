"""Translation of sentences that are made elsewhere: labels, states, reasons and remedies of services."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from babel import Locale
from markupsafe import Markup

from dashboard.web.language import choice
from dashboard.web.language.catalogs import FOLDER, SOURCE, read_catalog
from dashboard.web.language.sentence_matching import Sentences

_reading = threading.Lock()


def translated(sentence: str) -> str:
    """Return a finished English sentence in the language of this request; as it is if no translation is
    known. The template filter ``translated``."""
    language = choice.language()
    if language == SOURCE or isinstance(sentence, Markup):
        return sentence
    return sentences(language).translate(str(sentence))


def sentences(language: str) -> Sentences:
    """Return what is known of a language of ``settings.LANGUAGES``, apart from English. Thread-safe; reads a
    file the first time."""
    with _reading:
        return _read(language)


@cache
def _read(language: str) -> Sentences:
    symbols = Locale.parse(language).number_symbols["latn"]
    found = dict(sentences_of(path_of(language), language))
    return Sentences(found, digits=symbols["group"] + symbols["decimal"])


def path_of(language: str) -> Path:
    """The catalog of the sentences that Python makes."""
    return FOLDER / language / "LC_MESSAGES" / "sentences.po"


def sentences_of(path: Path, language: str) -> Iterator[tuple[str, str]]:
    """Yield the ids of a catalog and their translations. Raises ``OSError`` and ``PoFileError``."""
    for message in read_catalog(path, language):
        if message.id:
            yield str(message.id), str(message.string)
