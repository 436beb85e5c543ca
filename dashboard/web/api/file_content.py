"""The bytes of files, by their number in the catalogue."""

from __future__ import annotations

from dataclasses import dataclass

from flask import Response

from dashboard.services.permissions import Permission
from dashboard.web.api.routes import Content, Header, Resource
from dashboard.web.context import actor, services
from dashboard.web.files.response import client_is_gone, conditions, respond

resource = Resource("File contents", "The bytes of files, whichever backend has them.")

KEEP = "private, max-age=31536000, immutable"
MIN_VERSION = 12

_CONDITIONS = tuple(
    Header(name, f"See RFC 9110, section {section}.")
    for name, section in (
        ("Range", "14.2"),
        ("If-Range", "13.1.5"),
        ("If-Match", "13.1.1"),
        ("If-None-Match", "13.1.2"),
        ("If-Modified-Since", "13.1.3"),
        ("If-Unmodified-Since", "13.1.4"),
    )
)


@dataclass(frozen=True, slots=True)
class ContentQuery:
    """``download``: save the file even if it could be shown. ``direct``: redirect to a URL that the backend
    signs, if it has such URLs."""

    download: bool = False
    direct: bool = False


@resource.route(
    "GET",
    "/files/<int:id>/content",
    Permission.READ_FILES,
    query=ContentQuery,
    returns=Content("*/*", "The content, under its own type."),
    also={
        206: "The part that `Range` asked for.",
        304: "The copy that the client has is still right.",
        307: "The URL at which the backend itself serves it.",
    },
    errors={
        404: "There is no such file.",
        409: "Only files of that name were found that may be other files.",
        412: "The file is not the one that the condition is about.",
        416: "The file ends before that part.",
        429: "Too many files are being opened.",
    },
    headers=_CONDITIONS,
    response_headers=(
        Header("ETag", "Identifies the content, or the version in one backend."),
        Header("X-Stowage-Backend", "Which backend served it; `; fallback` if not the file's own."),
    ),
    storage=True,
)
def content(id: int, query: ContentQuery) -> Response:
    """Read a file. See docs/serving.md for which backend answers."""
    actor().require(Permission.READ_FILES)
    plan = services().serving.plan_by_id(id, conditions(), direct=query.direct)
    return respond(plan, attachment=query.download)


@dataclass(frozen=True, slots=True)
class ThumbnailQuery:
    """``v``: the first 12 or more digits of the content's SHA-256. The response may then be kept for a
    year."""

    v: str = ""


@resource.route(
    "GET",
    "/files/<int:id>/thumb/<name>",
    Permission.READ_FILES,
    query=ThumbnailQuery,
    returns=Content("image/*", "The thumbnail."),
    also={206: "The part that `Range` asked for.", 304: "The copy that the client has is still right."},
    errors={
        400: "There is no thumbnail of this name.",
        404: "There is no such file.",
        409: "The file is no longer what the catalogue says it is.",
        412: "The thumbnail is not the one that the condition is about.",
        416: "The thumbnail ends before that part.",
        422: "There are no thumbnails of this file.",
        429: "Too many thumbnails are being made.",
    },
    headers=_CONDITIONS,
    response_headers=(Header("ETag", "Identifies the content of the file, and the thumbnail."),),
    storage=True,
)
def thumbnail(id: int, name: str, query: ThumbnailQuery) -> Response:
    """Get an image that is made from a file: `small`, `medium`, `large`, or a size such as `400x300`."""
    actor().require(Permission.READ_FILES)
    plan = services().thumbnails.plan(id, name, conditions(), gone=client_is_gone())
    named = len(query.v) >= MIN_VERSION and str(plan.file.tag)[1:].startswith(query.v)
    return respond(plan, cache_control=KEEP if named else None)
