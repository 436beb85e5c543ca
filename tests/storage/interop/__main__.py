"""``make interop``: round trips and the conformance suite over servers of other makes, as a table.

Ends with 1 when anything failed. What cannot be started here is skipped, with the reason in the table.
"""

from __future__ import annotations

import re
import sys
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from tests.servers.foreign import catalogue

FOLDER = Path(__file__).resolve().parents[1]
_OF_SERVER = re.compile(
    r"\[(?:.*-)?({})(?:-.*)?\]\Z".format("|".join(sorted(catalogue.SERVERS, key=len)[::-1]))
)


class Tally:
    """A pytest plugin that counts what became of the tests of each server."""

    def __init__(self) -> None:
        self.seen: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
        """Server, then part of the table, then outcome."""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Called for each phase of each test, in the main process also for what others ran."""
        found = _OF_SERVER.search(report.nodeid)
        if found and (report.when == "call" or report.outcome != "passed"):
            file = Path(report.nodeid.partition("::")[0])
            part = "conformance" if file.parent.name == "contract" else "round trips"
            self.seen[found[1]][part][report.outcome] += 1


def table(tally: Tally) -> str:
    """Server x result."""
    rows = [["server", "round trips", "conformance"]]
    for name in catalogue.SERVERS:
        if reason := catalogue.why_not(name):
            rows.append([name, f"skipped: {reason}", ""])
            continue
        rows.append([name, *(_said(tally.seen[name][part]) for part in ("round trips", "conformance"))])
    widths = [max(len(row[column]) for row in rows if row[-1]) for column in range(3)]
    lines = ("  ".join(map(str.ljust, row, widths)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def _said(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items())) or "not run"


def main() -> int:
    """Run the tests, print the table."""
    tally = Tally()
    what = sys.argv[1:] or [str(FOLDER / name) for name in ("interop", "contract")]
    code = pytest.main([*what, "-m", "interop", "-n", "2", "--dist", "worksteal", "-q"], plugins=[tally])
    print(f"\n{table(tally)}")
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
