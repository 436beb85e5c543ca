"""Files that the catalogue knows: searching them, whichever backend they are in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated

from dashboard.errors import InvalidInput
from dashboard.services.catalogue.catalogue import File
from dashboard.services.catalogue.file_kinds import FileKind
from dashboard.services.catalogue.filters import MAX_METADATA, MAX_TEXT, FileFilters, Sort, parse_filters
from dashboard.services.catalogue.saved_searches import SavedSearch
from dashboard.services.permissions import Permission
from dashboard.web.api.cursors import Page
from dashboard.web.api.routes import Reply, Resource
from dashboard.web.api.schemas import Field
from dashboard.web.context import actor, services

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
    max_age: Annotated[int | None, Field("Seconds since it was modified, at most.", minimum=0)] = None
    min_age: Annotated[int | None, Field("Seconds since it was modified, at least.", minimum=0)] = None
    checksum: Annotated[str, Field("SHA-256 or MD5 in hexadecimal digits.", maximum_length=64)] = ""
    owner: Annotated[str, Field("Who uploaded it.", maximum_length=64)] = ""
    metadata: Annotated[
        tuple[str, ...],
        Field(
            "`NAME=VALUE` among the details, such as `model=X100`; may be repeated.",
            maximum_items=MAX_METADATA,
            maximum_length=MAX_TEXT,
        ),
    ] = ()
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
        parse_filters({**given, "metadata": _pairs(query.metadata)}),
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


@dataclass(frozen=True, slots=True)
class SearchFilters:
    """The filters of a search that is saved, by the names of the parameters of `/api/v1/files`."""

    backend: Annotated[str, Field(maximum_length=63)] = ""
    name: Annotated[str, Field(maximum_length=MAX_TEXT)] = ""
    folder: Annotated[str, Field(maximum_length=MAX_TEXT, key=True)] = ""
    kind: FileKind | None = None
    content_type: Annotated[str, Field(maximum_length=MAX_TEXT)] = ""
    min_size: Annotated[int | None, Field(minimum=0)] = None
    max_size: Annotated[int | None, Field(minimum=0)] = None
    modified_after: float | None = None
    modified_before: float | None = None
    max_age: float | None = None
    min_age: float | None = None
    checksum: Annotated[str, Field(maximum_length=64)] = ""
    owner: Annotated[str, Field(maximum_length=64)] = ""
    metadata: Annotated[Mapping[str, str], Field(maximum_items=MAX_METADATA, maximum_length=MAX_TEXT)] = (
        field(default_factory=dict)
    )


@dataclass(frozen=True, slots=True)
class SearchToSave:
    """A search, and its name. One of the same name is replaced."""

    name: Annotated[str, Field(maximum_length=63)]
    filters: SearchFilters
    sort: Sort = Sort.NAME
    descending: bool = False


@dataclass(frozen=True, slots=True)
class SearchSaved:
    """A saved search. `max_age` and `min_age` count from the moment when it is used."""

    id: int
    name: str
    filters: SearchFilters
    sort: Sort
    descending: bool
    created_at: float


@dataclass(frozen=True, slots=True)
class SearchList:
    """Saved searches, by name."""

    searches: tuple[SearchSaved, ...]


@resource.route("GET", "/searches", Permission.READ_FILES, returns=SearchList)
def searches() -> SearchList:
    """List the searches that you have saved, here or on the Files page."""
    return SearchList(tuple(_saved(search) for search in services().saved_searches.list(actor())))


@resource.route(
    "POST",
    "/searches",
    Permission.READ_FILES,
    body=SearchToSave,
    returns=SearchSaved,
    status=201,
    errors={409: "There are as many as can be saved."},
)
def save_search(body: SearchToSave) -> Reply:
    """Save a search under a name."""
    filters = parse_filters(asdict(body.filters))
    return Reply(
        _saved(
            services().saved_searches.save(
                actor(), body.name, filters, sort=body.sort, descending=body.descending
            )
        ),
        201,
    )


@resource.route("DELETE", "/searches/<int:id>", Permission.READ_FILES, status=204)
def delete_search(id: int) -> None:
    """Delete a saved search of yours. Idempotent."""
    services().saved_searches.remove(actor(), id)


def _saved(search: SavedSearch) -> SearchSaved:
    return SearchSaved(
        id=search.id,
        name=search.name,
        filters=_filters(search.filters),
        sort=search.sort,
        descending=search.descending,
        created_at=search.created_at,
    )


def _filters(filters: FileFilters) -> SearchFilters:
    given = filters.as_dict()
    kind = {"kind": FileKind(filters.kind)} if filters.kind else {}
    return SearchFilters(**{**given, **kind})


def _pairs(texts: tuple[str, ...]) -> Mapping[str, str] | None:
    pairs = [text.partition("=") for text in texts]
    if any(not equals for _, equals, _ in pairs):
        raise InvalidInput("metadata", "Details are given as NAME=VALUE.")
    return {name: value for name, _, value in pairs} or None


def catalogued(file: File) -> CataloguedFile:
    """A file as the API shows it."""
    values = {name: getattr(file, name) for name in CataloguedFile.__dataclass_fields__}
    return CataloguedFile(**{**values, "details": dict(file.details)})
