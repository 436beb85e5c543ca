"""The rows of the Files page: what is said of each folder and file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from flask import url_for

from dashboard.media.kinds import BY_ENDING, FileKind, ending_of
from dashboard.services.catalogue.file_values import File
from dashboard.services.files.file_details import CatalogueRow
from dashboard.services.files.folder_view import FileEntry
from dashboard.web.admin.files.browser_view import FilesView, to_token
from dashboard.web.context import services

_ICONS = {
    FileKind.IMAGE: "image",
    FileKind.VIDEO: "video",
    FileKind.AUDIO: "audio",
    FileKind.ARCHIVE: "zip",
    FileKind.TEXT: "text",
    FileKind.MARKUP: "text",
}
_WORDS = {
    FileKind.VIDEO: "Video",
    FileKind.AUDIO: "Audio",
    FileKind.ARCHIVE: "Archive",
    FileKind.TEXT: "Text",
    FileKind.PROGRAM: "Program",
}
_MAX_WORD = 5


@dataclass(frozen=True, slots=True)
class Looks:
    """How a file is shown before anything is known but its name: an icon and a word."""

    icon: str
    word: str
    kind: FileKind


@dataclass(frozen=True, slots=True)
class ShownRow:
    """A row of the list or a tile of the grid. ``under`` is the folder of a search result, ``stamp`` the
    duration of a video, ``thumb`` and ``picture`` are addresses of thumbnails, or empty."""

    key: str
    token: str
    name: str
    folder: bool
    icon: str
    word: str
    size: int | None
    modified: float | None
    url: str
    pane_url: str = ""
    under: str = ""
    thumb: str = ""
    picture: str = ""
    stamp: str = ""
    current: bool = False


def looks_of(key: str) -> Looks:
    """Return how to show a file with this key. Only its ending decides: nothing depends on it."""
    ending = ending_of(key)
    found = BY_ENDING.get(ending)
    kind = found[0].kind if found else FileKind.OTHER
    icon = "pdf" if ending == ".pdf" else _ICONS.get(kind, "file")
    shown = ending[1:].upper() if len(ending) <= _MAX_WORD + 1 else ""
    shown = {"JPG": "JPEG", "TIF": "TIFF", "WEBP": "WebP"}.get(shown, shown)
    return Looks(icon, _WORDS.get(kind, shown or "File"), kind)


def shown_rows(
    view: FilesView, entries: Iterable[FileEntry], known: Mapping[str, File]
) -> tuple[ShownRow, ...]:
    """All rows in their order. The object that stands for the folder itself is not one."""
    return tuple(
        _folder_row(view, entry) if entry.folder else _file_row(view, entry, known.get(entry.key))
        for entry in entries
        if entry.key != view.folder
    )


def _folder_row(view: FilesView, entry: FileEntry) -> ShownRow:
    return ShownRow(
        key=entry.key,
        token=to_token(entry.key),
        name=entry.name or "/",
        folder=True,
        icon="folder",
        word="Folder",
        size=None,
        modified=None,
        url=view.url(folder=entry.key, query=""),
    )


def _file_row(view: FilesView, entry: FileEntry, known: File | None) -> ShownRow:
    looks = looks_of(entry.key)
    fits = known is not None and known.size == entry.size
    folder = entry.key.removesuffix(entry.name)
    return ShownRow(
        key=entry.key,
        token=to_token(entry.key),
        name=entry.name or entry.key,
        folder=False,
        icon=looks.icon,
        word=looks.word,
        size=entry.size,
        modified=entry.modified,
        url=view.url(file=entry.key, after=view.after),
        pane_url=pane_url(view, entry.key),
        under=folder.removesuffix("/") if folder != view.folder else "",
        thumb=picture_of(looks, known, "small") if fits else "",
        picture=picture_of(looks, known, "medium") if fits else "",
        stamp=_clock(known.duration) if known is not None and fits and known.duration else "",
        current=entry.key == view.file,
    )


def pane_url(view: FilesView, key: str) -> str:
    """The address of a file's own page."""
    values = {name: value for name, value in view.args(key).items() if name not in ("file", "after")}
    return url_for("browse.file", **values)


def thumbnail_url(known: File | CatalogueRow | None, name: str) -> str:
    """The address of a thumbnail of a catalogued file. It is made when it is first requested."""
    if known is None:
        return ""
    url = url_for("api_v1.file_contents_thumbnail", id=known.id, name=name)
    return f"{url}?v={known.sha256[:16]}" if known.sha256 else url


def picture_of(looks: Looks, known: File | CatalogueRow | None, name: str) -> str:
    """The address of a thumbnail that a page shows without being asked, or empty."""
    # Of documents, only PDFs have pages that can be drawn here.
    drawn = looks.kind is not FileKind.DOCUMENT or looks.icon == "pdf"
    if known is None or not drawn or not services().thumbnails.offers(looks.kind, known, name):
        return ""
    return thumbnail_url(known, name)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
