"""Cells of a CSV file (RFC 4180) that is safe to open in a spreadsheet."""

from __future__ import annotations

import re
from collections.abc import Iterable

from dashboard.services.text import without_controls

_FORMULA = re.compile("(^|[;|])(?=\\s*[-=+@\uff1d\uff0b\uff0d\uff20\ufe62\ufe63\ufe66\ufe6b])")
"""The start of a formula in a cell, or in a part that a spreadsheet with another separator reads as a cell.
Some spreadsheets also accept full-width signs."""
_PLAIN = re.compile("[A-Za-z0-9_./][A-Za-z0-9_./ :-]*").fullmatch
"""Text that needs no look at its parts: no separators, and no sign of a formula at its start."""


def safe_cell(cell: str) -> str:
    """Disarm a cell that spreadsheets would run as a formula with an apostrophe (OWASP, CSV injection).

    Line breaks, other control characters and bytes that are not text are escaped: every row is one line.
    """
    if not cell or _PLAIN(cell):
        return cell
    return _FORMULA.sub(r"\1'", without_controls(cell))


def csv_line(cells: Iterable[object]) -> str:
    """One line, every cell quoted, texts disarmed; numbers as they are."""
    texts = (safe_cell(cell) if isinstance(cell, str) else f"{cell}" for cell in cells)
    return ",".join(f'"{text.replace(chr(34), chr(34) * 2)}"' for text in texts) + "\r\n"
