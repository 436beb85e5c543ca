"""Uploading, downloading and describing a file at the addresses that other consoles use."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Annotated

from flask import Response, url_for

from dashboard.services.files.receiving.upload_rows import UploadInfo, UploadState
from dashboard.services.permissions import Permission
from dashboard.web.api import uploads
from dashboard.web.api.routes import Content, Header, Reply, Resource
from dashboard.web.api.schemas import Field
from dashboard.web.api.tus import FORM_TYPE
from dashboard.web.context import actor, services
from dashboard.web.files.response import conditions, respond

resource = Resource(
    "Familiar file addresses", "Files at the addresses of other consoles.", prefix="/api/files"
)

WAIT_SECONDS = 3.0
"""How long a response waits for the file to be stored."""
POLL_SECONDS = 0.05
MAX_WAITING = 4
"""Requests that wait at the same time: each occupies one of the web server's threads."""
_waiting = threading.BoundedSemaphore(MAX_WAITING)

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


@dataclass(frozen=True, slots=True)
class SentFile:
    """An uploaded file. `path` and `url` are null until it is stored; `upload` is the address that says when
    that is."""

    path: str | None
    size: int
    url: str | None
    upload: str


@resource.route(
    "POST",
    "/upload",
    Permission.WRITE_FILES,
    query=IntoFolder,
    body=Content(FORM_TYPE, "The file in the field `file`."),
    returns=SentFile,
    status=201,
    also={202: "It was received, and is still being checked and stored."},
    response_headers=(Header("Location", "The address of the upload."),),
    errors={
        404: "There is no such backend.",
        409: "The name is taken, or the backend is read-only.",
        413: "Larger than may be uploaded.",
        415: "This type of content is not accepted.",
        422: "The name or the content is not acceptable.",
    },
    storage=True,
)
def upload(query: IntoFolder) -> Reply:
    """Upload a file.

    It is checked and stored like every upload. The response waits a few seconds for that; if it takes longer,
    `GET /api/v1/uploads/ID` says when it is done.
    """
    received = uploads.receive_form(backend=query.disk, folder=query.folder)
    ended = _wait(received)
    if ended.error is not None and ended.state.final:
        raise ended.error
    stored = ended.state is UploadState.DONE
    address = uploads.address_of(ended)
    backend = services().backends.name_of(ended.backend_id) or ""
    sent = SentFile(
        path=ended.key if stored else None,
        size=ended.received,
        url=url_for("files.show", backend=backend, key=ended.key) if stored else None,
        upload=address,
    )
    return Reply(sent, 201 if stored else 202, {"Location": address})


def _wait(upload: UploadInfo) -> UploadInfo:
    """The upload when it has ended, or as it is after a while. Does not wait if too many others do."""
    deadline = time.monotonic() + WAIT_SECONDS
    if not _waiting.acquire(blocking=False):
        return upload
    try:
        while not upload.state.final and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
            upload = services().uploads.get(actor(), upload.id)
    finally:
        _waiting.release()
    return upload


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
