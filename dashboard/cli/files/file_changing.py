"""``stowage files cp``, ``mv``, ``rm``, ``undo`` and ``put``: changing files, within a backend and across."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dashboard.cli import follow, formatting
from dashboard.cli.arguments import YES, confirm, require_terminal
from dashboard.cli.files.file_paths import PATH, FilePath, print_failures, print_outcomes
from dashboard.cli.files.file_reading import REPLACE
from dashboard.cli.invocation import DONE, WITH_ERRORS, Command, Invocation, pass_invocation
from dashboard.errors import InvalidInput
from dashboard.services.files.changing.moving_objects import OnTaken, Transfer
from dashboard.services.files.changing.outcomes import FileRef

if TYPE_CHECKING:
    from dashboard.services.files.changing.folder_changes import FolderChange

NOTE_SECONDS = 5.0
"""Between two lines of progress."""
_ENDED = ("done", "failed", "cancelled")

ON_TAKEN = click.option(
    "--if-taken",
    type=click.Choice([choice.value for choice in OnTaken]),
    default=OnTaken.REFUSE.value,
    show_default=True,
    help="What happens if a name is taken there.",
)


@click.command(cls=Command)
@click.argument("source", type=PATH)
@click.argument("destination", type=PATH)
@ON_TAKEN
@pass_invocation
def cp(invocation: Invocation, source: FilePath, destination: FilePath, if_taken: str) -> int:
    """Copy the file or the folder SOURCE to DESTINATION.

    To another backend it is a small migration with its ledger, and every file keeps its key.
    """
    return _transfer(invocation, source, destination, OnTaken(if_taken), move=False)


@click.command(cls=Command)
@click.argument("source", type=PATH)
@click.argument("destination", type=PATH)
@ON_TAKEN
@pass_invocation
def mv(invocation: Invocation, source: FilePath, destination: FilePath, if_taken: str) -> int:
    """Move or rename the file or the folder SOURCE.

    To another backend it is a small migration: a file is deleted from SOURCE once its copy is proven.
    """
    return _transfer(invocation, source, destination, OnTaken(if_taken), move=True)


@click.command(cls=Command)
@click.argument("paths", type=PATH, nargs=-1, required=True, metavar="PATH...")
@click.option("--recursive", "-r", is_flag=True, help="Also folders, with everything in them.")
@YES
@pass_invocation
def rm(invocation: Invocation, paths: Sequence[FilePath], recursive: bool, yes: bool) -> int:
    """Delete files, and with --recursive folders, of one backend.

    Asks before deleting several files; for what cannot be undone, their number has to be typed.
    """
    from dashboard.services.files.changing.folder_changes import FolderAction

    backend = paths[0].backend
    if any(path.backend != backend for path in paths):
        raise InvalidInput("paths", "One command deletes from one backend.")
    folders = [path.key for path in paths if path.is_folder]
    if "" in folders:
        raise InvalidInput(
            "paths", "A whole backend is not deleted.", remedy="Name its folders, such as media:photos/."
        )
    if folders and not recursive:
        raise InvalidInput("paths", f"“{folders[0]}” is a folder.", remedy="Add --recursive to delete it.")
    services, actor = invocation.services, invocation.actor
    files = [FileRef(path.key) for path in paths if not path.is_folder]
    inside = {folder: services.folder_changes.count(actor, backend, folder) for folder in folders}
    number = len(files) + sum(inside.values())
    final = not services.deletions.can_undo(actor, backend)
    if not yes and not _agreed(number, final=final, names=[str(path) for path in paths]):
        invocation.out.note("Nothing was deleted.")
        invocation.out.document({"files": [], "folders": [], "undo": []})
        return WITH_ERRORS
    changes = [
        _follow(
            invocation,
            services.folder_changes.begin(actor, backend, FolderAction.DELETE, folder, confirmed=count),
        )
        for folder, count in inside.items()
    ]
    undo = [undo_id for change in changes for undo_id in change.undo_ids]
    code = DONE
    if files:
        deleted = services.deletions.delete(actor, backend, files, confirmed=len(files))
        undo += [deleted.undo_id] if deleted.undo_id else []
        code = print_outcomes(invocation, deleted.outcomes, "deleted", folders=_documents(changes), undo=undo)
    else:
        invocation.out.document({"files": [], "folders": _documents(changes), "undo": undo})
    codes = [code, *(_print_change(invocation, change, "deleted") for change in changes)]
    if undo:
        invocation.out.note(f"For seven days this can be undone: stowage files undo {' '.join(undo)}")
    return max(codes)


@click.command(cls=Command)
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@pass_invocation
def undo(invocation: Invocation, ids: Sequence[str]) -> int:
    """Restore what rm, or the Files page, has deleted. Never over a file that was written since."""
    outcomes = [
        outcome for each in ids for outcome in invocation.services.deletions.undo(invocation.actor, each)
    ]
    return print_outcomes(invocation, outcomes, "restored")


@click.command(cls=Command)
@click.argument("file", metavar="LOCAL", type=click.Path(path_type=Path))
@click.argument("path", type=PATH)
@REPLACE
@pass_invocation
def put(invocation: Invocation, file: Path, path: FilePath, replace: bool) -> int:
    """Store the file LOCAL of this machine, or all files of a folder, as PATH.

    With a slash at the end PATH is a folder. No upload policy applies, and nothing is scanned.
    """
    transfers = invocation.services.local_transfers
    outcomes = list(transfers.put(invocation.actor, file, path.backend, path.key, replace=replace))
    return print_outcomes(invocation, outcomes, "stored")


def _transfer(
    invocation: Invocation, source: FilePath, destination: FilePath, on_taken: OnTaken, *, move: bool
) -> int:
    if source.backend != destination.backend:
        return _across(invocation, source, destination, on_taken, move=move)
    from dashboard.services.files.changing.folder_changes import FolderAction

    services, done = invocation.services, "moved" if move else "copied"
    if not source.is_folder:
        to = destination.key + source.name if destination.is_folder else destination.key
        change = services.file_changes.move if move else services.file_changes.copy
        transfer = Transfer(FileRef(source.key), to)
        outcomes = change(invocation.actor, source.backend, [transfer], on_taken=on_taken)
        return print_outcomes(invocation, outcomes, done)
    if not destination.is_folder:
        raise InvalidInput(
            "destination", "A folder becomes a folder.", remedy="Add a slash at the end of DESTINATION."
        )
    begun = services.folder_changes.begin(
        invocation.actor,
        source.backend,
        FolderAction.MOVE if move else FolderAction.COPY,
        source.key,
        destination.key,
        on_taken=on_taken,
    )
    change_now = _follow(invocation, begun)
    invocation.out.document({"folders": _documents([change_now])})
    return _print_change(invocation, change_now, done)


def _across(
    invocation: Invocation, source: FilePath, destination: FilePath, on_taken: OnTaken, *, move: bool
) -> int:
    """A migration of these files. The engine pairs both sides by their keys, so they stay the same."""
    if not source.key:
        raise InvalidInput(
            "source", "This is a whole backend.", remedy=f"Use stowage migrate {source.backend} …"
        )
    folder = source.key[: source.key.removesuffix("/").rfind("/") + 1]
    if destination.key not in ("", source.key, folder):
        raise InvalidInput(
            "destination",
            "On the way to another backend every file keeps its key.",
            remedy=f"Send it to {destination.backend}:{source.key}, and rename it there with stowage files "
            "mv.",
        )
    number = invocation.services.across.begin(
        invocation.actor, source.backend, destination.backend, [source.key], move=move, on_taken=on_taken
    )
    invocation.out.note(f"Migration {number}: {source.backend} to {destination.backend}")
    progress = follow.follow(invocation, number)
    code = follow.print_result(invocation, progress)
    if not progress.counters.found:
        invocation.out.note(f"There is no file “{source.key}”.")
        return WITH_ERRORS
    return code


def _agreed(number: int, *, final: bool, names: Sequence[str]) -> bool:
    what = names[0] if len(names) == 1 else formatting.count_of(number, "file")
    if not final and number == 1:
        return True
    if not final:
        return confirm(f"Delete {what} ({formatting.count_of(number, 'file')})?", yes=False)
    require_terminal()
    question = f"{what} cannot be restored after that. Type {number} to delete for good"
    return bool(click.prompt(question, err=True, default="", show_default=False).strip() == str(number))


def _follow(invocation: Invocation, change: FolderChange) -> FolderChange:
    """Wait for the change of a folder; make it here if no console is running. Ctrl-C ends only the
    waiting."""
    service, due = invocation.services.folder_changes, time.monotonic() + NOTE_SECONDS

    def ended() -> bool:
        nonlocal change, due
        change = service.get(invocation.actor, change.id)
        if time.monotonic() >= due and sys.stderr.isatty():
            due = time.monotonic() + NOTE_SECONDS
            invocation.out.note(f"{change.prefix}: {formatting.count_of(change.done, 'file')} so far")
        return change.state in _ENDED

    invocation.services.runner.run_until(ended)
    return change


def _print_change(invocation: Invocation, change: FolderChange, done: str) -> int:
    invocation.out.note(f"{change.prefix}: {formatting.count_of(change.done, 'file')} {done}.")
    if change.message:
        invocation.out.note(change.message)
    print_failures(invocation, change.problems)
    if change.failed:
        invocation.out.note(f"{formatting.count_of(change.failed, 'file')} not {done}.")
    return DONE if change.state == "done" and not change.failed else WITH_ERRORS


def _documents(changes: Sequence[FolderChange]) -> list[dict[str, object]]:
    return [
        {
            "folder": change.prefix,
            "to": change.target,
            "state": change.state,
            "done": change.done,
            "failed": change.failed,
            "problems": [list(problem) for problem in change.problems],
            "message": change.message,
        }
        for change in changes
    ]
