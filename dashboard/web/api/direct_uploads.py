"""Uploads whose parts go directly to a bucket."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from dashboard.services.files.bucket_uploads import MAX_URLS, PartAddress
from dashboard.services.files.receiving.bucket_parts import MAX_PARTS
from dashboard.services.files.receiving.new_uploads import NewUpload
from dashboard.services.permissions import Permission
from dashboard.web.api import uploads
from dashboard.web.api.routes import Header, Reply, Resource
from dashboard.web.api.schemas import Field
from dashboard.web.context import actor, services

resource = Resource(
    "Direct uploads",
    "Large files that go directly to a bucket in parts. They are checked like every other upload before "
    "anybody can read them; `/api/v1/uploads` shows, lists and removes them.",
)

FIRST_PARTS = 10
"""Parts whose addresses come with the response to a new upload."""
_CONFLICT = "The upload takes no parts any more, or is no direct upload."


@dataclass(frozen=True, slots=True)
class NewDirectUpload:
    """A file to upload. `backend` is the active one if it is left out."""

    name: Annotated[str, Field("The name of the file.", maximum_length=4096)]
    size: Annotated[int, Field("In bytes.", minimum=1)]
    backend: Annotated[str, Field("The backend's name.", maximum_length=63)] = ""
    folder: Annotated[str, Field("The folder in the backend.", maximum_length=4096)] = ""
    policy: Annotated[str, Field("The upload policy's name.", maximum_length=63)] = ""
    content_type: Annotated[str, Field("What the client guesses.", maximum_length=255)] = ""


@dataclass(frozen=True, slots=True)
class PartUrl:
    """The request for one part: `method`, `url` and `headers` as they are, with exactly `size` bytes, until
    `expires_at`. It needs no credentials, and can do nothing else."""

    number: int
    size: int
    method: str
    url: str
    headers: Mapping[str, str]
    expires_at: float


@dataclass(frozen=True, slots=True)
class DirectUpload:
    """A direct upload that has begun. `upload_url`: its address in this API. The file is cut into
    `part_count` parts of `part_size` bytes, the last one of what is left; `parts` are the requests for the
    first ones."""

    upload: uploads.UploadDetails
    upload_url: str
    part_size: int
    part_count: int
    parts: tuple[PartUrl, ...]


@dataclass(frozen=True, slots=True)
class PartNumbers:
    """Which parts are to be sent next; the first is 1."""

    numbers: Annotated[tuple[int, ...], Field("Numbers of parts.", maximum_items=MAX_URLS)]


@dataclass(frozen=True, slots=True)
class PartUrls:
    """The requests for these parts, in the same order."""

    parts: tuple[PartUrl, ...]


@dataclass(frozen=True, slots=True)
class SentPart:
    """A part that the bucket has."""

    number: int
    size: int
    etag: str


@dataclass(frozen=True, slots=True)
class SentParts:
    """What the bucket has of an upload, and into what the file is cut."""

    part_size: int
    part_count: int
    parts: tuple[SentPart, ...]


@dataclass(frozen=True, slots=True)
class ReportedPart:
    """A part as it was sent: `etag` is the header of the bucket's response."""

    number: Annotated[int, Field("Of the part.", minimum=1)]
    etag: Annotated[str, Field("With or without quotes.", maximum_length=200)]


@dataclass(frozen=True, slots=True)
class Finished:
    """What was sent. Parts whose ETag a browser hides may be left out: what counts is what the bucket has."""

    parts: Annotated[tuple[ReportedPart, ...], Field("Of the upload.", maximum_items=MAX_PARTS)] = ()


@resource.route(
    "POST",
    "/uploads/direct",
    Permission.WRITE_FILES,
    body=NewDirectUpload,
    returns=DirectUpload,
    status=201,
    response_headers=(Header("Location", "The address of the upload."),),
    errors={
        404: "There is no such backend or policy.",
        409: "The name is taken, or the backend is read-only.",
        413: "Larger than may be uploaded.",
        415: "This type of content is not accepted.",
        422: "The policy or the backend allow no direct uploads, or the name cannot be used. Use tus.",
        429: "There are too many unfinished uploads.",
    },
    storage=True,
)
def begin(body: NewDirectUpload) -> Reply:
    """Begin an upload that goes directly to a bucket."""
    new = NewUpload(
        name=body.name,
        size=body.size,
        backend=body.backend,
        folder=body.folder,
        policy=body.policy,
        content_type=body.content_type,
    )
    upload = services().direct_uploads.begin(actor(), new)
    plan = services().direct_uploads.plan(upload)
    first = range(1, min(plan.count, FIRST_PARTS) + 1)
    address = uploads.address_of(upload)
    begun = DirectUpload(
        upload=uploads.details(upload),
        upload_url=address,
        part_size=plan.part_size,
        part_count=plan.count,
        parts=tuple(
            _part_url(part) for part in services().direct_uploads.addresses(actor(), upload.id, first)
        ),
    )
    return Reply(begun, 201, {"Location": address})


@resource.route(
    "POST",
    "/uploads/<id>/parts",
    Permission.WRITE_FILES,
    body=PartNumbers,
    returns=PartUrls,
    errors={409: _CONFLICT},
    storage=True,
)
def sign(id: str, body: PartNumbers) -> PartUrls:
    """Sign the requests for some parts.

    They work for fifteen minutes. Parts may be sent in any order, several at the same time, and again.
    """
    signed = services().direct_uploads.addresses(actor(), id, body.numbers)
    return PartUrls(tuple(_part_url(part) for part in signed))


@resource.route(
    "GET",
    "/uploads/<id>/parts",
    Permission.WRITE_FILES,
    returns=SentParts,
    errors={409: _CONFLICT},
    storage=True,
)
def sent(id: str) -> SentParts:
    """List the parts that the bucket has, to go on after an interruption."""
    parts = services().direct_uploads.sent(actor(), id)
    plan = services().direct_uploads.plan(services().uploads.get(actor(), id))
    found = tuple(SentPart(part.number, part.size, part.etag) for part in parts)
    return SentParts(plan.part_size, plan.count, found)


@resource.route(
    "POST",
    "/uploads/<id>/finish",
    Permission.WRITE_FILES,
    body=Finished,
    returns=uploads.UploadDetails,
    status=202,
    errors={409: "A part is missing or is not the one that was sent; `subject` is its number."},
    storage=True,
)
def finish(id: str, body: Finished) -> uploads.UploadDetails:
    """Have a complete upload checked and stored. Idempotent."""
    reported = {part.number: part.etag for part in body.parts}
    return uploads.details(services().direct_uploads.finish(actor(), id, reported))


def _part_url(part: PartAddress) -> PartUrl:
    # The length follows from the body; a browser sets it by itself and allows nobody else to.
    headers = {name: value for name, value in part.request.headers.items() if name != "content-length"}
    request = part.request
    return PartUrl(part.number, part.size, request.method, request.url, headers, request.expires_at)
