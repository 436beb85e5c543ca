"""Sentences that other rooms made, in another language.

Services, drivers and migrations write English, and so do the databases: what was recorded last year by
another person's click is shown in the language of its reader. So a finished sentence is taken apart
here: it is looked up as it stands, then among the ids with placeholders, then sentence by sentence. What is
not known as a whole stays as it was written; nothing is translated by halves.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache

from dashboard.web.language.patterns import Pattern, Placeholder, parse

MAX_LENGTH = 4_000
"""Longer texts are nobody's sentence."""
_MEMORY = 4_096
_MAX_DEPTH = 4
_MAX_PARTS = 24
_KEY = 5
_BORDER = re.compile(r"(?<=[.!?:;…])\s+|(?<=[.!?]\))\s+")
_PROSE = re.compile(r"[A-Za-z’'-]{2,},? [a-z’'-]{2,}|(?<!\S)[a-z]{3,}(?=[\s.,;:!?]|$)")
"""What a value is not if it is a number, an address or a name: an English word that is not known."""
_MEASURE = re.compile(
    r"-?\d{1,3}(?:,\d{3})*(?:\.\d+)? ?(?:[kMGTPE]?i?B(?:/s)?|m?s|min|h|%)|\d{1,3}(?:,\d{3})+"
)
_LIST = re.compile(r", and |, | and | or |; ")
OWN_TEXT = frozenset(
    {
        "address", "arn", "attribute", "backend", "bucket", "cause", "container",
        "destination", "device", "file", "file_at", "file_of", "folder", "folder_of", "home", "host",
        "instance", "key", "migration", "name", "named", "one", "others", "path", "person", "prefix",
        "profile", "root", "served_by", "source", "stand_in", "strerror", "to", "url", "user",
        "username",
    }
)  # fmt: skip
"""Names of placeholders whose values are somebody's own text, or a machine's: never translated."""


class Sentences:
    """A catalog's ids and translations, ready for finished sentences. Thread-safe.

    ``digits``: how the language writes ``1,234.5``: its two signs.
    """

    def __init__(self, messages: Mapping[str, str], *, digits: str = ",.") -> None:
        self._exact: dict[str, str] = {}
        self._patterns: dict[tuple[str, str], list[tuple[Pattern, Pattern]]] = {}
        self._signs = str.maketrans(",.", digits)
        for message, translation in messages.items():
            pattern = parse(message)
            if pattern.placeholders:
                pair = (pattern, parse(translation))
                self._patterns.setdefault(_address(pattern), []).append(pair)
            else:
                self._exact[pattern.literals[0]] = parse(translation).literals[0]
        for pairs in self._patterns.values():
            pairs.sort(key=lambda pair: -pair[0].weight)
        self._remembered = lru_cache(_MEMORY)(self._translate)

    def translate(self, text: str) -> str:
        """Return a sentence, label or list of sentences in this language; unchanged if it is not known."""
        if not text or len(text) > MAX_LENGTH:
            return text
        return self._remembered(text)

    def values_and_translation(self, text: str) -> tuple[dict[str, str], Pattern] | None:
        """Return what a sentence holds in its placeholders, and its translation; None if it is not known."""
        for pattern, translation in self._candidates(text):
            values = pattern.match(text)
            if values is not None:
                return values, translation
        return None

    def _translate(self, text: str) -> str:
        core = text.strip()
        found = self._all(core, 0) if core else None
        if found is None:
            return text
        start = text.index(core)
        return text[:start] + found + text[start + len(core) :]

    def _all(self, text: str, depth: int) -> str | None:
        found = self._one(text, depth)
        return self._several(text, depth) if found is None else found

    def _one(self, text: str, depth: int) -> str | None:
        exact = self._exact.get(text)
        if exact is not None:
            return exact
        for pattern, translation in self._candidates(text):
            values = pattern.match(text)
            if values is None:
                continue
            filled = self._fill(pattern, translation, values, depth)
            if filled is not None:
                return filled
        return None

    def _candidates(self, text: str) -> Iterator[tuple[Pattern, Pattern]]:
        yield from self._patterns.get((text[:_KEY], ""), ())
        yield from self._patterns.get(("", text[-_KEY:]), ())
        yield from self._patterns.get(("", ""), ())

    def _several(self, text: str, depth: int) -> str | None:
        """A text of several sentences, if each of them is known."""
        borders = [0, *(found.end() for found in _BORDER.finditer(text)), len(text)]
        if not 2 < len(borders) <= _MAX_PARTS:
            return None
        done: list[str] = []
        at = 0
        while at < len(borders) - 1:
            for end in range(len(borders) - 1, at, -1):
                if (at, end) == (0, len(borders) - 1):
                    continue
                piece = text[borders[at] : borders[end]]
                found = self._one(piece.strip(), depth)
                if found is not None:
                    done.append(found + piece[len(piece.rstrip()) :])
                    at = end
                    break
            else:
                return None
        return "".join(done)

    def _fill(
        self, pattern: Pattern, translation: Pattern, values: Mapping[str, str], depth: int
    ) -> str | None:
        filled = {}
        for placeholder in pattern.placeholders:
            value = self.value(placeholder, values[placeholder.name], depth + 1)
            if value is None:
                return None
            filled[placeholder.name] = value
        parts = [translation.literals[0]]
        for placeholder, literal in zip(translation.placeholders, translation.literals[1:], strict=True):
            parts += (filled[placeholder.name], literal)
        return "".join(parts)

    def value(self, placeholder: Placeholder, text: str, depth: int = 1) -> str | None:
        """What a placeholder holds, in this language; None for English that is not known."""
        if placeholder.number:
            return text.translate(self._signs)
        if placeholder.quoted or placeholder.name.rstrip("0123456789") in OWN_TEXT:
            return text
        if depth > _MAX_DEPTH:
            return None
        core = text.strip()
        if _MEASURE.fullmatch(core):
            return text.translate(self._signs)
        found = self._all(core, depth)
        if found is None and (pieces := _LIST.split(core))[1:] and len(pieces) <= _MAX_PARTS:
            found = self._listed(core, pieces, depth)
        if found is None:
            return None if _PROSE.search(core) else text
        return text.replace(core, found, 1)

    def _listed(self, text: str, pieces: list[str], depth: int) -> str | None:
        translated = []
        for piece in pieces:
            found = self._one(piece, depth + 1)
            if found is None and _PROSE.search(piece):
                return None
            translated.append(piece if found is None else found)
        joined = [translated[0]]
        for sign, piece in zip(_LIST.findall(text), translated[1:], strict=True):
            word = sign.strip(",; ")
            joined += (f" {self._exact.get(word, word)} " if word else sign, piece)
        return "".join(joined)


def _address(pattern: Pattern) -> tuple[str, str]:
    """Where to look for a pattern: under its first letters, its last ones, or among those with neither."""
    first, last = pattern.literals[0], pattern.literals[-1]
    if len(first) >= _KEY:
        return first[:_KEY], ""
    return ("", last[-_KEY:]) if len(last) >= _KEY else ("", "")
