"""The tus protocol 1.0 as far as it is about headers (https://tus.io/protocols/resumable-upload)."""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime
from email.utils import format_datetime

from flask import Flask, Response, request

from dashboard.errors import InvalidInput, Kind, StowageError
from dashboard.services.files.receiving.receiver import parse_checksum
from dashboard.services.files.receiving.upload_rows import UploadInfo, UploadState
from dashboard.settings import MAX_BYTES
from dashboard.web.errors import error_response

VERSION = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,checksum,expiration,termination"
FORM_TYPE = "multipart/form-data"
CHUNK_TYPE = "application/offset+octet-stream"
MAX_METADATA_BYTES = 8 * 1024
MAX_FORM_BYTES = 16 * 1024 * 1024
"""Of an upload as a form."""
ENDPOINTS = "api_v1.uploads_"
_MAX_DIGITS = 18


def install(app: Flask) -> None:
    """Raise the limit of forms for uploads, and name the protocol in their responses. Called after the
    guards, which know who sends the request, and before anything that reads it; its length is checked against
    what was announced."""

    @app.before_request
    def raise_limit() -> None:
        if (request.endpoint or "").startswith(ENDPOINTS):
            # None would be the limit of forms.
            request.max_content_length = MAX_FORM_BYTES if request.mimetype == FORM_TYPE else MAX_BYTES

    @app.after_request
    def set_version(response: Response) -> Response:
        if (request.endpoint or "").startswith(ENDPOINTS):
            response.headers["Tus-Resumable"] = VERSION
        return response


def unsupported_version() -> Response | None:
    """Return the refusal of a request that is not of this version of the protocol."""
    if request.headers.get("Tus-Resumable") == VERSION:
        return None
    error = StowageError(
        Kind.INVALID,
        f"The header “Tus-Resumable” must be {VERSION}.",
        operation="upload",
        remedy="Use a client of the tus protocol 1.0, or send a form.",
    )
    response = error_response(412, error.as_dict())
    response.headers["Tus-Version"] = VERSION
    return response


def whole(name: str) -> int:
    """Return the number of bytes in a header. Raises ``InvalidInput``."""
    text = request.headers.get(name, "")
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS):
        raise InvalidInput(name, f"The header “{name}” must be a whole number of bytes.")
    return int(text)


def checksum() -> tuple[str, bytes] | None:
    """Return the checksum of the body, if the client sent one. Raises ``InvalidInput``."""
    text = request.headers.get("Upload-Checksum")
    if text is None:
        return None
    algorithm, _, encoded = text.partition(" ")
    return parse_checksum(algorithm, _decoded("Upload-Checksum", encoded))


def metadata() -> dict[str, str]:
    """Return what ``Upload-Metadata`` says: names, each with a value in base64 or none, separated by commas.
    Raises ``InvalidInput``."""
    text = request.headers.get("Upload-Metadata", "")
    if len(text) > MAX_METADATA_BYTES:
        raise InvalidInput("Upload-Metadata", f"It is longer than {MAX_METADATA_BYTES:,} bytes.")
    found: dict[str, str] = {}
    for pair in text.split(",") if text else ():
        name, _, encoded = pair.strip().partition(" ")
        found[name] = _decoded("Upload-Metadata", encoded).decode("utf-8", "replace")
    return found


def _decoded(header: str, encoded: str) -> bytes:
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidInput(header, f"The header “{header}” holds something that is not base64.") from error


def expiry(upload: UploadInfo) -> dict[str, str]:
    """When the upload is removed unless it is continued (tus expiration)."""
    if upload.state is not UploadState.RECEIVING:
        return {}
    return {"Upload-Expires": format_datetime(datetime.fromtimestamp(upload.expires_at, UTC), usegmt=True)}


def empty(status: int, headers: dict[str, str]) -> Response:
    """A response without a body, also to HEAD requests."""
    response = Response(status=status, headers=headers)
    response.headers.pop("Content-Type", None)
    return response
