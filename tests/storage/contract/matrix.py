"""``make contract``: the conformance suite over every backend, as a table.

Prints it and writes docs/backends.md. A behaviour is one contract test; each of its cases has to pass, or to
raise ``Unsupported`` with a reason where the driver cannot do it. Ends with 1 when anything failed.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from dashboard.storage.powers import POWERS
from tests.storage.contract.table import DRIVERS
from tests.storage.objects import REFUSED

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "backends.md"
SUITES: Mapping[str, str] = {
    "test_objects.py": "Objects",
    "test_ranges.py": "Parts of objects",
    "test_facade.py": "Folders, addresses, visibility",
    "test_powers.py": "Versions, tags, tiers, settings",
    "test_keys.py": "Keys and listings",
}
TEST_OF_POWERS = "test_a_power_is_there_or_its_absence_is_explained"
RAISES = "raises Unsupported: "
SAME_DRIVER = {"nextcloud": "webdav", "ftps": "ftp"}
"""Rows that are another row's driver on another server."""

Seen = dict[tuple[str, str, str], dict[str, list[str]]]
"""Suite, behaviour and backend, to what its cases did: ``pass``, ``FAIL`` or why not, and which."""


class Matrix:
    """A pytest plugin that remembers what every contract test did on every backend."""

    def __init__(self) -> None:
        self.seen: Seen = defaultdict(lambda: defaultdict(list))
        self.powers: dict[str, dict[str, str]] = defaultdict(dict)
        """Backend and power, to what became of it."""

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(self, item: pytest.Function, call: Any) -> Iterator[Any]:
        """Called after set-up, call and tear-down of each case."""
        report = yield
        params = dict(getattr(getattr(item, "callspec", None), "params", {}))
        backend = params.pop("driver", None) or params.pop("exact_driver", None)
        if backend is not None and (report.when == "call" or report.outcome != "passed"):
            key = (item.path.name, item.originalname, backend)
            self.seen[key][_said(report)].append(", ".join(map(str, params.values())))
            if report.when == "call":
                self.powers[backend] |= _powers(report)
        return report


def _powers(report: pytest.TestReport) -> dict[str, str]:
    return {str(name): str(said) for name, said in report.user_properties if name != REFUSED}


def _said(report: pytest.TestReport) -> str:
    if report.outcome == "passed":
        return next((RAISES + str(why) for name, why in report.user_properties if name == REFUSED), "pass")
    if report.outcome == "failed":
        return "FAIL"
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return reason.removeprefix("Skipped: ")


class BackendsPage:
    """The text of docs/backends.md. Reasons become numbered notes."""

    def __init__(self, matrix: Matrix, backends: Sequence[str]) -> None:
        self._seen = matrix.seen
        self._by_backend = matrix.powers
        self._backends = backends
        self._notes: list[str] = []

    def text(self) -> str:
        """All of it."""
        tables = [self._powers(), *(self._suite(name, title) for name, title in SUITES.items())]
        notes = [f"{number}. {note}" for number, note in enumerate(self._notes, start=1)]
        return "\n".join([HEAD, *tables, "## Notes\n", *notes, ""])

    def _powers(self) -> str:
        rows = [["backend", *(power.label for power in POWERS.values())]]
        for backend in self._backends:
            did = self._by_backend.get(backend, {})
            cells = [self._cell({did.get(power, "not asked"): [""]}) for power in POWERS]
            rows.append([f"`{backend}`", *cells])
        return f"## Powers\n\n{_table(rows)}"

    def _suite(self, suite: str, title: str) -> str:
        names = dict.fromkeys(n for s, n, _ in self._seen if s == suite and n != TEST_OF_POWERS)
        rows = [["behaviour", *(f"`{backend}`" for backend in self._backends)]]
        for name in names:
            cells = [self._behaviour(suite, name, backend) for backend in self._backends]
            rows.append([name.removeprefix("test_").replace("_", " "), *cells])
        return f"## {title}\n\n{_table(rows)}"

    def _behaviour(self, suite: str, name: str, backend: str) -> str:
        did = self._seen.get((suite, name, backend))
        if did:
            return self._cell(did)
        like = SAME_DRIVER.get(backend, backend.rpartition(" ")[2])
        asked = self._seen.get((suite, name, like))
        return f"as `{like}`" if asked and like != backend else "not asked"

    def _cell(self, did: Mapping[str, Sequence[str]]) -> str:
        if "FAIL" in did:
            return "**FAIL**"
        words = ["pass"] if "pass" in did else []
        for said in did:
            if said.startswith(RAISES):
                words.append(f"Unsupported {self._note(said.removeprefix(RAISES))}")
            elif said != "pass":
                words.append(f"not run {self._note(said)}")
        return ", ".join(words)

    def _note(self, reason: str) -> str:
        # Most reasons are the same for all drivers that lack something.
        reason = re.sub(r"^The driver “[^”]+” ", "The driver ", reason)
        if reason not in self._notes:
            self._notes.append(reason)
        return f"[{self._notes.index(reason) + 1}]"


HEAD = """# What every backend does

Made by `make contract`, which runs the conformance suite (`tests/storage/contract`) over every
driver, and over wrappers around some, against real servers. Do not edit.

*pass*: every case of the behaviour passed. *Unsupported*: the driver cannot do it and raises `Unsupported`
with the reason in the notes, which the suite checks. *not run*: some cases could not be asked of the test
server; the note says why. *as x*: asked of the same driver in that column.
"""


def _table(rows: Sequence[Sequence[str]]) -> str:
    head, *body = (f"| {' | '.join(row)} |" for row in rows)
    return "\n".join([head, "|---" * len(rows[0]) + "|", *body, ""])


def import_milliseconds() -> float:
    """Processor time a fresh interpreter spends on importing the library: the best of five."""
    script = "import time; t = time.process_time(); import dashboard.storage; print(time.process_time() - t)"
    ran = [subprocess.check_output([sys.executable, "-c", script], cwd=ROOT) for _ in range(5)]
    return 1000 * min(map(float, ran))


def main() -> int:
    """Run the suite, print the page and write it."""
    matrix = Matrix()
    here = Path(__file__).parent
    arguments = [*(str(here / name) for name in SUITES), "-q", "--no-header", "-p", "no:randomly"]
    code = pytest.main(arguments, plugins=[matrix])
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        return int(code)
    text = BackendsPage(matrix, list(DRIVERS)).text()
    print(text)
    print(
        f"from dashboard.storage import Storage: {import_milliseconds():.0f} ms of processor time (best of 5)"
    )
    PAGE.write_text(text, encoding="utf-8")
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
