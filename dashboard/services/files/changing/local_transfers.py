"""Storing files of this machine in a backend, and the other way round; complete, compared, and never over
another file by accident.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from dashboard.errors import InvalidInput, Kind, StowageError
from dashboard.services.catalogue.catalogue import Catalogue
from dashboard.services.files.browse import LABEL
from dashboard.services.files.changing.file_changes import FileWrites
from dashboard.services.files.changing.outcomes import LOST, Outcome, refuse_reserved
from dashboard.services.permissions import Actor, Permission
from dashboard.storage.copying import copy_object
from dashboard.storage.driver import Driver, stat_or_none
from dashboard.storage.errors import Exists, Unsupported
from dashboard.storage.inspection.listing import without_markers
from dashboard.storage.registry import build
from dashboard.storage.types import Entry

WORKERS = 8
BATCH = 64


class LocalTransfers:
    """For who can read this machine's files anyway: the command line. Thread-safe."""

    def __init__(self, writes: FileWrites, catalogue: Catalogue) -> None:
        self._writes = writes
        self._catalogue = catalogue

    def put(
        self, actor: Actor, source: Path, backend: str, key: str, *, replace: bool = False
    ) -> Iterator[Outcome]:
        """Store a file, or all files of a folder, and yield what became of each: ``Outcome.key`` is its path
        below ``source``, ``to`` its key.

        A ``key`` that is empty or ends in a slash is a folder, which gets the file's own name. What has a
        name there stays as it is unless ``replace``; on servers that cannot write only where nothing is, a
        gap between the check and the write remains. No upload policy applies. Raises ``FORBIDDEN``,
        ``InvalidInput`` for a source that is no file or folder, and the backend's error.
        """
        driver = self._writes.driver(actor, backend)
        info = self._writes.backends.get(backend)
        try:
            path = source.resolve(strict=True)
        except (OSError, RuntimeError, ValueError) as error:
            raise InvalidInput("path", f"“{source}” cannot be found.", remedy="Check its path.") from error
        is_folder = path.is_dir()
        here = open_folder(path if is_folder else path.parent)
        folder = key if key.endswith("/") or not key else f"{key}/" if is_folder else ""
        self._writes.record(actor, "file.put", info.name, key or folder)

        def store(entry: Entry) -> Outcome:
            to = folder + entry.key if folder or not key else key
            refuse_reserved(to)
            copy_into(here, driver, entry, to, replace=replace)
            stored = driver.stat(to)
            self._catalogue.observe(info.id, [Entry(to, stored.size, stored.modified, stored.etag)])
            return Outcome(entry.key, to)

        found = here.list() if is_folder else iter((here.stat(path.name).entry,))
        return _each(found, store)

    def get(
        self, actor: Actor, backend: str, key: str, target: Path, *, replace: bool = False
    ) -> Iterator[Outcome]:
        """Store a file, or with a slash at the end of ``key`` all files of a folder, on this machine, and
        yield what became of each.

        ``target``: the file, or the folder that it goes into; for a folder always the latter. Files are
        written under another name first, and compared. A key that is no path below ``target`` is not
        written. Raises ``FORBIDDEN``, ``NotFound``, ``InvalidInput``, and the backend's error.
        """
        actor.require(Permission.READ_FILES)
        driver = self._writes.backends.driver_with_waiting(backend, label=LABEL)
        is_folder = not key or key.endswith("/")
        inside = is_folder or target.is_dir()
        root = target if inside else target.parent
        try:
            if is_folder:
                root.mkdir(parents=True, exist_ok=True)
            root = root.resolve(strict=True)
        except (OSError, RuntimeError, ValueError) as error:
            raise InvalidInput(
                "path", f"There is no folder “{root}”.", remedy="Create it first, or choose another."
            ) from error
        there = open_folder(root)

        def fetch(entry: Entry) -> Outcome:
            name = entry.key.removeprefix(key) if is_folder else entry.key.rpartition("/")[2]
            to = name if inside else target.name
            copy_into(driver, there, entry, to, replace=replace)
            return Outcome(entry.key, str(root / to))

        found = without_markers(driver.list(key)) if is_folder else iter((driver.stat(key).entry,))
        return _each((entry for entry in found if not entry.key.endswith("/")), fetch)


def open_folder(path: Path) -> Driver:
    """Return the driver of a folder of this machine."""
    return build("local", {"root": str(path)})


def copy_into(source: Driver, destination: Driver, entry: Entry, to: str, *, replace: bool) -> None:
    """Copy an object to another backend. Raises ``Exists`` unless ``replace``, and what ``copy_object``
    raises."""
    destination.check_key(to)

    def copy(*, create_only: bool) -> None:
        copy_object(
            source,
            destination,
            entry,
            to=to,
            create_only=create_only,
            progress=lambda done: None,
            stop=lambda: False,
            need_md5=False,
        )

    try:
        copy(create_only=not replace)
    except Unsupported:
        if replace:
            raise
        # A server that cannot write only where nothing is.
        if stat_or_none(destination, to) is not None:
            raise Exists(to) from None
        copy(create_only=False)


def _each(entries: Iterator[Entry], change: Callable[[Entry], Outcome]) -> Iterator[Outcome]:
    """Yield what becomes of each, in their order. When a backend no longer answers, nothing else is begun."""

    def one(entry: Entry) -> Outcome:
        try:
            return change(entry)
        except StowageError as error:
            return Outcome(entry.key, "", error.kind, error.reason, error.remedy)
        except OSError as error:
            reason = f"This machine could not do it: {error.strerror or 'unknown reason'}."
            return Outcome(entry.key, "", Kind.UNREACHABLE, reason)

    with ThreadPoolExecutor(WORKERS, thread_name_prefix="transfer") as pool:
        while batch := list(islice(entries, BATCH)):
            outcomes = list(pool.map(one, batch))
            yield from outcomes
            if any(outcome.kind in LOST for outcome in outcomes):
                return
