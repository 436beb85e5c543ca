"""``python -m bench.scale``: what a migration of very many objects takes, and what several carriers
gain, beside what we aim at."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from bench.report import machine
from bench.scale.carrying import AT_ONCE, WAIT_SECONDS, Carried
from bench.scale.planning import Planned

KEYS = 1_000_000
MAX_SECONDS, MAX_MB = 60.0, 200.0
"""For a million keys on either side."""
ORDERS = {
    "sorted": "both listings in order, merged",
    "folders": "a listing that is not in order, as SeaweedFS's, paired through an index",
}
CARRIERS = {1: 1.0, 2: 1.9, 4: 3.6}
"""How many, and how many times the rate of one they should have."""
SECONDS = 20
MAX_CARRYING_MB = 250.0
"""For two carriers together."""


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """What to measure."""
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    parser.add_argument("--keys", type=int, default=KEYS, help=f"keys on either side ({KEYS})")
    parser.add_argument(
        "--seconds", type=int, default=SECONDS, help=f"for each number of carriers ({SECONDS})"
    )
    parser.add_argument("--only", choices=("planning", "carriers"), help="one of the two parts")
    parser.add_argument("--quick", action="store_true", help="20,000 keys, 3 seconds: does it run?")
    options = parser.parse_args(given)
    if options.quick:
        options.keys, options.seconds = 20_000, 3
    return options


def main(given: Sequence[str] | None = None) -> int:
    """The program; returns its exit status."""
    options = arguments(given)
    if options.only != "carriers":
        rows = {order: planned(options.keys, order) for order in ORDERS}
        print("\n".join(report(options.keys, rows)))
    if options.only != "planning":
        measured = {carriers: carried(carriers, options.seconds) for carriers in CARRIERS}
        print("\n".join(carriers_report(options.seconds, measured)))
    return 0


def planned(keys: int, order: str) -> Planned:
    """Plan in a fresh process."""
    return Planned(**_measured("planning", str(keys), order))


def carried(carriers: int, seconds: int) -> Carried:
    """Carry in fresh processes."""
    return Carried(**_measured("carrying", "run", str(carriers), str(seconds)))


def _measured(module: str, *words: str) -> dict[str, Any]:
    command = [sys.executable, "-m", f"bench.scale.{module}", *words]
    found: dict[str, Any] = json.loads(
        subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    )
    return found


def report(keys: int, rows: dict[str, Planned]) -> list[str]:
    """The table, with the aims."""
    text = [f"# Planning {keys:,} x {keys:,} keys into a ledger", "", f"{machine()}.", ""]
    text += ["| listings | wall (s) | CPU (s) | keys/s | peak of the process (MB) | aims |", "|---" * 6 + "|"]
    for order, row in rows.items():
        peak = row.peak / 1e6
        numbers = f"{row.wall:.1f} | {row.cpu:.1f} | {keys / row.wall:,.0f} | {peak:.0f}"
        text.append(f"| {ORDERS[order]} | {numbers} | {_judged(keys, row.wall, peak)} |")
    return text


def carriers_report(seconds: int, rows: dict[int, Carried]) -> list[str]:
    """The table, with the aims."""
    text = [
        f"# One migration with several carriers, to a server that only waits {1000 * WAIT_SECONDS:.0f} ms",
        "",
        f"{machine()}. {AT_ONCE} objects at once for each carrier, {seconds} s.",
        "",
    ]
    text += [
        "| carriers | objects/s | of one | with the start | CPU (s) | peak (MB) | aims |",
        "|---" * 7 + "|",
    ]
    for carriers, row in rows.items():
        times, peak = row.rate / rows[1].rate, row.peak / 1e6
        numbers = f"{row.rate:,.0f} | {times:.2f}x | {row.whole:,.0f} | {row.cpu:.1f} | {peak:.0f}"
        text.append(f"| {carriers} | {numbers} | {_judged_carriers(carriers, times, peak)} |")
    return text


def _judged_carriers(carriers: int, times: float, peak: float) -> str:
    least = CARRIERS[carriers]
    if carriers == 1:
        return ""
    missed = [f"**at least {least}x**"] * (times < least)
    missed += [f"**at most {MAX_CARRYING_MB:.0f} MB**"] * (carriers == 2 and peak > MAX_CARRYING_MB)
    met = f"met: {least}x" + (f", {MAX_CARRYING_MB:.0f} MB" if carriers == 2 else "")
    return f"missed: {', '.join(missed)}" if missed else met


def _judged(keys: int, wall: float, peak: float) -> str:
    if keys != KEYS:
        return "for a million keys only"
    missed = [f"**at most {MAX_SECONDS:.0f} s**"] * (wall > MAX_SECONDS)
    missed += [f"**at most {MAX_MB:.0f} MB**"] * (peak > MAX_MB)
    return f"missed: {', '.join(missed)}" if missed else f"met: {MAX_SECONDS:.0f} s, {MAX_MB:.0f} MB"


if __name__ == "__main__":
    sys.exit(main())
