"""The bytes of files, by their number in the catalogue."""

from __future__ import annotations

from dataclasses import dataclass

from flask import Response

from dashboard.services.permissions import Permission
from dashboard.web.api.routes import Content, Header, Resource
from dashboard.web.context import actor, services
from dashboard.web.files.response import conditions, respond

resource = Resource("File contents", "The bytes of files, whichever backend has them.")

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
    returns=Content("application/octet-stream", "The content, under its own type."),
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
