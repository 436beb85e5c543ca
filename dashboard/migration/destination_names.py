"""Names at the destination: free ones beside an object that stays (``photo (from old disk).jpg``, then
``... 2``), and those that the destination would take for one: the first keeps it, the later are refused.

The ledger holds each name under its folded form, so that millions are told apart in memory that does not
grow. Folders count as well: where “Photos/” is “photos/”, an object would lie in the folder that was there
first and be listed under its name.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dashboard.migration.ledger import Ledger
from dashboard.storage.inspection.name_rules import NameRules

MAX_ALTERNATIVES = 100
"""Names to try before giving up."""
_MAX_REMEMBERED_FOLDERS = 20_000
"""Folders that are not looked up again."""


def alternative_names(key: str, source_name: str) -> Iterator[str]:
    """Names for a second copy of ``key``, best first. The folder and the extension stay."""
    folder, slash, name = key.rpartition("/")
    stem, dot, extension = name.rpartition(".")
    if not stem:
        stem, dot, extension = name, "", ""
    label = source_name.replace("/", "-")
    for number in range(1, MAX_ALTERNATIVES + 1):
        more = f" {number}" if number > 1 else ""
        yield f"{folder}{slash}{stem} (from {label}{more}){dot}{extension}"


class CollisionCheck:
    """Tells names apart by the destination's rules. Used by one thread, in the order in which names come."""

    def __init__(self, rules: NameRules, ledger: Ledger) -> None:
        self._rules = rules
        self._ledger = ledger
        self._folders: set[str] = set()

    def reserve(self, keys: Sequence[str]) -> set[str]:
        """Give these names their places; returns those of the keys that would meet an earlier name."""
        waiting = [list(self._new_prefixes(key)) for key in keys]
        taken: set[str] = set()
        # A level at a time: nothing below a refused folder takes a place away.
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
    """A key's folders, each ending in a slash, and the key."""
    at = key.find("/")
    while at >= 0:
        yield key[: at + 1]
        at = key.find("/", at + 1)
    yield key
