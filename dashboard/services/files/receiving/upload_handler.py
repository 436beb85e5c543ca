"""What a program can change about an upload: its own checks, its own names, its own processing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from dashboard.errors import Kind, StowageError
from dashboard.media.kinds import FileType
from dashboard.services.files.receiving.upload_names import clean_name


class UploadRefused(StowageError):
    """Raise it in :meth:`UploadHandler.validate` to refuse a file. The uploader reads ``reason`` and
    ``remedy``, both sentences."""

    def __init__(self, reason: str, remedy: str = "") -> None:
        super().__init__(Kind.REFUSED, reason, operation="upload", remedy=remedy)


@dataclass(frozen=True, slots=True)
class ReceivedFile:
    """A file that was received and checked, and that nobody can read yet.

    ``name``: without a folder. ``size`` in bytes. ``type``: what the content is. ``owner``: who sent it.
    ``facts``: what is known about the content, such as ``width`` and ``height``.
    """

    name: str
    folder: str
    owner: str
    size: int
    sha256: str
    type: FileType
    path: Path
    facts: Mapping[str, Any] = field(default_factory=dict)

    def open(self) -> BinaryIO:
        """Open the content for reading."""
        return self.path.open("rb")


class UploadHandler:
    """Subclass it and pass an instance to ``uploads.accept``. The methods are called in this order, once for
    each attempt, before anybody can read the file; the policy has accepted it by then."""

    def validate(self, file: ReceivedFile) -> None:
        """Raise :class:`UploadRefused` if the file is not acceptable."""

    def process(self, file: ReceivedFile, output: BinaryIO) -> bool:
        """Write what is stored instead of the file to ``output`` and return True; return False to store the
        file as it is. Watermarks and conversions go here. The result is not checked again."""
        return False

    def name(self, file: ReceivedFile) -> str:
        """Return the name under which it is stored, without a folder. The policy's unique names, dates and
        conflicts apply to it."""
        return file.name


def checked_name(handler: UploadHandler, file: ReceivedFile) -> str:
    """Return the handler's name for a file, made safe."""
    return clean_name(handler.name(file))
