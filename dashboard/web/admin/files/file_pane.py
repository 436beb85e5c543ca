"""What the pane says of one file: its preview, where it came from, headers, metadata, tags, versions."""

from __future__ import annotations

import codecs
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from flask import url_for

from dashboard.errors import StowageError
from dashboard.media.kinds import FileKind
from dashboard.services.files.file_details import CatalogueRow, FileDetails
from dashboard.services.text import size
from dashboard.storage.driver import Driver, ReadsRanges
from dashboard.storage.object_powers import Version
from dashboard.storage.paths import key_bytes
from dashboard.storage.types import ObjectInfo
from dashboard.web.admin.files.browser_rows import Looks, looks_of, pane_url, picture_of, thumbnail_url
from dashboard.web.admin.files.browser_view import FilesView, to_token
from dashboard.web.admin.files.file_edits import editable_parts
from dashboard.web.context import actor, services
from dashboard.web.files.content_types import content_type
from dashboard.web.formatting import plural
from dashboard.web.language import localized

MAX_TEXT = 64 * 1024
MAX_ORIGINAL = 1_000_000
"""Bytes of an image that is shown as it is; of a larger one a thumbnail is, if the catalogue knows it."""
# The other images are served inline as well, but few browsers know them.
_DISPLAYED = frozenset(
    f"image/{kind}" for kind in ("apng", "avif", "bmp", "gif", "jpeg", "png", "webp", "x-icon")
)
_NO_TEXT = (FileKind.IMAGE, FileKind.VIDEO, FileKind.AUDIO, FileKind.ARCHIVE)
_HEADERS = (
    ("Content type", "content_type"),
    ("Cache", "cache_control"),
    ("Disposition", "content_disposition"),
    ("Encoding", "content_encoding"),
    ("Language", "content_language"),
)


@dataclass(frozen=True, slots=True)
class ServedBy:
    """Where a file really came from. ``tone`` is "ok" or "warn"."""

    title: str
    milliseconds: float | None = None
    note: str = ""
    tone: str = "ok"


@dataclass(frozen=True, slots=True)
class ShownFile:
    """The values of the pane. With ``failure`` only the names are set. ``preview`` is "image", "video",
    "audio", "pdf", "text" or empty; ``details`` are label, value and CSS class; ``versions`` None: none."""

    name: str
    token: str
    url: str
    pane_url: str
    args: dict[str, Any]
    icon: str = "file"
    failure: StowageError | None = None
    facts: str = ""
    preview: str = ""
    no_preview: str = ""
    text: str = ""
    text_cut: int = 0
    content_url: str = ""
    download_url: str = ""
    preview_url: str = ""
    poster_url: str = ""
    opens_inline: bool = False
    served: ServedBy = ServedBy("")
    modified: float | None = None
    details: list[tuple[str, str, str]] = field(default_factory=list)
    sha256: str = ""
    tags: tuple[tuple[str, str], ...] = ()
    versions: tuple[Version, ...] | None = None
    share_url: str = ""
    version: str = ""
    changeable: bool = False
    copyable: bool = False
    deletable: bool = False
    restorable: bool = False
    editable: bool = False
    why_not: str = ""


def describe(view: FilesView, key: str) -> ShownFile:
    """Ask the backend and the catalogue about a file. What the backend refuses is in ``failure``."""
    looks = looks_of(key)
    names: dict[str, Any] = {
        "name": key.rpartition("/")[2] or key,
        "token": to_token(key),
        "url": view.url(file=key, after=view.after),
        "pane_url": pane_url(view, key),
        "args": view.args(key),
        "icon": looks.icon,
    }
    began = time.monotonic()
    try:
        found = services().file_details.of(actor(), view.backend, key)
    except StowageError as error:
        return ShownFile(**names, failure=error)
    milliseconds = (time.monotonic() - began) * 1000
    row = found.catalogue
    if row is not None and row.size != found.info.size:
        row = None
    return ShownFile(
        **names,
        **_preview(view, found, looks, row),
        facts=_facts(found.info, looks, row),
        served=_served(found, row, milliseconds),
        modified=found.info.modified,
        details=_details(found, row),
        sha256=row.sha256 if row else "",
        tags=tuple(sorted((found.tags or {}).items())),
        versions=found.versions,
        share_url=url_for("links.new", backend=view.backend, file=to_token(key)),
        version=found.info.version or "",
        changeable=not found.actions.get("move"),
        copyable=not found.actions.get("copy"),
        deletable=not found.actions.get("delete"),
        editable=any(editable_parts(found)),
        restorable=not found.actions.get("restore"),
        why_not=found.actions.get("move", ""),
    )


def content_url(view: FilesView, key: str, *, download: bool = False) -> str:
    """The address of a file's content. Empty for the few keys that no browser requests as they are."""
    if any(part in (".", "..") for part in key.split("/")):
        return ""
    url = url_for("files.show", backend=view.backend, key="-").removesuffix("-")
    return f"{url}{quote(key_bytes(key))}" + ("?download=1" if download else "")


def _preview(view: FilesView, found: FileDetails, looks: Looks, row: CatalogueRow | None) -> dict[str, Any]:
    info = found.info
    content = content_url(view, info.key)
    values: dict[str, Any] = {
        "content_url": content,
        "preview_url": content,
        "download_url": content_url(view, info.key, download=True),
        "no_preview": "There is no preview for this kind of file.",
    }
    if not info.size:
        return {**values, "no_preview": "This file is empty."}
    kind, inline = content_type(info.key, info.attributes)
    if inline and content:
        poster = picture_of(looks, row, "large") if looks.kind is FileKind.VIDEO else ""
        return {**values, "opens_inline": True, "poster_url": poster, **_shown_inline(info, kind, row)}
    if inline or looks.kind in _NO_TEXT:
        return values
    try:
        text = _text(services().backends.driver(found.served_by), info)
    except StowageError as error:
        return {**values, "no_preview": error.reason}
    if text is None:
        return values
    return {**values, "preview": "text", "text": text, "text_cut": MAX_TEXT if info.size > MAX_TEXT else 0}


def _shown_inline(info: ObjectInfo, kind: str, row: CatalogueRow | None) -> dict[str, str]:
    """How content of this type is shown: itself, or of a large image a thumbnail."""
    family = "pdf" if kind == "application/pdf" else kind.partition("/")[0]
    if family != "image":
        return {"preview": family}
    if row is not None and (info.size > MAX_ORIGINAL or kind not in _DISPLAYED):
        return {"preview": "image", "preview_url": thumbnail_url(row, "large")}
    return {"preview": "image" if kind in _DISPLAYED else ""}


def _text(driver: Driver, info: ObjectInfo) -> str | None:
    """The beginning of a file if it is text. It is shown as text, whatever it contains."""
    length = min(MAX_TEXT, info.size)
    if isinstance(driver, ReadsRanges):
        start = driver.read_range(info.key, 0, length)
    else:
        start = b""
        with driver.read(info.key) as reading:
            for chunk in reading.chunks():
                start = (start + chunk)[:length]
                if len(start) == length:
                    break
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return start.decode("utf-16", errors="replace")
    if b"\0" in start:
        return None
    try:
        # The cut may go through a character.
        return codecs.getincrementaldecoder("utf-8-sig")().decode(start, final=len(start) == info.size)
    except UnicodeDecodeError:
        return start.decode("cp1252", errors="replace") if looks_of(info.key).icon == "text" else None


def _facts(info: ObjectInfo, looks: Looks, row: CatalogueRow | None) -> str:
    facts = [looks.word, size(info.size)]
    if row is not None and row.width and row.height:
        facts.append(f"{row.width:,} × {row.height:,}")
    if row is not None and row.pages:
        facts.append(plural(row.pages, "page"))
    return " · ".join(facts)


def _served(found: FileDetails, row: CatalogueRow | None, milliseconds: float) -> ServedBy:
    if found.served_by != found.backend:
        note = f"{found.backend} does not have it, or cannot be reached."
        return ServedBy(f"Answered by {found.served_by}", milliseconds, note, "warn")
    others = set()
    if row is not None and row.sha256:
        others = {file.backend for file in services().catalogue.find_content(row.sha256)}
        others -= {found.backend, ""}
    note = f"The same content is on {', '.join(sorted(others)[:3])}, by SHA-256." if others else ""
    return ServedBy(f"Answered by {found.served_by}", milliseconds, note)


def _details(found: FileDetails, row: CatalogueRow | None) -> list[tuple[str, str, str]]:
    info, details = found.info, []
    if row is not None and row.taken_at:
        # A camera writes the time of where it is.
        details.append(("Taken", localized.date_and_time(datetime.fromtimestamp(row.taken_at, UTC)), "num"))
    if row is not None and row.owner:
        details.append(("Owner", row.owner, ""))
    if info.md5:
        details.append(("MD5", info.md5, "mono"))
    if info.etag and info.etag != info.md5:
        details.append(("ETag", info.etag, "mono"))
    for label, name in _HEADERS:
        if value := getattr(info.attributes, name):
            details.append((label, value, "mono"))
    if found.tier:
        details.append(("Tier", found.tier, ""))
    if found.visibility:
        details.append(("Visibility", found.visibility, ""))
    return details + [(name, value, "mono") for name, value in sorted(info.attributes.metadata.items())]
