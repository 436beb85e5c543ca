"""Translation of sentences that are made elsewhere: labels, states, reasons and remedies of services."""

from __future__ import annotations


def translated(sentence: str) -> str:
    """Return a finished English sentence in the language of this request; as it is if no translation is
    known. The template filter ``translated``."""
    return sentence
