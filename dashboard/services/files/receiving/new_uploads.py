"""What a client asks for when it begins an upload, and what it is told when it may not."""

from __future__ import annotations

from dataclasses import dataclass

from dashboard.errors import Kind, StowageError, TooMany
from dashboard.services.files.receiving.upload_rows import UploadInfo

MAX_UNFINISHED = 1000
"""Uploads that one person or program may have begun and not finished."""


@dataclass(frozen=True, slots=True)
class NewUpload:
    """What a client says about an upload that it begins. ``size`` in bytes, None if it is not known.
    ``backend``: its name, empty for the active one. ``policy``: its name, empty for the default.
    ``method``: "tus", "form" or "library"."""

    name: str
    size: int | None
    backend: str = ""
    folder: str = ""
    policy: str = ""
    content_type: str = ""
    method: str = "tus"


def not_receiving_error(upload: UploadInfo) -> StowageError:
    """For bytes of an upload that takes none."""
    return StowageError(
        Kind.CONFLICT,
        f"This upload takes no more bytes: it is {upload.state.value}.",
        operation="upload",
        remedy="Ask for its state.",
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
