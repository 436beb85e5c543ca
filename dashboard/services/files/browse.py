"""Looking into a backend like into a folder: a page of entries at a time, however large the folder is.

What is shown comes from the backend itself, never from a cache or a stand-in. Writes that wait to be written
back are shown as if they were home already. Nothing here changes anything.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlalchemy import select

from dashboard.errors import InvalidInput
from dashboard.models.catalogue import files
from dashboard.services.backends.backends import Backends
from dashboard.services.database import Database
from dashboard.services.files.folder_view import MAX_PAGE, FileEntry, FolderView, Sort
from dashboard.services.files.page_cursors import read_cursor, write_cursor
from dashboard.services.permissions import Actor, Permission
from dashboard.storage.paths import key_bytes

LABEL = "files"
"""Under which drivers are opened: without cache and stand-ins, see ``Backends.driver``."""


@dataclass(frozen=True, slots=True)
class Crumb:
    """A folder on the way from the backend to the folder that is shown."""

    name: str
    prefix: str


@dataclass(frozen=True, slots=True)
class FolderPage:
    """A page of a folder: its folders, then its files.

    ``cursor`` leads to the next page, empty on the last. ``complete``: whether this is all there is, so that
    what is missing here does not exist. ``message`` says what a person should know about the order or the
    end, or is empty.
    """

    backend: str
    prefix: str
    crumbs: tuple[Crumb, ...]
    entries: tuple[FileEntry, ...]
    cursor: str
    complete: bool
    message: str = ""


class Browse:
    """Thread-safe."""

    def __init__(self, database: Database, backends: Backends) -> None:
        self._database = database
        self._backends = backends

    def folder(
        self,
        actor: Actor,
        backend: str,
        prefix: str = "",
        *,
        cursor: str = "",
        limit: int = 200,
        sort: Sort = Sort.NAME,
        descending: bool = False,
        containing: str = "",
    ) -> FolderPage:
        """Return a page of one folder.

        ``prefix`` is empty or ends in a slash. ``containing`` leaves out names without this text, whatever
        its case. ``limit`` is clamped to ``MAX_PAGE``. A folder of more than ``MAX_SORTED`` entries comes in
        the order of names, whatever ``sort`` is, and says so. A folder that does not exist is empty.

        Raises ``FORBIDDEN``; ``NOT_FOUND`` without such a backend; ``InvalidInput`` for a prefix or a cursor
        that cannot be one; and the backend's error.
        """
        actor.require(Permission.READ_FILES)
        if prefix and not prefix.endswith("/"):
            raise InvalidInput("prefix", "The path of a folder ends in “/”.")
        key_bytes(prefix)
        start = read_cursor(cursor)
        info = self._backends.get(backend)
        driver = self._backends.driver_with_waiting(info.name, label=LABEL)
        view = FolderView(driver, prefix, max(1, min(limit, MAX_PAGE)), containing.casefold())
        if (sort is Sort.NAME and not descending and not containing) or start.listing:
            found = view.in_order_of_names(start.listing)
        else:
            found = view.sorted_by(sort, start.after, descending=descending)
        return FolderPage(
            backend=info.name,
            prefix=prefix,
            crumbs=crumbs_of(info.name, prefix),
            entries=self._with_ids(info.id, found.entries),
            cursor=write_cursor(found.next) if found.next is not None else "",
            complete=found.next is None and not cursor and not found.message,
            message=found.message,
        )

    def _with_ids(self, backend_id: int, entries: tuple[FileEntry, ...]) -> tuple[FileEntry, ...]:
        """Add the catalogue's ids."""
        keys = [entry.key for entry in entries if not entry.folder]
        if not keys:
            return entries
        query = select(files.c.key, files.c.id).where(files.c.backend_id == backend_id, files.c.key.in_(keys))
        with self._database.work_read() as connection:
            ids = {row.key: row.id for row in connection.execute(query)}
        return tuple(
            entry if entry.folder else replace(entry, file_id=ids.get(entry.key)) for entry in entries
        )


def crumbs_of(backend: str, prefix: str) -> tuple[Crumb, ...]:
    """Return the way to a folder: the backend first, the folder itself last."""
    crumbs, path = [Crumb(backend, "")], ""
    for name in prefix.split("/")[:-1]:
        path += f"{name}/"
        crumbs.append(Crumb(name, path))
    return tuple(crumbs)
