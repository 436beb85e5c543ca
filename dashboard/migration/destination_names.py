"""Names at the destination: alternatives for "keep both" (``photo (from old disk).jpg``, then ``... 2``), and
collisions of names that the destination treats as the same: the first keeps the name, later ones are refused.

The ledger stores each name under its folded form, so that memory use does not grow with the number of names.
Folders count as well: where “Photos/” is “photos/”, an object would be stored in the folder that was created
first and be listed under its name.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dashboard.migration.ledger import Ledger
from dashboard.storage.inspection.name_rules import NameRules

MAX_ALTERNATIVES = 100
"""Alternatives to try before giving up."""
_MAX_REMEMBERED_FOLDERS = 20_000
"""Reserved folders that are kept in memory."""


def alternative_names(key: str, source_name: str) -> Iterator[str]:
    """Yield names for a second copy of ``key``, best first. The folder and the extension stay."""
    folder, slash, name = key.rpartition("/")
    stem, dot, extension = name.rpartition(".")
    if not stem:
        stem, dot, extension = name, "", ""
    label = source_name.replace("/", "-")
    for number in range(1, MAX_ALTERNATIVES + 1):
        more = f" {number}" if number > 1 else ""
        yield f"{folder}{slash}{stem} (from {label}{more}){dot}{extension}"


class CollisionCheck:
    """Finds names that collide under the destination's name rules. Used by one thread."""

    def __init__(self, rules: NameRules, ledger: Ledger) -> None:
        self._rules = rules
        self._ledger = ledger
        self._folders: set[str] = set()

    def reserve(self, keys: Sequence[str]) -> set[str]:
        """Reserve these names in their order; return the keys that collide with an earlier name."""
        waiting = [list(self._new_prefixes(key)) for key in keys]
        taken: set[str] = set()
        # One level at a time: a name below a refused folder must not be reserved.
        while units := {unit: self._rules.normalize(unit) for unit in (row.pop(0) for row in waiting if row)}:
            held = self._ledger.reserve_names([(folded, unit) for unit, folded in units.items()])
            met = {unit for unit, folded in units.items() if held[folded] != unit}
            taken |= met
            waiting = [row for row in waiting if row]
            waiting = [row for row in waiting if not any(unit in met for unit in _path_prefixes(row[0]))]
            self._folders |= {unit for unit in units if unit.endswith("/") and unit not in met}
        if len(self._folders) > _MAX_REMEMBERED_FOLDERS:
            self._folders.clear()
        return {key for key in keys if any(unit in taken for unit in _path_prefixes(key))}

    def _new_prefixes(self, key: str) -> Iterator[str]:
        return (unit for unit in _path_prefixes(key) if unit not in self._folders)


def _path_prefixes(key: str) -> Iterator[str]:
    """Yield a key's folders, each ending in a slash, then the key."""
    at = key.find("/")
    while at >= 0:
        yield key[: at + 1]
        at = key.find("/", at + 1)
    yield key
