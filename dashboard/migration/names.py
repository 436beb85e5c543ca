"""Free names beside an object that stays: ``photo (from old disk).jpg``, then ``... 2``."""

from __future__ import annotations

from collections.abc import Iterator

MOST = 100
"""Names to try before giving up."""


def beside(key: str, source_name: str) -> Iterator[str]:
    """Names for a second copy of ``key``, best first. The folder and the extension stay."""
    folder, slash, name = key.rpartition("/")
    stem, dot, extension = name.rpartition(".")
    if not stem:
        stem, dot, extension = name, "", ""
    label = source_name.replace("/", "-")
    for number in range(1, MOST + 1):
        more = f" {number}" if number > 1 else ""
        yield f"{folder}{slash}{stem} (from {label}{more}){dot}{extension}"
