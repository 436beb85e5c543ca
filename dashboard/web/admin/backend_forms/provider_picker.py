"""The providers to choose from: in groups, each with a symbol of its own, found by name and other words."""

from __future__ import annotations

from dataclasses import dataclass

from dashboard.storage.options import Preset
from dashboard.storage.registry import PRESETS, driver_type, icon_of

MAX_QUERY = 100
_ORDER = ("On this server", "Object storage", "File servers")
"""The groups in their order; those of other packages come last."""


@dataclass(frozen=True, slots=True)
class Card:
    """A provider to choose. ``icon``: a symbol of ``static/icons.svg``; ``words``: what a search looks in."""

    name: str
    label: str
    icon: str
    words: str


@dataclass(frozen=True, slots=True)
class CardGroup:
    """Providers of one family."""

    title: str
    cards: tuple[Card, ...]


@dataclass(frozen=True, slots=True)
class Picker:
    """All providers that fit ``query``; ``count``: how many there are in all."""

    query: str
    count: int
    groups: tuple[CardGroup, ...]


def picker(query: str = "") -> Picker:
    """Return the providers that have, for each word of the query, a word that begins with it."""
    query = query.strip()[:MAX_QUERY]
    found: dict[str, list[Card]] = {}
    for preset in PRESETS.values():
        card = card_of(preset)
        if all(any(each.startswith(word) for each in card.words.split()) for word in query.lower().split()):
            found.setdefault(driver_type(preset.driver).family, []).append(card)
    titles = sorted(found, key=lambda title: _ORDER.index(title) if title in _ORDER else len(_ORDER))
    return Picker(query, len(PRESETS), tuple(CardGroup(title, tuple(found[title])) for title in titles))


def card_of(preset: Preset) -> Card:
    """Return the card of a provider."""
    kind = driver_type(preset.driver)
    words = f"{preset.label} {preset.name} {preset.driver} {preset.keywords} {kind.family}".lower()
    for mark in "_-()":
        words = words.replace(mark, " ")
    return Card(preset.name, preset.label, icon_of(preset.name), " ".join(dict.fromkeys(words.split())))
