"""Files of a backend as it lists them: folders, page by page, and everything about one file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from dashboard.services.files.file_details import FileDetails
from dashboard.services.files.folder_view import FileEntry, Sort
from dashboard.services.permissions import Permission
from dashboard.web.api.cursors import Page
from dashboard.web.api.routes import Resource
from dashboard.web.api.schemas import Field
from dashboard.web.context import actor, services

resource = Resource("Files", "Files of a backend, as it lists them.")

MAX_KEY = 4096
Key = Annotated[
    str,
    Field(
        "An exact key. What is not UTF-8 in it is written as lone surrogates (PEP 383) in JSON, and as its "
        "bytes, percent-encoded, in addresses.",
        maximum_length=MAX_KEY,
        key=True,
    ),
]


@dataclass(frozen=True, slots=True)
class FolderQuery(Page):
    """Which folder, and in which order. Larger folders than can be sorted come in the order of names, and
    say so."""

    prefix: Annotated[str, Field("Empty, or ends in “/”.", maximum_length=MAX_KEY, key=True)] = ""
    sort: Annotated[Sort, Field("What files are sorted by; folders come first.")] = Sort.NAME
    descending: bool = False
    containing: Annotated[str, Field("Only names with this text.", maximum_length=200)] = ""


@dataclass(frozen=True, slots=True)
class FolderItem:
    """A file or a folder. Sizes in bytes, times in seconds since the epoch; null for folders."""

    key: str
    name: str
    kind: str
    size: int | None
    modified: float | None
    etag: str | None
    file_id: int | None


@dataclass(frozen=True, slots=True)
class FolderContents:
    """A page of a folder. `complete`: these are all its files. `message`: what to know about the order or the
    end, often empty."""

    backend: str
    prefix: str
    entries: tuple[FolderItem, ...]
    next_cursor: str | None
    complete: bool
    message: str


@dataclass(frozen=True, slots=True)
class FileQuery:
    """Which file."""

    key: Key


@dataclass(frozen=True, slots=True)
class FileVersion:
    """A state that the file was in. `deleted`: it has no content."""

    id: str
    size: int
    modified: float | None
    etag: str | None
    current: bool
    deleted: bool


@dataclass(frozen=True, slots=True)
class FileInformation:
    """One file. `version` is what a change of it names. `served_by`: the backend that has it, if home does
    not. `tags`, `tier`, `visibility`, `versions` are null where there are none; `notes` says why something is
    not known, `actions` why something is not possible (empty: it is)."""

    backend: str
    key: str
    kind: str
    size: int
    modified: float | None
    etag: str | None
    version: str | None
    md5: str | None
    headers: Mapping[str, str]
    metadata: Mapping[str, str]
    tags: Mapping[str, str] | None
    tier: str | None
    visibility: str | None
    versions: tuple[FileVersion, ...] | None
    url: str
    served_by: str
    file_id: int | None
    sha256: str
    actions: Mapping[str, str]
    notes: Mapping[str, str]


@resource.route(
    "GET",
    "/backends/<name>/files",
    Permission.READ_FILES,
    query=FolderQuery,
    returns=FolderContents,
    storage=True,
)
def index(name: str, query: FolderQuery) -> FolderContents:
    """List a folder of a backend.

    Folders first, then files. The cursor leads on from where a page ends, also in folders of millions.
    """
    page = services().browse.folder(
        actor(),
        name,
        query.prefix,
        cursor=query.cursor,
        limit=query.limit,
        sort=query.sort,
        descending=query.descending,
        containing=query.containing,
    )
    return FolderContents(
        page.backend,
        page.prefix,
        tuple(_item(entry) for entry in page.entries),
        page.cursor or None,
        page.complete,
        page.message,
    )


@resource.route(
    "GET",
    "/backends/<name>/files/details",
    Permission.READ_FILES,
    query=FileQuery,
    returns=FileInformation,
    storage=True,
)
def show(name: str, query: FileQuery) -> FileInformation:
    """Return everything about one file, with its versions."""
    return information(services().file_details.of(actor(), name, query.key))


def information(details: FileDetails) -> FileInformation:
    """One file as the API shows it."""
    info, row = details.info, details.catalogue
    named = ("content_type", "cache_control", "content_disposition", "content_encoding", "content_language")
    return FileInformation(
        backend=details.backend,
        key=details.key,
        kind=details.kind,
        size=info.size,
        modified=info.modified,
        etag=info.etag,
        version=info.version,
        md5=info.md5,
        headers={name: value for name in named if (value := getattr(info.attributes, name))},
        metadata=info.attributes.metadata,
        tags=details.tags,
        tier=details.tier,
        visibility=details.visibility,
        versions=None
        if details.versions is None
        else tuple(
            FileVersion(each.id, each.size, each.modified, each.etag, each.current, each.deleted)
            for each in details.versions
        ),
        url=details.url,
        served_by=details.served_by,
        file_id=row.id if row is not None else None,
        sha256=row.sha256 if row is not None else "",
        actions=details.actions,
        notes=details.notes,
    )


def _item(entry: FileEntry) -> FolderItem:
    return FolderItem(
        entry.key, entry.name, entry.kind, entry.size, entry.modified, entry.etag, entry.file_id
    )
