"""``python -m bench.scale``: what a migration of very many objects takes, beside what we aim at."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence

from bench.report import machine
from bench.scale.planning import Planned

KEYS = 1_000_000
MAX_SECONDS, MAX_MB = 60.0, 200.0
"""For a million keys on either side."""
ORDERS = {
    "sorted": "both listings in order, merged",
    "folders": "a listing that is not in order, as SeaweedFS's, paired through an index",
}


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """What to measure."""
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    parser.add_argument("--keys", type=int, default=KEYS, help=f"keys on either side ({KEYS})")
    parser.add_argument("--quick", action="store_true", help="20,000 keys: does it run?")
    options = parser.parse_args(given)
    if options.quick:
        options.keys = 20_000
    return options


def main(given: Sequence[str] | None = None) -> int:
    """The program; returns its exit status."""
    options = arguments(given)
    rows = {order: planned(options.keys, order) for order in ORDERS}
    print("\n".join(report(options.keys, rows)))
    return 0


def planned(keys: int, order: str) -> Planned:
    """Plan in a fresh process."""
    command = [sys.executable, "-m", "bench.scale.planning", str(keys), order]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return Planned(**json.loads(done.stdout))


def report(keys: int, rows: dict[str, Planned]) -> list[str]:
    """The table, with the aims."""
    text = [f"# Planning {keys:,} x {keys:,} keys into a ledger", "", f"{machine()}.", ""]
    text += ["| listings | wall (s) | CPU (s) | keys/s | peak of the process (MB) | aims |", "|---" * 6 + "|"]
    for order, row in rows.items():
        peak = row.peak / 1e6
        numbers = f"{row.wall:.1f} | {row.cpu:.1f} | {keys / row.wall:,.0f} | {peak:.0f}"
        text.append(f"| {ORDERS[order]} | {numbers} | {_judged(keys, row.wall, peak)} |")
    return text


def _judged(keys: int, wall: float, peak: float) -> str:
    if keys != KEYS:
        return "for a million keys only"
    missed = [f"**at most {MAX_SECONDS:.0f} s**"] * (wall > MAX_SECONDS)
    missed += [f"**at most {MAX_MB:.0f} MB**"] * (peak > MAX_MB)
    return f"missed: {', '.join(missed)}" if missed else f"met: {MAX_SECONDS:.0f} s, {MAX_MB:.0f} MB"


if __name__ == "__main__":
    sys.exit(main())
