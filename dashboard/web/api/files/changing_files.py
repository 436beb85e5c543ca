"""Changing files of a backend: copies, moves, folders, attributes, versions, deletions and undoing them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from dashboard.errors import StowageError
from dashboard.services.files.changing.deletions import Deleted
from dashboard.services.files.changing.edits import FileEdit
from dashboard.services.files.changing.moving_objects import OnTaken, Transfer
from dashboard.services.files.changing.outcomes import MAX_FILES, FileRef, Outcome
from dashboard.services.permissions import Permission
from dashboard.storage.types import Visibility
from dashboard.web.api.files.browsing import FileInformation, Key, information
from dashboard.web.api.routes import Resource
from dashboard.web.api.schemas import Field
from dashboard.web.context import actor, services
from dashboard.web.language.sentences import translated

resource = Resource(
    "File changes", "Copying, moving and deleting files, and changing what is stored with them."
)

MAX_TOKEN = 1024
_UNSUPPORTED = {422: "The backend cannot do that; the sentence says why."}
Seen = Annotated[
    str | None,
    Field("The file's `version`: if it is another one by now, nothing happens.", maximum_length=MAX_TOKEN),
]


@dataclass(frozen=True, slots=True)
class TransferredFile:
    """A file, and its new key."""

    key: Key
    to: Key
    version: Seen = None


@dataclass(frozen=True, slots=True)
class TransferRequest:
    """Files to copy or move. `on_taken`: what happens if a new key is taken."""

    files: Annotated[tuple[TransferredFile, ...], Field(maximum_items=MAX_FILES)]
    on_taken: OnTaken = OnTaken.REFUSE


@dataclass(frozen=True, slots=True)
class FileOutcome:
    """What became of one file. `to`: where it, or its copy, is now. `kind` and `reason` are empty if
    everything was done."""

    key: str
    to: str
    done: bool
    kind: str
    reason: str
    remedy: str


@dataclass(frozen=True, slots=True)
class FileOutcomes:
    """What became of each file, in the order of the request."""

    outcomes: tuple[FileOutcome, ...]


@dataclass(frozen=True, slots=True)
class NewFolder:
    """A folder to create."""

    folder: Key


@dataclass(frozen=True, slots=True)
class CreatedFolder:
    """What was created, in a sentence."""

    message: str


@dataclass(frozen=True, slots=True)
class DeletedFile:
    """A file to delete."""

    key: Key
    version: Seen = None


@dataclass(frozen=True, slots=True)
class DeletionRequest:
    """Files to delete. `confirmed`: their number, needed where deletions cannot be undone."""

    files: Annotated[tuple[DeletedFile, ...], Field(maximum_items=MAX_FILES)]
    confirmed: Annotated[int | None, Field(minimum=0)] = None


@dataclass(frozen=True, slots=True)
class DeletionOutcomes:
    """What became of each file. With `undo_id` the deletion can be undone until `undo_until`."""

    outcomes: tuple[FileOutcome, ...]
    undo_id: str | None
    undo_until: float | None


@dataclass(frozen=True, slots=True)
class FileChange:
    """What to change; null stays as it is. `metadata` and `tags` are replaced as a whole, an empty header is
    removed."""

    key: Key
    version: Seen = None
    headers: Annotated[Mapping[str, str] | None, Field(maximum_items=10, maximum_length=1024)] = None
    metadata: Annotated[Mapping[str, str] | None, Field(maximum_items=100, maximum_length=2048)] = None
    tags: Annotated[Mapping[str, str] | None, Field(maximum_items=50, maximum_length=256)] = None
    tier: Annotated[str | None, Field(maximum_length=64)] = None
    visibility: Visibility | None = None


@dataclass(frozen=True, slots=True)
class RestoreRequest:
    """The version of a file to make the current one."""

    key: Key
    version_id: Annotated[str, Field(maximum_length=MAX_TOKEN)]


@resource.route(
    "POST",
    "/backends/<name>/files/copy",
    Permission.WRITE_FILES,
    body=TransferRequest,
    returns=FileOutcomes,
    errors=_UNSUPPORTED,
    storage=True,
)
def copy(name: str, body: TransferRequest) -> FileOutcomes:
    """Copy files within a backend.

    On its server where possible. Each file has its own outcome; if a single one cannot be copied, that is the
    response's error.
    """
    return _outcomes(services().file_changes.copy(actor(), name, _transfers(body), on_taken=body.on_taken))


@resource.route(
    "POST",
    "/backends/<name>/files/move",
    Permission.WRITE_FILES,
    body=TransferRequest,
    returns=FileOutcomes,
    errors=_UNSUPPORTED,
    storage=True,
)
def move(name: str, body: TransferRequest) -> FileOutcomes:
    """Move or rename files within a backend.

    A file that somebody writes to meanwhile stays, and its outcome says so.
    """
    return _outcomes(services().file_changes.move(actor(), name, _transfers(body), on_taken=body.on_taken))


@resource.route(
    "POST",
    "/backends/<name>/files/folder",
    Permission.WRITE_FILES,
    body=NewFolder,
    returns=CreatedFolder,
    status=201,
    errors=_UNSUPPORTED,
    storage=True,
)
def new_folder(name: str, body: NewFolder) -> CreatedFolder:
    """Create an empty folder.

    Where a backend has no folders, an empty object stands for it, as the message says.
    """
    return CreatedFolder(services().file_changes.make_folder(actor(), name, body.folder))


@resource.route(
    "PATCH",
    "/backends/<name>/files",
    Permission.WRITE_FILES,
    body=FileChange,
    returns=FileInformation,
    errors=_UNSUPPORTED,
    storage=True,
)
def edit(name: str, body: FileChange) -> FileInformation:
    """Change headers, metadata, tags, tier or visibility of a file."""
    change = FileEdit(body.headers, body.metadata, body.tags, body.tier, body.visibility)
    services().file_edits.edit(actor(), name, FileRef(body.key, body.version), change)
    return information(services().file_details.of(actor(), name, body.key))


@resource.route(
    "POST",
    "/backends/<name>/files/restore",
    Permission.WRITE_FILES,
    body=RestoreRequest,
    returns=FileInformation,
    errors=_UNSUPPORTED,
    storage=True,
)
def restore(name: str, body: RestoreRequest) -> FileInformation:
    """Make an older version of a file the current one."""
    services().file_edits.restore(actor(), name, body.key, body.version_id)
    return information(services().file_details.of(actor(), name, body.key))


@resource.route(
    "POST",
    "/backends/<name>/files/delete",
    Permission.WRITE_FILES,
    body=DeletionRequest,
    returns=DeletionOutcomes,
    errors=_UNSUPPORTED,
    storage=True,
)
def remove(name: str, body: DeletionRequest) -> DeletionOutcomes:
    """Delete files.

    Where the backend keeps what is deleted, `undo_id` brings it back for a week.
    """
    files = [FileRef(each.key, each.version) for each in body.files]
    deleted = services().deletions.delete(actor(), name, files, confirmed=body.confirmed)
    return deletion_outcomes(deleted)


@resource.route(
    "POST",
    "/deletions/<undo_id>/undo",
    Permission.WRITE_FILES,
    returns=FileOutcomes,
    errors=_UNSUPPORTED,
    storage=True,
)
def undo(undo_id: str) -> FileOutcomes:
    """Undo a deletion.

    A file that somebody has written in the meantime is never overwritten.
    """
    return _outcomes(services().deletions.undo(actor(), undo_id))


def deletion_outcomes(deleted: Deleted) -> DeletionOutcomes:
    """What became of a deletion, as the API shows it; raises as ``_outcomes`` does."""
    return DeletionOutcomes(_outcomes(deleted.outcomes).outcomes, deleted.undo_id or None, deleted.undo_until)


def _transfers(body: TransferRequest) -> list[Transfer]:
    return [Transfer(FileRef(each.key, each.version), each.to) for each in body.files]


def _outcomes(outcomes: Sequence[Outcome]) -> FileOutcomes:
    """What became of the files; raises what happened if there is only one, and nothing was done to it."""
    if len(outcomes) == 1 and outcomes[0].kind is not None and not outcomes[0].to:
        (one,) = outcomes
        assert one.kind is not None
        raise StowageError(one.kind, one.reason, operation="files", subject=one.key, remedy=one.remedy)
    return FileOutcomes(
        tuple(
            FileOutcome(
                each.key,
                each.to,
                each.done,
                each.kind or "",
                translated(each.reason),
                translated(each.remedy),
            )
            for each in outcomes
        )
    )
