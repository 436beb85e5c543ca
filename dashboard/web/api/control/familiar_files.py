"""Uploading, downloading and describing a file at the addresses that other consoles use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from flask import Response, url_for

from dashboard.services.permissions import Permission
from dashboard.web.api import uploads
from dashboard.web.api.routes import Content, Reply, Resource
from dashboard.web.api.schemas import Field
from dashboard.web.api.tus import FORM_TYPE
from dashboard.web.context import actor, services
from dashboard.web.files.response import conditions, respond

resource = Resource(
    "Familiar file addresses", "Files at the addresses of other consoles.", prefix="/api/files"
)

Disk = Annotated[str, Field("The backend; the active one if it is left out.", maximum_length=63)]


@dataclass(frozen=True, slots=True)
class OnDisk:
    """Which backend."""

    disk: Disk = ""


@dataclass(frozen=True, slots=True)
class IntoFolder:
    """Where an uploaded file goes."""

    disk: Disk = ""
    folder: Annotated[str, Field("The folder in the backend.", maximum_length=1024)] = ""


@dataclass(frozen=True, slots=True)
class DiskFile:
    """A stored file. `modified` in seconds since the epoch, null if the backend has no times. `url`: the
    backend's public address, or a path of this console that needs a token or a session."""

    path: str
    size: int
    modified: float | None
    url: str


@resource.route(
    "POST",
    "/upload",
    Permission.WRITE_FILES,
    query=IntoFolder,
    body=Content(FORM_TYPE, "The file in the field `file`."),
    returns=uploads.UploadDetails,
    status=201,
    errors={404: "There is no such backend.", 422: "The name cannot be used."},
    storage=True,
)
def upload(query: IntoFolder) -> Reply:
    """Upload a file. See also `/api/v1/uploads`, which says when it has been checked and stored."""
    return uploads.receive_form(backend=query.disk, folder=query.folder)


@resource.route(
    "GET",
    "/download/<path:path>",
    Permission.READ_FILES,
    query=OnDisk,
    returns=Content("*/*", "The content, under its own type."),
    also={206: "The part that `Range` asked for.", 304: "The copy that the client has is still right."},
    errors={
        409: "Only files of that name were found that may be other files.",
        412: "The file is not the one that the condition is about.",
        416: "The file ends before that part.",
    },
    storage=True,
)
def download(path: str, query: OnDisk) -> Response:
    """Download a file. See also `/files/BACKEND/KEY`."""
    actor().require(Permission.READ_FILES)
    plan = services().serving.plan(_backend(query.disk), path, conditions())
    return respond(plan, attachment=True)


@resource.route(
    "GET",
    "/info/<path:path>",
    Permission.READ_FILES,
    query=OnDisk,
    returns=DiskFile,
    storage=True,
)
def info(path: str, query: OnDisk) -> DiskFile:
    """Return size, time and address of a file."""
    backend = _backend(query.disk)
    found = services().file_details.of(actor(), backend, path)
    address = found.url or url_for("files.show", backend=backend, key=path)
    return DiskFile(path, found.info.size, found.info.modified, address)


def _backend(disk: str) -> str:
    return disk or services().backends.summary().active
