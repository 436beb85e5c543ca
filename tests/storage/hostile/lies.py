"""``make hostile``: every lie to every driver, as a table.

Prints it and writes docs/hostile-servers.md. To add a driver, add to ``SUBJECTS``: it starts a server that
tells the lies it knows. To add a lie, add its name to ``LIES``, and the lie where the protocol has it.
"""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Protocol
from unittest import mock

from dashboard.migration.run import MigrationJob, run
from dashboard.migration.types import Control, Outcome, Spec, State
from dashboard.storage.copying import copy_object
from dashboard.storage.driver import Connects, Driver
from dashboard.storage.drivers.memory import MemoryDriver
from dashboard.storage.errors import StorageError
from dashboard.storage.types import Entry
from tests.migration.memory_ledger import MemoryLedger
from tests.servers.hostile.dialects import CONTENT, KEY
from tests.storage.hostile.files import FILE_LIES, FILE_SUBJECTS
from tests.storage.hostile.http import HTTP_SUBJECTS, LISTINGS, MIGRATIONS, WIRE_LIES

PAGE = Path(__file__).resolve().parents[3] / "docs" / "hostile-servers.md"
MOST_MEMORY = 64 * 1024 * 1024
NOT_ASKED = "–"
CLEAN = "**clean**"


class Subject(Protocol):
    """A driver and the server that lies to it."""

    name: str

    def telling(self, lie: str) -> AbstractContextManager[Driver] | None:
        """The driver, while its server tells this lie; None where its protocol has no such lie."""
        ...


def connect(driver: Driver) -> None:
    """What *Test connection* does first."""
    assert isinstance(driver, Connects)
    driver.authenticate()


def count(driver: Driver) -> None:
    """A listing to its end."""
    for _ in driver.list():
        pass


def look(driver: Driver) -> None:
    """A look at one object."""
    driver.stat(KEY)


def copy(driver: Driver) -> None:
    """What a migration does with an object that was listed."""
    etag = None if driver.name in ("ftp", "sftp", "webdav") else _etag(driver)
    entry = Entry(KEY, len(CONTENT), None, etag)
    copy_object(driver, MemoryDriver(), entry, to=KEY, progress=lambda done: None, stop=lambda: False)


def write(driver: Driver) -> None:
    """A small object."""
    driver.put(KEY, CONTENT)


class Noticed(Exception):
    """A migration ended, and not as if all had been well."""


def migrate_from(driver: Driver) -> None:
    """A migration whose source it is."""
    _migrate(driver, MemoryDriver())


def migrate_to(driver: Driver) -> None:
    """A migration of one object whose destination it is."""
    source = MemoryDriver()
    source.put(KEY, CONTENT)
    _migrate(source, driver)


def _migrate(source: Driver, destination: Driver) -> None:
    result = run(
        MigrationJob(1, Spec(workers=1), lambda: True, "source"),
        source,
        destination,
        MemoryLedger(),
        lambda: Control.RUN,
        on_state=lambda *told: None,
        random=Random(1),
    )
    if (result.state, result.outcome) != (State.FINISHED, Outcome.CLEAN):
        raise Noticed(result.message)


def _etag(driver: Driver) -> str | None:
    return next(iter(driver.list())).etag


ASKED: Mapping[str, Callable[[Driver], None]] = {
    "sign-in": connect,
    "listing": count,
    "look": look,
    "reading": copy,
    "write": write,
    "migration from there": migrate_from,
    "migration to there": migrate_to,
}
"""What is asked of a driver, by the first word of the lie's name."""

SUBJECTS: Sequence[Subject] = (*HTTP_SUBJECTS, *FILE_SUBJECTS)
LIES: Sequence[str] = (*LISTINGS, *FILE_LIES, *MIGRATIONS, *WIRE_LIES)
"""``<what is asked>: <what the server does>``."""


@dataclass(frozen=True, slots=True)
class Cell:
    """What became of one lie. ``said`` is the error's sentence, ``peak`` the most memory held, in bytes."""

    word: str
    said: str = ""
    peak: int = 0


def tell(subject: Subject, lie: str) -> Cell:
    """Tell one driver one lie."""
    told = subject.telling(lie)
    if told is None:
        return Cell(NOT_ASKED)
    ask = ASKED[lie.partition(":")[0]]
    with told as driver:
        tracemalloc.start()
        try:
            word, said = CLEAN, ""
            try:
                ask(driver)
            except StorageError as error:
                word, said = error.kind.value.replace("_", " "), error.reason
            except Noticed as error:
                word, said = "failed", str(error)
            return Cell(word, said, tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
            driver.close()


@contextmanager
def in_a_hurry() -> Iterator[None]:
    """Nothing is waited for between two tries, and patience with slow answers ends soon."""
    with (
        mock.patch("dashboard.storage.net.retries.backoff"),
        mock.patch("dashboard.storage.net.resuming._RETRY_SECONDS", 0.0),
        mock.patch("dashboard.storage.net.timeouts.LOW_SPEED_SECONDS", 0.2),
        mock.patch("dashboard.migration.retry_policy.BASE_DELAY_SECONDS", 0.002),
        mock.patch("dashboard.migration.retry_policy.MAX_DELAY_SECONDS", 0.02),
        mock.patch("dashboard.migration.final_phase.LISTING_WAITS", (0.0,)),
        mock.patch("dashboard.storage.net.http1._MANY_CHUNKS", 100),
        mock.patch("dashboard.storage.net.parsing._MAX_EMPTY_PAGES", 50),
        mock.patch("azure.core.pipeline.transport.RequestsTransport.sleep"),
        mock.patch("azure.storage.blob._download.time"),
    ):
        yield


HEAD = """# What every driver makes of a hostile server

Made by `make hostile`, which tells every lie to every driver (`tests/storage/hostile/lies.py`). Do not edit.

A cell is the kind of error that the driver raises: nothing is taken for complete that may not be, and no
more than 64 MiB are held meanwhile. *failed*: the migration says that it did not go well. `–`: the protocol
has no such lie, or it changes nothing there.
"""


def page(outcomes: Mapping[tuple[str, str], Cell]) -> str:
    """The text of docs/hostile-servers.md."""
    rows = [["the server's lie", *(f"`{subject.name}`" for subject in SUBJECTS)]]
    rows += [[lie, *(outcomes[subject.name, lie].word for subject in SUBJECTS)] for lie in LIES]
    head, *body = (f"| {' | '.join(row)} |" for row in rows)
    return "\n".join([HEAD, head, "|---" * len(rows[0]) + "|", *body, ""])


def kept() -> dict[tuple[str, str], str]:
    """The cells of the page as it is: driver and lie to word."""
    text = PAGE.read_text("utf-8")
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    names = [name.strip("`") for name in lines[0][1:]]
    return {(name, line[0]): word for line in lines[1:] for name, word in zip(names, line[1:], strict=True)}


def main() -> int:
    """Tell everything, print the page and write it. Ends with 1 when a lie was believed."""
    with in_a_hurry():
        outcomes = {(subject.name, lie): tell(subject, lie) for subject in SUBJECTS for lie in LIES}
    text = page(outcomes)
    print(text)
    bad = {
        cell: outcome
        for cell, outcome in outcomes.items()
        if outcome.word == CLEAN or outcome.peak > MOST_MEMORY
    }
    for (name, lie), outcome in bad.items():
        print(f"{name}: {lie}: {outcome.word}, {outcome.peak / 2**20:.0f} MiB")
    PAGE.write_text(text, encoding="utf-8")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
