"""Translation of sentences that are made elsewhere: labels, states, reasons and remedies of services."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from babel import Locale
from markupsafe import Markup

from dashboard.services.auditing.sentences.wording import Part
from dashboard.web.language import choice
from dashboard.web.language.catalogs import FOLDER, SOURCE, read_catalog
from dashboard.web.language.sentence_matching import Sentences

_OPEN, _CLOSE = "\ue000", "\ue001"
_SIGN = re.compile(f"{_OPEN}(\\d+){_CLOSE}")
_reading = threading.Lock()


def translated(sentence: str) -> str:
    """Return a finished English sentence in the language of this request; as it is if no translation is
    known. The template filter ``translated``."""
    language = choice.language()
    if language == SOURCE or isinstance(sentence, Markup):
        return sentence
    return sentences(language).translate(str(sentence))


def translated_parts(parts: Sequence[Part]) -> tuple[Part, ...]:
    """Return a sentence of the audit log in the language of this request, its parts in that language's order.
    The template filter ``translated_parts``."""
    language = choice.language()
    if language == SOURCE or any(_OPEN in part.text or _CLOSE in part.text for part in parts):
        return tuple(parts)
    # What a sentence names is nobody's word: a sign stands for it until the words are translated.
    text = "".join(f"{_OPEN}{i}{_CLOSE}" if part.kind else part.text for i, part in enumerate(parts))
    shown = sentences(language).translate(text)
    pieces = _SIGN.split(shown)
    return tuple(
        parts[int(piece)] if index % 2 else Part(piece) for index, piece in enumerate(pieces) if piece
    )


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
