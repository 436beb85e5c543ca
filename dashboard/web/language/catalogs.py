"""The catalogs of translations: read from their ``.po`` files when a language is first used, and kept.

A checkout and an installed wheel need no compiled file. ``messages.po`` holds what templates, scripts and
pages say themselves.
"""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from gettext import GNUTranslations, NullTranslations
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

FOLDER = Path(__file__).resolve().parents[1] / "translations"
SOURCE = "en"
"""The language that everything is written in: it needs no catalog."""
_SCRIPTS = "static/"
_reading = threading.Lock()
_known: dict[str, LanguageCatalog] = {}


@dataclass(frozen=True, slots=True)
class LanguageCatalog:
    """One language's translations. ``scripts``: what the scripts of pages say, each with its forms;
    ``digest`` changes with them."""

    translations: NullTranslations
    scripts: Mapping[str, tuple[str, ...]]
    digest: str


def catalog(language: str) -> LanguageCatalog:
    """Return the translations into a language of ``settings.LANGUAGES``. Thread-safe; reads a file the first
    time."""
    if language not in _known:
        with _reading:
            _known.setdefault(language, _read(language))
    return _known[language]


def _read(language: str) -> LanguageCatalog:
    if language == SOURCE:
        return LanguageCatalog(NullTranslations(), {}, "")
    found = read_catalog(FOLDER / language / "LC_MESSAGES" / "messages.po", language)
    compiled = io.BytesIO()
    write_mo(compiled, found)
    compiled.seek(0)
    scripts = {
        _forms(message.id)[0]: _forms(message.string)
        for message in found
        if message.id and any(name.startswith(_SCRIPTS) for name, _ in message.locations)
    }
    digest = hashlib.sha256(repr(sorted(scripts.items())).encode()).hexdigest()[:12]
    return LanguageCatalog(GNUTranslations(compiled), scripts, digest)


def read_catalog(path: Path, language: str) -> Catalog:
    """Read a ``.po`` file. Raises ``OSError`` and ``babel.messages.pofile.PoFileError``."""
    with path.open("rb") as file:
        return read_po(file, locale=language, abort_invalid=True)


def _forms(text: str | tuple[str, ...] | list[str] | None) -> tuple[str, ...]:
    return (text,) if isinstance(text, str) else tuple(text or ())
