"""What a client asks for when it begins an upload, and what it is told when it may not."""

from __future__ import annotations

from dataclasses import dataclass

from dashboard.errors import Kind, StowageError, TooMany
from dashboard.services.backends.backends import BackendInfo, Backends
from dashboard.services.files.receiving.limits import is_read_only_backend
from dashboard.services.files.receiving.upload_rows import UploadInfo

MAX_UNFINISHED = 1000
"""Uploads that one person or program may have begun and not finished."""


@dataclass(frozen=True, slots=True)
class NewUpload:
    """What a client says about an upload that it begins. ``size`` in bytes, None if it is not known.
    ``backend``: its name, empty for the active one. ``policy``: its name, empty for the default.
    ``method``: "tus", "form", "library" or "direct"."""

    name: str
    size: int | None
    backend: str = ""
    folder: str = ""
    policy: str = ""
    content_type: str = ""
    method: str = "tus"


def find_destination(backends: Backends, name: str) -> BackendInfo:
    """Return the backend of an upload; empty for the active one. Raises ``NOT_FOUND`` and ``CONFLICT``."""
    if name:
        backend = backends.get(name)
    else:
        first = backends.list(limit=1)
        if not first or not first[0].active:
            raise StowageError(
                Kind.CONFLICT,
                "No backend is active, so it is not known where to store this.",
                operation="upload",
                remedy="Name a backend, or make one the active backend.",
            )
        backend = first[0]
    if is_read_only_backend(backend):
        raise StowageError(
            Kind.CONFLICT,
            f"“{backend.name}” is read-only.",
            operation="upload",
            subject=backend.name,
            remedy="Upload to another backend.",
        )
    return backend


def not_receiving_error(upload: UploadInfo) -> StowageError:
    """For bytes of an upload that takes none."""
    return StowageError(
        Kind.CONFLICT,
        f"This upload takes no more bytes: it is {upload.state.value}.",
        operation="upload",
        remedy="Ask for its state.",
    )


def other_method_error(upload: UploadInfo) -> StowageError:
    """For bytes of an upload that takes them in another way."""
    direct = upload.method == "direct"
    return StowageError(
        Kind.CONFLICT,
        "This upload goes directly to the bucket." if direct else "This upload goes through the console.",
        operation="upload",
        remedy="Ask for the addresses of its parts." if direct else "Send its bytes with tus.",
    )


def cancelled_error() -> StowageError:
    """For an upload that its uploader has removed."""
    return StowageError(
        Kind.CONFLICT, "This upload was cancelled.", operation="upload", remedy="Upload the file again."
    )


def other_offset_error(offset: int) -> StowageError:
    """For bytes that begin elsewhere than where the upload goes on."""
    return StowageError(
        Kind.CONFLICT,
        f"This upload goes on from byte {offset:,}.",
        operation="upload",
        remedy="Ask for the offset and go on from there.",
    )


def too_many_error() -> StowageError:
    """For one unfinished upload more than somebody may have."""
    return TooMany(
        f"There are {MAX_UNFINISHED:,} unfinished uploads of yours.",
        operation="upload",
        remedy="Finish or remove some of them.",
        retry_after=60.0,
    )
