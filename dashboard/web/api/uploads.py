"""Uploads: the tus protocol 1.0 and, for small files, forms.

Of tus: the core protocol and the extensions creation, creation-with-upload, checksum, expiration and
termination (https://tus.io/protocols/resumable-upload). Every change needs a token, or a session and its CSRF
token in a header.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

from flask import Response, request, url_for
from werkzeug.exceptions import MethodNotAllowed

from dashboard.errors import InvalidInput, Kind, StowageError
from dashboard.services.files.receiving.new_uploads import NewUpload
from dashboard.services.files.receiving.receiver import CHECKSUMS, ChecksumMismatch
from dashboard.services.files.receiving.upload_rows import UploadInfo, UploadState
from dashboard.services.permissions import Permission
from dashboard.web.api import cursors, tus
from dashboard.web.api.cursors import Page
from dashboard.web.api.routes import Content, Header, Reply, Resource
from dashboard.web.context import actor, services
from dashboard.web.errors import STATUS, error_response
from dashboard.web.language.sentences import translated

resource = Resource(
    "Uploads",
    "Files on their way in: the tus protocol 1.0 for any size, and forms for small files.",
)

CHUNK_BYTES = 1024 * 1024
CHECKSUM_MISMATCH = 460

_TUS = Header("Tus-Resumable", "The version of the protocol: 1.0.0.")
_OFFSET = Header("Upload-Offset", "The byte from which the upload goes on.")
_REFUSED = {
    412: "`Tus-Resumable` is missing, or no version that this server has.",
    413: "Larger than may be uploaded, or more bytes than announced.",
    415: "This type of content is not accepted.",
}
_LOCKED = {423: "The upload is being received over another connection."}


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """Where an upload was stored; ``id`` is the file's in the catalogue."""

    id: int | None
    backend: str
    key: str
    sha256: str


@dataclass(frozen=True, slots=True)
class UploadError:
    """Why an upload was refused or has failed."""

    status: int
    kind: str
    reason: str
    remedy: str


@dataclass(frozen=True, slots=True)
class UploadDetails:
    """An upload. ``received`` bytes are durable; ``size`` is null while it is not known. ``file`` is set once
    it is done, ``error`` when it was refused or has failed. ``direct``: its parts go to the bucket itself."""

    id: str
    state: UploadState
    percent: int
    received: int
    size: int | None
    name: str
    folder: str
    backend: str
    file: UploadedFile | None
    error: UploadError | None
    direct: bool
    created_at: float
    expires_at: float


@dataclass(frozen=True, slots=True)
class UploadList:
    """A page of the caller's uploads, newest first."""

    uploads: tuple[UploadDetails, ...]
    next_cursor: str | None


@resource.route("OPTIONS", "/uploads", Permission.WRITE_FILES, status=204)
def options() -> Reply:
    """Return what this server supports of tus."""
    return Reply(
        None,
        204,
        {
            "Tus-Version": tus.VERSION,
            "Tus-Extension": tus.EXTENSIONS,
            "Tus-Max-Size": str(services().uploads.limits.max_size("")),
            "Tus-Checksum-Algorithm": ",".join(CHECKSUMS),
        },
    )


@resource.route("GET", "/uploads", Permission.WRITE_FILES, query=Page, returns=UploadList)
def index(query: Page) -> UploadList:
    """List the caller's uploads."""
    position = cursors.decode(query.cursor, "uploads", str)
    found = services().uploads.list(actor(), limit=query.limit, before_id=position[0] if position else None)
    last = found[-1].id if len(found) == query.limit else None
    return UploadList(
        tuple(details(each) for each in found),
        cursors.encode("uploads", last) if last is not None else None,
    )


@resource.route(
    "POST",
    "/uploads",
    Permission.WRITE_FILES,
    body=Content(tus.FORM_TYPE, "`file`, and optionally `backend`, `folder` and `policy`. Not for tus."),
    returns=UploadDetails,
    status=201,
    headers=(
        _TUS,
        Header("Upload-Length", "tus: the size of the file in bytes."),
        Header("Upload-Metadata", "tus: `filename`, `filetype`, `backend`, `folder`, `policy`, in base64."),
    ),
    response_headers=(Header("Location", "The address of the upload."),),
    errors={**_REFUSED, 404: "There is no such backend or policy.", 422: "The name cannot be used."},
    storage=True,
)
def create() -> Response | Reply:
    """Begin an upload.

    With a form, all of the file; else tus creation, with the first bytes if there are any.
    """
    if request.mimetype == tus.FORM_TYPE:
        upload = receive_form(request.form.get("backend", ""), request.form.get("folder", ""))
        return Reply(details(upload), 201, {"Location": address_of(upload)})
    if refusal := tus.unsupported_version():
        return refusal
    size = tus.whole("Upload-Length")
    about = tus.metadata()
    upload = services().uploads.create(
        actor(),
        NewUpload(
            name=about.get("filename") or about.get("name") or "",
            size=size,
            backend=about.get("backend", ""),
            folder=about.get("folder", ""),
            policy=about.get("policy", ""),
            content_type=about.get("filetype", ""),
        ),
    )
    if request.mimetype == tus.CHUNK_TYPE and size:
        upload = _append(upload.id, 0)
    headers = {"Location": address_of(upload), "Upload-Offset": str(upload.received)}
    return Reply(None, 201, headers | tus.expiry(upload))


@resource.route(
    "HEAD",
    "/uploads/<id>",
    Permission.WRITE_FILES,
    headers=(_TUS,),
    response_headers=(_OFFSET, Header("Upload-Length", "The size of the file in bytes.")),
    errors={412: _REFUSED[412], **_LOCKED},
)
def offset(id: str) -> Response | Reply:
    """Return how far an upload has got (tus core)."""
    if refusal := tus.unsupported_version():
        return refusal
    upload, received = services().uploads.offset(actor(), id)
    headers = {"Upload-Offset": str(received)} | tus.expiry(upload)
    if upload.size is not None:
        headers["Upload-Length"] = str(upload.size)
    return tus.empty(200, headers)


@resource.route("GET", "/uploads/<id>", Permission.WRITE_FILES, returns=UploadDetails)
def show(id: str) -> UploadDetails:
    """Return the state of an upload."""
    return details(services().uploads.get(actor(), id))


@resource.route(
    "PATCH",
    "/uploads/<id>",
    Permission.WRITE_FILES,
    body=Content(tus.CHUNK_TYPE, "The next bytes of the file."),
    status=204,
    headers=(
        _TUS,
        Header("Upload-Offset", "Where these bytes belong.", required=True),
        Header("Upload-Checksum", "`sha1` or `sha256`, a space, and the digest of the body in base64."),
    ),
    response_headers=(_OFFSET,),
    errors={**_REFUSED, **_LOCKED, CHECKSUM_MISMATCH: "The bytes differ from their checksum."},
)
def append(id: str) -> Response | Reply:
    """Append bytes (tus core)."""
    if refusal := tus.unsupported_version():
        return refusal
    if request.mimetype != tus.CHUNK_TYPE:
        raise StowageError(
            Kind.WRONG_TYPE,
            f"Bytes of an upload are sent as {tus.CHUNK_TYPE}.",
            operation="upload",
            remedy="Set the Content-Type header.",
        )
    try:
        upload = _append(id, tus.whole("Upload-Offset"))
    except ChecksumMismatch as error:
        return error_response(CHECKSUM_MISMATCH, error.as_dict())
    return Reply(None, 204, {"Upload-Offset": str(upload.received)} | tus.expiry(upload))


@resource.route(
    "DELETE",
    "/uploads/<id>",
    Permission.WRITE_FILES,
    status=204,
    headers=(_TUS,),
    errors={412: _REFUSED[412]},
)
def terminate(id: str) -> Response | Reply:
    """Remove an upload that is not done (tus termination)."""
    if refusal := tus.unsupported_version():
        return refusal
    services().uploads.terminate(actor(), id)
    return Reply(None, 204)


@resource.route(
    "POST",
    "/uploads/<id>",
    Permission.WRITE_FILES,
    status=204,
    headers=(_TUS, Header("X-HTTP-Method-Override", "`PATCH` or `DELETE`.", required=True)),
    errors={
        **_REFUSED,
        **_LOCKED,
        405: "`X-HTTP-Method-Override` names no method of this address.",
        CHECKSUM_MISMATCH: "The bytes differ from their checksum.",
    },
)
def override(id: str) -> Response | Reply:
    """Append to or remove an upload, for clients that can only send POST (tus core)."""
    method = request.headers.get("X-HTTP-Method-Override", "")
    if method == "PATCH":
        return append(id)
    if method == "DELETE":
        return terminate(id)
    raise MethodNotAllowed(valid_methods=["GET", "HEAD", "PATCH", "DELETE"])


@resource.route("POST", "/uploads/<id>/retry", Permission.WRITE_FILES, returns=UploadDetails, status=202)
def retry(id: str) -> UploadDetails:
    """Check and store a failed upload again."""
    return details(services().uploads.retry(actor(), id))


def details(upload: UploadInfo) -> UploadDetails:
    """An upload as JSON shows it."""
    backend = services().backends.name_of(upload.backend_id) or ""
    done, error = upload.state is UploadState.DONE, upload.error
    return UploadDetails(
        id=upload.id,
        state=upload.state,
        percent=upload.percent,
        received=upload.received,
        size=upload.size,
        name=upload.name,
        folder=upload.folder,
        backend=backend,
        file=UploadedFile(upload.file_id, backend, upload.key, upload.sha256) if done else None,
        error=_error(error) if error else None,
        direct=upload.method == "direct",
        created_at=upload.created_at,
        expires_at=upload.expires_at,
    )


def _error(error: StowageError) -> UploadError:
    return UploadError(STATUS[error.kind], error.kind, translated(error.reason), translated(error.remedy))


def _append(id: str, offset: int) -> UploadInfo:
    receiver = services().uploads.append(
        actor(), id, offset=offset, length=request.content_length, checksum=tus.checksum()
    )
    with receiver:
        for chunk in _chunks():
            receiver.write(chunk)
        return receiver.finish()


def receive_form(backend: str, folder: str) -> UploadInfo:
    """Receive the whole file of a form. It is not checked yet."""
    sent = request.files.get("file")
    if sent is None or not sent.filename:
        raise InvalidInput("file", "The form has no file.", remedy="Send it in the field “file”.")
    stream = sent.stream
    size = stream.seek(0, io.SEEK_END)
    stream.seek(0)
    new = NewUpload(
        name=sent.filename,
        size=size,
        backend=backend,
        folder=folder,
        policy=request.form.get("policy", ""),
        content_type=sent.mimetype,
        method="form",
    )
    with closing(stream):
        return services().uploads.receive(actor(), new, iter(lambda: stream.read(CHUNK_BYTES), b""))


def address_of(upload: UploadInfo) -> str:
    """The address of an upload as a resource of this API."""
    return url_for(f"{tus.ENDPOINTS}show", id=upload.id)


def _chunks() -> Iterator[bytes]:
    while chunk := request.stream.read(CHUNK_BYTES):
        yield chunk
