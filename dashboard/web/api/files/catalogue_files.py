"""Files that the catalogue knows: searching them, whichever backend they are in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated

from dashboard.services.catalogue.catalogue import File
from dashboard.services.catalogue.file_kinds import FileKind
from dashboard.services.catalogue.filters import MAX_TEXT, Sort, parse_filters
from dashboard.services.permissions import Permission
from dashboard.web.api.cursors import Page
from dashboard.web.api.routes import Resource
from dashboard.web.api.schemas import Field
from dashboard.web.context import services

resource = Resource("Catalogue", "What the console knows of stored files: a row for each.")


@dataclass(frozen=True, slots=True)
class SearchQuery(Page):
    """What to search for; all that is given must hold. Sizes in bytes, times in seconds since the epoch."""

    backend: Annotated[str, Field("The name of a backend.", maximum_length=63)] = ""
    name: Annotated[str, Field("A part of the key, in any case.", maximum_length=MAX_TEXT)] = ""
    folder: Annotated[str, Field("The beginning of the key.", maximum_length=MAX_TEXT, key=True)] = ""
    kind: FileKind | None = None
    content_type: Annotated[str, Field("Its beginning, such as `image/`.", maximum_length=MAX_TEXT)] = ""
    min_size: Annotated[int | None, Field(minimum=0)] = None
    max_size: Annotated[int | None, Field(minimum=0)] = None
    modified_after: int | None = None
    modified_before: int | None = None
    checksum: Annotated[str, Field("SHA-256 or MD5 in hexadecimal digits.", maximum_length=64)] = ""
    owner: Annotated[str, Field("Who uploaded it.", maximum_length=64)] = ""
    sort: Sort = Sort.NAME
    descending: bool = False


@dataclass(frozen=True, slots=True)
class CataloguedFile:
    """A file as the catalogue knows it. Other programs change backends too: compare size, time and ETag with
    the backend before relying on the rest."""

    id: int
    backend: str
    key: str
    size: int
    modified: float | None
    etag: str
    kind: FileKind
    sha256: str
    md5: str
    content_type: str
    width: int | None
    height: int | None
    duration: float | None
    pages: int | None
    taken_at: float | None
    owner: str
    state: str
    created_at: float
    updated_at: float
    details: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FileList:
    """A page of files. It may be short, or even empty, before the end: `next_cursor` is null at the end."""

    files: tuple[CataloguedFile, ...]
    next_cursor: str | None


@resource.route(
    "GET",
    "/files",
    Permission.READ_FILES,
    query=SearchQuery,
    returns=FileList,
    errors={404: "There is no such backend."},
)
def index(query: SearchQuery) -> FileList:
    """Search the files of all backends.

    Finds what uploads, migrations and counts have recorded.
    """
    given = {
        name: value
        for name, value in asdict(query).items()
        if name not in ("limit", "cursor", "sort", "descending")
    }
    page = services().catalogue.search(
        parse_filters(given),
        sort=query.sort,
        descending=query.descending,
        cursor=query.cursor,
        limit=query.limit,
    )
    return FileList(tuple(catalogued(file) for file in page.files), page.cursor or None)


@resource.route("GET", "/files/<int:id>", Permission.READ_FILES, returns=CataloguedFile)
def show(id: int) -> CataloguedFile:
    """Return one file by its id, which stays the same when it is renamed or moved to another backend."""
    return catalogued(services().catalogue.get(id))


def catalogued(file: File) -> CataloguedFile:
    """A file as the API shows it."""
    values = {name: getattr(file, name) for name in CataloguedFile.__dataclass_fields__}
    return CataloguedFile(**{**values, "details": dict(file.details)})
