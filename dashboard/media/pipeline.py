"""What happens to an uploaded file before anybody may read it, as one call from bytes to values.

Name and content are compared, the file is scanned, and what a decoder can open is decoded in the sandbox: the
result is a ``Refusal``, or ``FileFacts`` with the images that the policy wants made ahead. Nothing is stored.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from io import UnsupportedOperation
from math import isfinite
from typing import Any, BinaryIO

from dashboard.media.kinds import FileKind, FileType
from dashboard.media.policy import DEFAULT, Refusal, Scan, UploadPolicy
from dashboard.media.recipes import CONTENT_TYPES, ImageFormat, Recipe
from dashboard.media.sandbox import MediaError, Outcome, Sandbox
from dashboard.media.scan import Scanner, ScanState
from dashboard.media.sizes import format_size
from dashboard.media.sniffing import compare, hides_an_archive, sniff, sniff_bytes
from dashboard.media.zip_members import Members, read_members

_WINDOW = 1024 * 1024
MAX_IN_MEMORY = 256 * 1024 * 1024
"""Bytes of a file that is sent to a decoder. Videos are read where they are, whatever their size."""
_MAX_TEXT = 200
_MAX_DETAILS = 40
_ARCHIVES = (
    "zip",
    "jar",
    "apk",
    "docx",
    "xlsx",
    "pptx",
    "docm",
    "xlsm",
    "pptm",
    "epub",
    "odt",
    "ods",
    "odp",
    "odg",
)
_CHECKED_MARKUP = ("svg", "xml")


class Step(StrEnum):
    """What is being done, for whoever shows it."""

    CHECKING = "checking"
    SCANNING = "scanning"
    PROCESSING = "processing"


@dataclass(frozen=True, slots=True)
class Derived:
    """An image made from a file; ``width`` and ``height`` in pixels."""

    recipe: Recipe
    format: ImageFormat
    data: bytes
    width: int
    height: int

    @property
    def content_type(self) -> str:
        """Its content type."""
        return CONTENT_TYPES[self.format]


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What is known about a file that was accepted. Pixels; seconds; pages; None if unknown or meaningless.

    ``taken_at``: seconds since the epoch. ``details``: texts and numbers, such as the camera. ``scanned``:
    whether it was scanned and is clean. ``notes``: sentences about what was left out.
    """

    type: FileType
    size: int
    sha256: str
    width: int | None = None
    height: int | None = None
    duration: float | None = None
    pages: int | None = None
    taken_at: float | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    derived: tuple[Derived, ...] = ()
    scanned: bool = False
    notes: tuple[str, ...] = ()

    @property
    def content_type(self) -> str:
        """The content type, from the content and the ending together."""
        return self.type.content_type


def hash_content(content: BinaryIO) -> str:
    """Return the SHA-256 of everything from the beginning, in hexadecimal digits. Moves the position."""
    digest = hashlib.sha256()
    content.seek(0)
    while chunk := content.read(_WINDOW):
        digest.update(chunk)
    return digest.hexdigest()


def _nothing(_: Step) -> None:
    pass


class Pipeline:
    """Checks files with one sandbox and, if there is one, one scanner. Thread-safe."""

    def __init__(self, sandbox: Sandbox, scanner: Scanner | None = None) -> None:
        self.sandbox = sandbox
        self.scanner = scanner

    def inspect(
        self,
        content: BinaryIO,
        name: str,
        policy: UploadPolicy = DEFAULT,
        *,
        sha256: str = "",
        gps: bool = False,
        on_step: Callable[[Step], None] = _nothing,
    ) -> FileFacts | Refusal:
        """Check a whole file; nothing of it was trusted before, and nobody changes it meanwhile.

        ``content`` can seek; its position moves. ``name``: the file's own, without folders. ``sha256``: if it
        was computed while the file was received. ``gps``: read where an image was taken. ``on_step`` is
        called when a step begins. Raises ``SandboxError`` if nothing can be decoded at the moment, and
        whatever reading ``content`` raises.
        """
        on_step(Step.CHECKING)
        size = content.seek(0, os.SEEK_END)
        found = self._identify(content, name, size, policy)
        if isinstance(found, Refusal):
            return found
        members = read_members(content) if found.name in _ARCHIVES else None
        on_step(Step.SCANNING)
        scanned = _check_members(members) or self._scan(content, size, members, policy)
        if isinstance(scanned, Refusal):
            return scanned
        on_step(Step.PROCESSING)
        basis = FileFacts(
            found,
            size,
            sha256 or hash_content(content),
            scanned=scanned[0],
            notes=scanned[1],
        )
        try:
            outcome = self._decode(content, found, size, policy.recipes(), policy.max_pixels, gps=gps)
        except MediaError as error:
            refusal = self._refuse(error, name, found, policy)
            return refusal or replace(basis, notes=(*basis.notes, error.reason))
        return basis if outcome is None else _with_outcome(basis, outcome, policy.recipes())

    def derive(
        self, content: BinaryIO, found: FileType, recipes: Sequence[Recipe], *, max_pixels: int
    ) -> tuple[Derived, ...]:
        """Return what the recipes make of a file that was accepted before. Raises ``MediaError`` if nothing
        can be made of it, ``SandboxError`` as :meth:`inspect`."""
        size = content.seek(0, os.SEEK_END)
        outcome = self._decode(content, found, size, recipes, max_pixels, gps=False)
        made = () if outcome is None else _derived(outcome, recipes)
        if len(made) != len(recipes):
            raise MediaError("unsupported", limits=self.sandbox.limits)
        return made

    def _identify(self, content: BinaryIO, name: str, size: int, policy: UploadPolicy) -> FileType | Refusal:
        if refusal := policy.check_name(name, size):
            return refusal
        content_type = sniff(content)
        found = compare(name, content_type)
        if found is None:
            return Refusal(
                415,
                f"The name “{name}” promises something else: the file contains {content_type.label}.",
                "Give it the ending that belongs to its content, or save it again as what you meant.",
            )
        if refusal := policy.check_type(name, found):
            return refusal
        if hides_an_archive(content, content_type):
            return Refusal(
                422,
                f"“{name}” is {found.label} and a ZIP archive at the same time.",
                "Save it again, which drops what was appended to it.",
            )
        return found

    def _scan(
        self, content: BinaryIO, size: int, members: Members | None, policy: UploadPolicy
    ) -> tuple[bool, tuple[str, ...]] | Refusal:
        """Whether it was scanned and is clean, and a sentence if it should have been scanned and was not."""
        if policy.scan is Scan.OFF:
            return False, ()
        if self.scanner is None:
            reason, retryable = "There is no virus scanner.", False
        elif members is not None and members.encrypted:
            reason, retryable = "The virus scanner cannot look into an archive with a password.", False
        else:
            unpacked = members.unpacked if members is not None else 0
            result = self.scanner.scan(content, size, unpacked=unpacked)
            if result.state is ScanState.CLEAN:
                return True, ()
            if result.state is ScanState.INFECTED:
                return Refusal(
                    422,
                    f"The virus scanner found “{result.detail}” in this file.",
                    "Do not open it. Check the computer that it comes from.",
                )
            reason, retryable = result.detail, result.retryable
        if policy.scan is Scan.OPTIONAL:
            return False, (reason,)
        return Refusal(
            503 if retryable or self.scanner is None else 422,
            f"Only files that were scanned for viruses are accepted here. {reason}",
            "Try again later." if retryable else "Ask an administrator.",
            retryable=retryable,
        )

    def _decode(
        self,
        content: BinaryIO,
        found: FileType,
        size: int,
        recipes: Sequence[Recipe],
        max_pixels: int,
        *,
        gps: bool,
    ) -> Outcome | None:
        """What the sandbox says; None for what it has no decoder for."""
        wanted = [recipe.as_dict() for recipe in recipes]
        arguments = {"type": found.name, "max_pixels": max_pixels, "recipes": wanted, "gps": gps}
        if found.kind in (FileKind.VIDEO, FileKind.AUDIO):
            with _as_file(content) as descriptor:
                return self.sandbox.run("video", arguments, file=descriptor)
        task = {"pdf": "pdf", **dict.fromkeys(_CHECKED_MARKUP, "markup")}.get(found.name)
        if found.kind is FileKind.IMAGE:
            task = "image"
        if task is None:
            return None
        if size > MAX_IN_MEMORY:
            raise MediaError("out_of_memory", limits=self.sandbox.limits)
        content.seek(0)
        return self.sandbox.run(task, arguments, [content.read(size)])

    def _refuse(self, error: MediaError, name: str, found: FileType, policy: UploadPolicy) -> Refusal | None:
        """None if the file is accepted although it could not be decoded."""
        if error.cause in ("unsupported", "encrypted"):
            return None
        if found.name == "pdf" and error.cause == "out_of_memory" and not error.details:
            return None
        if error.cause == "pixels":
            width, height = error.details.get("width"), error.details.get("height")
            if isinstance(width, int) and isinstance(height, int):
                return policy.check_pixels(width, height)
        return Refusal(422, f"“{name}” cannot be used as {found.label}. {error.reason}", error.remedy)


def _check_members(members: Members | None) -> Refusal | None:
    if members is None or not members.is_bomb:
        return None
    return Refusal(
        422,
        f"The archive would unpack to {format_size(members.unpacked)}, far more than it contains.",
        "Upload the files themselves, or an ordinary archive of them.",
    )


@contextmanager
def _as_file(content: BinaryIO) -> Any:
    """A descriptor of the content, which is copied to a nameless file if it has none of its own."""
    try:
        descriptor = content.fileno()
    except (UnsupportedOperation, AttributeError, OSError):
        with tempfile.TemporaryFile() as copy:
            content.seek(0)
            shutil.copyfileobj(content, copy, _WINDOW)
            copy.flush()
            yield copy.fileno()
    else:
        # Opened anew where that is possible: a position is shared by everyone who has the descriptor, and
        # only reading is allowed.
        try:
            own = os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY)
        except OSError:
            own = os.dup(descriptor)
        try:
            yield own
        finally:
            os.close(own)


def _with_outcome(basis: FileFacts, outcome: Outcome, recipes: Sequence[Recipe]) -> FileFacts:
    """What the sandbox says, each value checked: a decoder may have been taken over."""
    values = outcome.values
    width, height = _whole(values.get("width")), _whole(values.get("height"))
    details = _details(values.get("details"))
    if isinstance(place := values.get("gps"), dict):
        details["gps"] = _details(place)
    if (frames := _whole(values.get("frames"))) and frames > 1:
        details["frames"] = frames
    return replace(
        basis,
        width=width if width and height else None,
        height=height if width and height else None,
        duration=_number(values.get("duration")),
        pages=_whole(values.get("pages")),
        taken_at=_number(values.get("taken_at")),
        details=details,
        derived=_derived(outcome, recipes),
    )


def _derived(outcome: Outcome, recipes: Sequence[Recipe]) -> tuple[Derived, ...]:
    """The images that are what the decoder says they are; none if one of them is not."""
    rows = outcome.values.get("derived")
    if not isinstance(rows, list) or not len(rows) == len(outcome.parts) == len(recipes):
        return ()
    made = []
    for recipe, row, data in zip(recipes, rows, outcome.parts, strict=True):
        if not isinstance(row, list) or len(row) != 3 or row[0] not in set(ImageFormat):
            return ()
        width, height = _whole(row[1]), _whole(row[2])
        if not width or not height or sniff_bytes(data).name != row[0]:
            return ()
        made.append(Derived(recipe, ImageFormat(row[0]), data, width, height))
    return tuple(made)


def _number(value: object) -> float | None:
    if (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and isfinite(value)
        and abs(value) < 1e12
    ):
        return float(value)
    return None


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1e9 else None


def _details(values: object) -> dict[str, Any]:
    if not isinstance(values, dict):
        return {}
    found: dict[str, Any] = {}
    for name, value in list(values.items())[:_MAX_DETAILS]:
        number = _number(value)
        if number is not None:
            found[str(name)[:_MAX_TEXT]] = number
        elif isinstance(value, str) and value.isprintable():
            found[str(name)[:_MAX_TEXT]] = value[:_MAX_TEXT]
    return found
