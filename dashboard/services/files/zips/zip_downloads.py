"""Many files as one zip: what was selected, what that is when the download begins, and its bytes.

Nothing is stored on the way. The length is known before the first byte; a file that changes, shrinks or is
deleted before its turn ends the download, and what arrived until then is not a complete zip.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from sqlalchemy import delete, select

from dashboard.errors import InvalidInput, Kind, StowageError
from dashboard.models.sharing import ZipSelection
from dashboard.services.backends.backends import Backends
from dashboard.services.backends.queries import get_row
from dashboard.services.database import Database
from dashboard.services.files.zips.zip_names import zip_names
from dashboard.services.files.zips.zip_stream import ZipEntry, zip_chunks, zip_length
from dashboard.services.permissions import Actor, Permission
from dashboard.storage.driver import Driver, LimitsConnections
from dashboard.storage.errors import Changed

MAX_SELECTED = 10_000
"""Files and folders that are selected one by one."""
MAX_FILES = 100_000
"""Files in one zip, with those in folders."""
SELECTION_SECONDS = 3600.0
"""For which a selection can be downloaded; a download that has begun may take longer."""
STAT_THREADS = 8
READ_AHEAD = 4
SMALL_FILE = 256 * 1024
"""Size in bytes up to which files are fetched ahead, ``READ_AHEAD`` at a time."""


@dataclass(frozen=True, slots=True)
class _Item:
    """A file as it was when the download began."""

    key: str
    size: int
    modified: float | None
    etag: str | None
    version: str | None = None


@dataclass(frozen=True, slots=True)
class ZipDownload:
    """A zip that can be sent: its file name, its exact length in bytes, how many files it has."""

    name: str
    length: int
    backend: str
    entries: Sequence[ZipEntry]
    items: Sequence[_Item]
    driver: Driver

    def chunks(self) -> Iterator[bytes]:
        """Yield the zip, ``length`` bytes. Raises ``StorageError`` if a file is no longer what it was."""
        return zip_chunks(zip(self.entries, _contents(self.driver, self.items), strict=True))


class Zips:
    """Thread-safe."""

    def __init__(self, database: Database, backends: Backends) -> None:
        self._database = database
        self._backends = backends

    def select(self, actor: Actor, backend: str, *, files: Sequence[str], folders: Sequence[str] = ()) -> str:
        """Remember what is to be downloaded, and return its token. ``folders``: prefixes that end in a slash,
        or ``""`` for everything. Asks no server.

        Raises ``InvalidInput``, and kind ``not_found`` for an unknown backend.
        """
        actor.require(Permission.READ_FILES)
        _check(files, folders)
        token, now = secrets.token_urlsafe(16), time.time()
        with self._database.write() as session:
            session.execute(delete(ZipSelection).where(ZipSelection.expires_at < now))
            session.add(
                ZipSelection(
                    token_hash=_digest(token),
                    username=actor.name[:64],
                    backend_id=get_row(session, backend).id,
                    files=list(dict.fromkeys(files)),
                    folders=list(dict.fromkeys(folders)),
                    expires_at=now + SELECTION_SECONDS,
                )
            )
        return token

    def open(self, actor: Actor, token: str) -> ZipDownload:
        """Find out what the selected files are now. Idempotent, within ``SELECTION_SECONDS``.

        Raises kind ``not_found`` for a selection of somebody else or one that has expired, ``NotFound`` for a
        file that does not exist, ``InvalidInput`` for too many or no files, and what the backend raises.
        """
        actor.require(Permission.READ_FILES)
        query = select(ZipSelection).where(ZipSelection.token_hash == _digest(token))
        with self._database.read() as session:
            found = session.scalar(query.where(ZipSelection.expires_at > time.time()))
            if found is None or found.username != actor.name[:64]:
                raise StowageError(
                    Kind.NOT_FOUND,
                    "This selection of files has expired.",
                    operation="download",
                    remedy="Select the files again.",
                )
            files, folders = tuple(found.files), tuple(found.folders)
            backend = self._backends.name_of(found.backend_id) or ""
        return self.of(backend, files, folders)

    def of(self, backend: str, files: Sequence[str], folders: Sequence[str]) -> ZipDownload:
        """The zip of these files as they are now. Raises as :meth:`open` does."""
        driver = self._backends.driver(backend)
        items = _items(driver, files, folders)
        base = _common_folder([*files, *folders])
        names = zip_names(item.key[len(base) :] for item in items)
        entries = [ZipEntry(name, item.size, item.modified) for name, item in zip(names, items, strict=True)]
        title = base.rstrip("/").rpartition("/")[2] or backend
        return ZipDownload(f"{title}.zip", zip_length(entries), backend, entries, items, driver)


def _check(files: Sequence[str], folders: Sequence[str]) -> None:
    if not files and not folders:
        raise InvalidInput("files", "No files are selected.", remedy="Select at least one.")
    if len(files) + len(folders) > MAX_SELECTED:
        raise InvalidInput(
            "files",
            f"More than {MAX_SELECTED:,} files are selected.",
            remedy="Select their folder instead, or download them in parts.",
        )
    if any(not key for key in files):
        raise InvalidInput("files", "A file has no name.")
    if any(folder and not folder.endswith("/") for folder in folders):
        raise InvalidInput("folders", "A folder ends in a slash.")


def _items(driver: Driver, files: Sequence[str], folders: Sequence[str]) -> list[_Item]:
    found: dict[str, _Item] = {}
    for folder in folders:
        for entry in driver.list(folder):
            if not entry.key.endswith("/"):
                found[entry.key] = _Item(entry.key, entry.size, entry.modified, entry.etag)
            _refuse_too_many(len(found))
    single = [key for key in files if key not in found]
    _refuse_too_many(len(found) + len(single))
    if not found and not single:
        raise InvalidInput("folders", "There are no files in it.", remedy="Select something else.")
    with ThreadPoolExecutor(min(STAT_THREADS, max(1, len(single)))) as pool:
        for item in pool.map(lambda key: _stat(driver, key), single):
            found[item.key] = item
    return sorted(found.values(), key=lambda item: item.key)


def _stat(driver: Driver, key: str) -> _Item:
    driver.check_key(key)
    info = driver.stat(key)
    return _Item(key, info.size, info.modified, info.etag, info.version)


def _refuse_too_many(count: int) -> None:
    if count > MAX_FILES:
        raise InvalidInput(
            "folders",
            f"There are more than {MAX_FILES:,} files in it.",
            remedy="Download its folders one by one, or migrate them.",
        )


def _common_folder(paths: Sequence[str]) -> str:
    """The folder that all selected files and folders are in; a single folder is in the zip by its name."""
    parents = [path.rstrip("/").rpartition("/")[0] for path in paths]
    first, last = min(parents).split("/"), max(parents).split("/")
    shared = []
    for one, other in zip(first, last, strict=False):
        if one != other:
            break
        shared.append(one)
    return "/".join(shared) + "/" if any(shared) else ""


def _contents(driver: Driver, items: Sequence[_Item]) -> Iterator[Iterable[bytes]]:
    """Yield the content of each file in order. Small ones are fetched ahead, so that the time that a server
    takes to respond is not spent once for each."""
    pool = ThreadPoolExecutor(READ_AHEAD, thread_name_prefix="zip-ahead")
    ahead: deque[tuple[_Item, Future[bytes] | None]] = deque()
    try:
        for number, item in enumerate(items):
            small = item.size <= SMALL_FILE
            ahead.append((item, pool.submit(_whole, driver, item) if small else None))
            if number >= _reads_ahead(driver):
                yield _taken(driver, *ahead.popleft())
        while ahead:
            yield _taken(driver, *ahead.popleft())
    finally:
        # Whoever closes a download does not wait for what nobody will read.
        pool.shutdown(wait=False, cancel_futures=True)


def _reads_ahead(driver: Driver) -> int:
    """How many small files are fetched ahead; none where the connections may be needed for a large one."""
    if isinstance(driver, LimitsConnections):
        return min(READ_AHEAD, (driver.max_connections() - 1) // 2)
    return READ_AHEAD


def _taken(driver: Driver, item: _Item, fetched: Future[bytes] | None) -> Iterable[bytes]:
    return (fetched.result(),) if fetched is not None else _content(driver, item)


def _whole(driver: Driver, item: _Item) -> bytes:
    return b"".join(_content(driver, item))


def _content(driver: Driver, item: _Item) -> Iterator[bytes]:
    with driver.read(item.key, if_version=item.version) as reading:
        info = reading.info
        if info.size != item.size or (item.etag and info.etag and item.etag != info.etag):
            raise Changed(item.key)
        yield from reading.chunks()


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
