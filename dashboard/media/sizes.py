"""Numbers of bytes as people write and read them, in decimal units."""

from __future__ import annotations

import re

from dashboard.errors import InvalidInput

KB, MB, GB = 1000, 1000**2, 1000**3
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB")
_FACTORS: dict[str, int] = {
    "": 1,
    **{unit.lower(): 1000**power for power, unit in enumerate(_UNITS)},
    **{unit[0].lower(): 1000**power for power, unit in enumerate(_UNITS) if power},
    **{f"{unit[0].lower()}ib": 1024**power for power, unit in enumerate(_UNITS) if power},
}
_WRITTEN = re.compile(r"\s*(\d{1,18}(?:\.\d{1,9})?)\s*([a-z]{0,3})\s*\Z", re.ASCII)


def format_size(count: float) -> str:
    """Bytes in decimal units with at least two significant digits: ``4.1 MB``, ``412 GB``."""
    unit = 0
    # 999.5 would print as “1000”: it belongs to the next unit.
    while count >= 999.5 and unit < len(_UNITS) - 1:
        count /= 1000
        unit += 1
    digits = 1 if unit and count < 9.95 else 0
    return f"{count:.{digits}f} {_UNITS[unit]}"


def parse_bytes(value: object, *, field: str) -> int:
    """Return a number of bytes, given as one or as text: ``20 MB``, ``1.5 GiB``, ``500000``.

    Raises ``InvalidInput`` for ``field`` if it is neither.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str):
        found = _WRITTEN.match(value.lower())
        if found is not None and found[2] in _FACTORS:
            whole, _, fraction = found[1].partition(".")
            factor = _FACTORS[found[2]]
            return int(whole) * factor + int(int(fraction or "0") * factor // 10 ** len(fraction))
    raise InvalidInput(field, f"“{value}” is not a size.", remedy="Write 500 kB, 20 MB or 5 GB.")
