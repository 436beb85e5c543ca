"""The glossary in docs/architecture.md: a word that was replaced does not come back."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "dashboard"
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def rows(header: str) -> Iterator[list[str]]:
    """The rows of the table with this header."""
    table = PAGE.partition(header)[2].partition("\n\n")[0]
    for line in table.splitlines()[2:]:
        yield [cell.strip() for cell in line.strip("|").split(" | ")]


def names_in(path: Path, text: str) -> set[str]:
    """Every name that a module defines or uses, its own among them."""
    fields = ("id", "attr", "arg", "name", "asname")
    names = (getattr(node, field, None) for node in ast.walk(ast.parse(text)) for field in fields)
    return {path.stem, *(part for name in names if isinstance(name, str) for part in name.split("."))}


def test_a_word_that_was_replaced_does_not_come_back() -> None:
    sources = {path: path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")}
    found = []
    for words, instead, where in rows("| not | but | where |"):
        folders = [PACKAGE / folder for folder in re.findall(r"`([^`]+)`", where)] or [PACKAGE]
        names = [word.replace("*", r"\w*") for word in re.findall(r"`([^`]+)`", words)]
        name = re.compile("|".join(rf"\b{word}\b" for word in names) or "(?!)")
        phrases = [word.replace(" ", r"\s+") for word in re.findall(r"“([^”]+)”", words)]
        phrase = re.compile("|".join(rf"\b{word}\b" for word in phrases) or "(?!)", re.IGNORECASE)
        for path, text in sources.items():
            if not any(map(path.is_relative_to, folders)):
                continue
            again = set(phrase.findall(text))
            if name.search(text) or name.fullmatch(path.stem):
                again |= set(filter(name.fullmatch, names_in(path, text)))
            found += [f"{path.relative_to(ROOT)}: {word}; say {instead}" for word in sorted(again)]
    assert found == []


NOT_UNDERSTOOD = (
    "Let others stand in",
    "Read-only and standing in",
    "Seconds without asking",
    "Stop at it",
    "This is not yours to do",
    "could not be found out",
    "never leaves this server again",
    "unseen and paid for",
)
"""What pages once said."""


def test_a_sentence_that_nobody_understood_does_not_come_back() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {sentence}"
        for path in (
            *PACKAGE.rglob("*.py"),
            *(ROOT / "templates").rglob("*.html"),
            *(ROOT / "static").glob("*.js"),
        )
        for text in (" ".join(path.read_text(encoding="utf-8").replace('"\n', "").split()),)
        for sentence in NOT_UNDERSTOOD
        if sentence.lower() in text.lower()
    ]
    assert found == []


def test_no_word_is_in_the_glossary_twice() -> None:
    words = [word for cell, *_ in rows("| word | meaning |") for word in cell.split(", ")]
    assert len(words) == len(set(words)) > 20
