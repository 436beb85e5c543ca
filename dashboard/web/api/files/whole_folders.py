"""Changing whole folders, and sending files to another backend: both go on in the background."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from dashboard.services.files.changing.folder_changes import FolderAction, FolderChange
from dashboard.services.files.changing.folder_steps import MAX_COUNTED
from dashboard.services.files.changing.moving_objects import OnTaken
from dashboard.services.permissions import Permission
from dashboard.web.api.files.browsing import MAX_KEY, Key
from dashboard.web.api.routes import Resource
from dashboard.web.api.schemas import Field
from dashboard.web.context import actor, services

resource = Resource(
    "Folder changes", "Moving, copying and deleting whole folders, and sending files to another backend."
)


@dataclass(frozen=True, slots=True)
class FolderChangeRequest:
    """What to do with a folder. Paths end in “/”. `confirmed`: the number of its files, needed to delete them
    where that cannot be undone."""

    action: FolderAction
    prefix: Key
    target: Annotated[str, Field("Empty for a deletion.", maximum_length=MAX_KEY, key=True)] = ""
    on_taken: OnTaken = OnTaken.REFUSE
    confirmed: Annotated[int | None, Field(minimum=0)] = None


@dataclass(frozen=True, slots=True)
class FolderProblem:
    """A file that was not changed, and why."""

    key: str
    reason: str


@dataclass(frozen=True, slots=True)
class FolderChangeDetails:
    """A change of a folder. `state`: waiting, running, cancelling, cancelled, failed (the backend stopped
    answering; resume it) or done. `undo_ids` undo a deletion."""

    id: str
    backend: str
    action: FolderAction
    prefix: str
    target: str
    on_taken: OnTaken
    state: str
    done: int
    failed: int
    problems: tuple[FolderProblem, ...]
    undo_ids: tuple[str, ...]
    message: str
    created_by: str
    created_at: float
    updated_at: float


@dataclass(frozen=True, slots=True)
class FolderChangeList:
    """The newest changes of a backend's folders."""

    changes: tuple[FolderChangeDetails, ...]


@dataclass(frozen=True, slots=True)
class FolderCountQuery:
    """Which folder."""

    prefix: Key


@dataclass(frozen=True, slots=True)
class FolderCount:
    """How many files are in a folder and below. `complete`: false if counting stopped there."""

    files: int
    complete: bool


@dataclass(frozen=True, slots=True)
class SendRequest:
    """Files and folders (their keys end in “/”) for another backend, where they have the same keys."""

    destination: Annotated[str, Field("The name of a backend.", maximum_length=63)]
    keys: Annotated[tuple[str, ...], Field(maximum_items=100, maximum_length=MAX_KEY)]
    move: bool = False
    on_taken: OnTaken = OnTaken.REFUSE


@dataclass(frozen=True, slots=True)
class SentFiles:
    """The migration that copies them."""

    migration_id: int


@resource.route(
    "POST",
    "/backends/<name>/folder-changes",
    Permission.WRITE_FILES,
    body=FolderChangeRequest,
    returns=FolderChangeDetails,
    status=202,
    storage=True,
)
def begin(name: str, body: FolderChangeRequest) -> FolderChangeDetails:
    """Move, copy or delete a folder with everything in it.

    It goes on in the background, and continues after a restart.
    """
    change = services().folder_changes.begin(
        actor(),
        name,
        body.action,
        body.prefix,
        body.target,
        on_taken=body.on_taken,
        confirmed=body.confirmed,
    )
    return details(change)


@resource.route("GET", "/backends/<name>/folder-changes", Permission.READ_FILES, returns=FolderChangeList)
def index(name: str) -> FolderChangeList:
    """List the changes of a backend's folders, the newest first."""
    return FolderChangeList(tuple(map(details, services().folder_changes.recent(actor(), name))))


@resource.route("GET", "/folder-changes/<change_id>", Permission.READ_FILES, returns=FolderChangeDetails)
def show(change_id: str) -> FolderChangeDetails:
    """Return one change of a folder, and how far it is."""
    return details(services().folder_changes.get(actor(), change_id))


@resource.route(
    "POST", "/folder-changes/<change_id>/cancel", Permission.WRITE_FILES, returns=FolderChangeDetails
)
def cancel(change_id: str) -> FolderChangeDetails:
    """Stop a change soon.

    Files that were changed stay as they are.
    """
    services().folder_changes.cancel(actor(), change_id)
    return show(change_id)


@resource.route(
    "POST", "/folder-changes/<change_id>/resume", Permission.WRITE_FILES, returns=FolderChangeDetails
)
def resume(change_id: str) -> FolderChangeDetails:
    """Continue a change that failed or was cancelled."""
    services().folder_changes.resume(actor(), change_id)
    return show(change_id)


@resource.route(
    "GET",
    "/backends/<name>/files/count",
    Permission.WRITE_FILES,
    query=FolderCountQuery,
    returns=FolderCount,
    storage=True,
)
def count(name: str, query: FolderCountQuery) -> FolderCount:
    """Count the files in a folder and below, to confirm its deletion."""
    files = services().folder_changes.count(actor(), name, query.prefix)
    return FolderCount(files, files < MAX_COUNTED)


@resource.route(
    "POST",
    "/backends/<name>/files/send",
    Permission.WRITE_FILES,
    body=SendRequest,
    returns=SentFiles,
    status=202,
)
def send(name: str, body: SendRequest) -> SentFiles:
    """Copy or move files to another backend.

    A migration does it, with its ledger and its proofs; the token also needs the scope “migrate”.
    """
    number = services().across.begin(
        actor(), name, body.destination, body.keys, move=body.move, on_taken=body.on_taken
    )
    return SentFiles(number)


def details(change: FolderChange) -> FolderChangeDetails:
    """A change as the API shows it."""
    names = FolderChangeDetails.__dataclass_fields__.keys() - {"backend", "problems"}
    values = {name: getattr(change, name) for name in names}
    return FolderChangeDetails(
        backend=services().backends.name_of(change.backend_id) or "",
        problems=tuple(FolderProblem(key, reason) for key, reason in change.problems),
        **values,
    )
