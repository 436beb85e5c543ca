"""What a Files page shows: a backend, a folder, filters, an order, as values of its address.

Keys travel in addresses and in form fields. A browser changes line breaks in fields and cannot send every
character or byte, so these few are written as ``%`` and two digits; so is ``%`` itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any
from urllib.parse import parse_qsl, urlencode

from flask import url_for
from werkzeug.datastructures import MultiDict

from dashboard.errors import InvalidInput
from dashboard.services.catalogue.filters import MAX_TEXT, FileFilters, parse_filters
from dashboard.services.catalogue.saved_searches import SavedSearch

MAX_KEY = 4096
MAX_CURSOR = 12_000
SORTS: Mapping[str, str] = {
    "name": "By name",
    "-name": "By name, Z first",
    "-modified": "Newest first",
    "modified": "Oldest first",
    "-size": "Largest first",
    "size": "Smallest first",
}
LAYOUTS = ("list", "grid")
_OWN_FIELDS = ("backend", "name", "folder")
_FILTERS = tuple(each.name for each in fields(FileFilters) if each.name not in _OWN_FIELDS)

# The last are the bytes of a key that is not UTF-8.
_UNSAFE = re.compile(r"[%\r\n\x00\udc80-\udcff]")
_WRITTEN = re.compile(r"%([0-9a-f]{2})")
_FIRST_BYTE, _BYTES = 0x80, 0xDC00


def to_token(key: str) -> str:
    """Return a key as it is written in addresses and forms."""
    return _UNSAFE.sub(lambda found: f"%{ord(found[0]) & 0xFF:02x}", key)


def from_token(token: str) -> str:
    """Return the key. Raises kind ``invalid`` for what no page of ours has written."""
    key = _WRITTEN.sub(lambda found: _character(int(found[1], 16)), token)
    if len(key) > MAX_KEY or to_token(key) != token:
        raise InvalidInput("key", "The address of this file is damaged.", remedy="Go back to the list.")
    return key


def _character(code: int) -> str:
    return chr(code if code < _FIRST_BYTE else _BYTES + code)


@dataclass(frozen=True, slots=True)
class FilesView:
    """``folder`` ends in a slash or is empty, ``filters`` are those beyond backend, folder and name,
    ``after`` is the cursor of the page, ``file`` the key of the file in the pane. ``wrong``: the first filter
    that means nothing; any other value that is not valid counts as not set."""

    backend: str
    folder: str = ""
    query: str = ""
    filters: FileFilters = field(default_factory=FileFilters)
    sort: str = "name"
    layout: str = "list"
    after: str = ""
    file: str = ""
    wrong: InvalidInput | None = None

    @property
    def grid(self) -> bool:
        """Whether it is a grid of pictures."""
        return self.layout == "grid"

    @property
    def filtered(self) -> bool:
        """Whether files below the folder are searched instead of listing it."""
        return bool(self.query or self.wrong or self.filters.as_dict())

    @property
    def title(self) -> str:
        """The title of the page."""
        return f"{self.backend}/{self.folder}".removesuffix("/")

    @property
    def last_name(self) -> str:
        """The name of the folder, or of the backend."""
        return self.folder.removesuffix("/").rpartition("/")[2] or self.backend

    @property
    def folder_token(self) -> str:
        """The folder as forms carry it."""
        return to_token(self.folder)

    @property
    def cleared_url(self) -> str:
        """The same folder without filters."""
        return self.url(query="", filters=FileFilters())

    @property
    def search(self) -> FileFilters:
        """All that is searched for, for the catalogue."""
        return replace(self.filters, backend=self.backend, folder=self.folder, name=self.query)

    def fields(self) -> Iterator[tuple[str, str]]:
        """Yield what differs from the default as the fields of an address or a form."""
        values = {
            "in": to_token(self.folder),
            "q": self.query,
            **{name: str(value).removesuffix(".0") for name, value in self.filters.as_dict().items()},
            "metadata": urlencode(self.filters.metadata),
            "sort": self.sort if self.sort != "name" else "",
            "view": self.layout if self.layout != "list" else "",
            "after": self.after,
            "file": to_token(self.file),
        }
        yield from ((name, value) for name, value in values.items() if value)

    def args(self, *keys: str) -> dict[str, Any]:
        """Return the arguments for ``url_for``, with the keys of files that a page is about."""
        values: dict[str, Any] = {"name": self.backend, **dict(self.fields())}
        return {**values, "key": [to_token(key) for key in keys]} if keys else values

    def url(self, **changes: Any) -> str:
        """Return the address of the list with other values; another folder, filter or order begins at its
        first page. Filters are given by their names, None or empty for none."""
        mine = {name: changes.pop(name) for name in _FILTERS if name in changes}
        if mine:
            changes["filters"] = replace(changes.get("filters", self.filters), **mine)
        if changes.keys() - {"file", "layout"}:
            changes = {"after": "", "file": "", **changes}
        return url_for("browse.show", **replace(self, **changes).args())


def read_view(backend: str, values: MultiDict[str, str], layout: str = "list") -> FilesView:
    """Return the view that an address asks for; ``layout`` is what the person chose last."""
    sort, chosen = values.get("sort", ""), values.get("view", "")
    folder = from_token(values.get("in", ""))
    filters, wrong = _read_filters(values)
    return FilesView(
        backend=backend,
        folder=folder if not folder or folder.endswith("/") else f"{folder}/",
        query=values.get("q", "").strip()[:200],
        filters=filters,
        sort=sort if sort in SORTS else "name",
        layout=chosen if chosen in LAYOUTS else layout,
        after=values.get("after", "")[:MAX_CURSOR],
        file=from_token(values.get("file", "")),
        wrong=wrong,
    )


def view_of(search: SavedSearch, backend: str) -> FilesView:
    """The page of a saved search; at ``backend`` if it was saved for all of them."""
    filters = search.filters
    return FilesView(
        backend=filters.backend or backend,
        folder=filters.folder,
        query=filters.name,
        filters=replace(filters, backend="", folder="", name=""),
        sort=("-" if search.descending else "") + search.sort.value,
    )


def _read_filters(values: MultiDict[str, str]) -> tuple[FileFilters, InvalidInput | None]:
    given: dict[str, object] = {name: values.get(name, "").strip() for name in _FILTERS}
    metadata = dict(parse_qsl(values.get("metadata", "")[:MAX_TEXT]))
    if detail := values.get("detail", "").strip():
        metadata[detail] = values.get("detail_value", "").strip()
    given["metadata"] = metadata or None
    filters, wrong = FileFilters(), None
    for name, value in given.items():
        try:
            filters = replace(filters, **{name: getattr(parse_filters({name: value}), name)})
        except InvalidInput as error:
            wrong = wrong or error
    return filters, wrong
