"""Message ids with placeholders, and finding their values in a finished sentence.

An id is the sentence as the code writes it: ``“{name}” holds {count:,} objects.`` Matching looks for the
literal parts from left to right, so its time is linear in the length of the text whatever the text holds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_PIECE = re.compile(r"\{\{|\}\}|\{([a-z_0-9]+)(?::([^{}]*))?\}")
_NUMBER = re.compile(r"-?\d{1,3}(?:,\d{3})*")


@dataclass(frozen=True, slots=True)
class Placeholder:
    """Where a value stands. ``number``: written with thousands separators. ``quoted``: in “quotation marks”,
    so it is somebody's own text."""

    name: str
    number: bool = False
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class Pattern:
    """An id in its parts: there is one literal more than there are placeholders."""

    literals: tuple[str, ...]
    placeholders: tuple[Placeholder, ...]

    @property
    def shape(self) -> str:
        """The id without the names of its placeholders: what two ids of the same sentences share."""
        signs = ("{,}" if each.number else "{}" for each in self.placeholders)
        return "".join(literal + sign for literal, sign in zip(self.literals, (*signs, ""), strict=True))

    @property
    def weight(self) -> int:
        """How much of a sentence is literal: of two ids that match, the one with more says more."""
        return sum(len(literal) for literal in self.literals)

    def match(self, text: str) -> dict[str, str] | None:
        """Return the values in a text; None if it is no such sentence."""
        first, *inner = self.literals
        if not self.placeholders:
            return {} if text == first else None
        last = inner.pop()
        end = len(text) - len(last)
        at = len(first)
        if end < at or not text.startswith(first) or not text.endswith(last):
            return None
        values = {}
        for index, placeholder in enumerate(self.placeholders):
            start = at
            # A value has at least one character, unless it only completes a word: “the sign-in{code}.”
            least = 0 if self.literals[index][-1:].isalnum() else 1
            if index < len(inner):
                stop = text.find(inner[index], start + least, end) if inner[index] else -1
                if stop < 0:
                    return None
                at = stop + len(inner[index])
            else:
                stop = end
            value = text[start:stop]
            if len(value) < least or (placeholder.number and not _NUMBER.fullmatch(value)):
                return None
            values[placeholder.name] = value
        return values


def parse(message: str) -> Pattern:
    """Take an id or its translation apart. Doubled braces are braces."""
    literals, placeholders = [""], []
    at, depth = 0, 0
    for found in _PIECE.finditer(message):
        before = message[at : found.start()]
        depth += before.count("“") - before.count("”")
        literals[-1] += before
        at = found.end()
        if found[1] is None:
            literals[-1] += found[0][0]
        else:
            placeholders.append(Placeholder(found[1], found[2] == ",", depth > 0))
            literals.append("")
    literals[-1] += message[at:]
    return Pattern(tuple(literals), tuple(placeholders))
