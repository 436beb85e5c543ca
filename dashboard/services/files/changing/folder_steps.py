"""The steps of a folder's change: one file, the empty folders, and counting."""

from __future__ import annotations

from contextlib import suppress
from itertools import islice

from dashboard.errors import StowageError
from dashboard.services.backends.values import BackendInfo
from dashboard.services.catalogue.catalogue import Catalogue
from dashboard.services.files.changing.file_changes import relocate, without_original
from dashboard.services.files.changing.moving_objects import (
    OnTaken,
    Transfer,
    Transferred,
    transfer_object,
)
from dashboard.services.files.changing.outcomes import FileRef, Outcome
from dashboard.storage.copying import same_content
from dashboard.storage.driver import Driver, KeepsFolders, stat_or_none
from dashboard.storage.errors import Exists, NotFound
from dashboard.storage.inspection.listing import without_markers
from dashboard.storage.types import Entry

MAX_COUNTED = 100_000
"""Files at which counting stops."""
_MAX_FOLDERS = 10_000


def transfer_entry(
    catalogue: Catalogue,
    driver: Driver,
    backend: BackendInfo,
    entry: Entry,
    to: str,
    *,
    on_taken: OnTaken,
    move: bool,
) -> Outcome:
    """Copy or move one file of a folder, or finish that after an interruption. Its error is its outcome; a
    file that is gone by now is none."""
    try:
        known = catalogue.find(backend.name, entry.key)
        transfer = Transfer(FileRef(entry.key), to)
        # Before “keep both” would find another name for a second copy.
        done = _interrupted(driver, entry, to) if on_taken is OnTaken.KEEP_BOTH else None
        try:
            done = done or transfer_object(driver, transfer, on_taken, move=move)
        except Exists:
            done = _interrupted(driver, entry, to)
            if done is None:
                raise
        relocate(catalogue, backend.id, known, done, move=move)
        outcome = Outcome(entry.key, done.result.key)
        return outcome if done.moved or not move else without_original(driver, done, outcome)
    except NotFound:
        return Outcome(entry.key)
    except StowageError as error:
        return Outcome(entry.key, "", error.kind, error.reason, error.remedy)


def count_files(driver: Driver, prefix: str) -> int:
    """Return how many files are under a prefix, at most ``MAX_COUNTED``."""
    return sum(1 for _ in islice(without_markers(driver.list(prefix)), MAX_COUNTED))


def make_subfolders(driver: KeepsFolders, prefix: str, target: str) -> None:
    """Create the folders of a tree in another place as well, so that empty ones are there too."""
    waiting = [prefix.removesuffix("/")]
    for _ in range(_MAX_FOLDERS):
        if not waiting:
            return
        path = waiting.pop()
        waiting += [f"{path}/{name}" for name in driver.folders(path)]
        with suppress(StowageError):
            driver.make_folder((target + f"{path}/".removeprefix(prefix)).removesuffix("/"))


def _interrupted(driver: Driver, entry: Entry, to: str) -> Transferred | None:
    """What an earlier run has copied, if the object at the new key is a copy of this one."""
    found = stat_or_none(driver, to)
    if found is None or found.size != entry.size:
        return None
    info = driver.stat(entry.key)
    now = info.entry
    if not same_content(driver, driver, now, found):
        return None
    return Transferred(info, found, moved=False)
