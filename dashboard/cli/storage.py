"""``stowage storage``: what other frameworks call their storage commands, as spellings of what exists."""

from __future__ import annotations

from pathlib import Path

import click

from dashboard.cli import formatting
from dashboard.cli.backend_output import run_test
from dashboard.cli.files.file_search import BACKEND, COUNT, DAYS, delete_old
from dashboard.cli.invocation import DONE, WITH_ERRORS, Command, Group, Invocation, pass_invocation
from dashboard.errors import Kind, StowageError
from dashboard.storage.checks.folders import UsesLocalFolders
from dashboard.storage.wrapping import unwrap_transparent


@click.group(cls=Group)
def storage() -> None:
    """All backends together: test, usage, backup."""


@storage.command("info", cls=Command)
@pass_invocation
def show_info(invocation: Invocation) -> None:
    """Show where new files go, where reads look next, and how each backend is."""
    found = invocation.services.backends.list()
    active = next((row.name for row in found if row.active), "")
    fallback = [row.name for row in found if row.fallback_position is not None and not row.active]
    invocation.out.document({"active": active, "fallback": fallback, "backends": found})
    if invocation.out.as_json:
        return
    invocation.out.say(f"New files go to: {active or 'no backend; make one active'}")
    invocation.out.say(f"Reads look next: {', '.join(fallback) or 'nowhere else'}")
    for row in found:
        state = f"{row.status.badge.value} {row.status.message}".rstrip()
        invocation.out.say(f"{row.name}: {row.preset_label}, {row.summary}; {state}")


@storage.command("test", cls=Command)
@click.option("--backend", "only", metavar="NAME", help="Only this one.")
@pass_invocation
def run_tests(invocation: Invocation, only: str | None) -> int:
    """Test the connection to every backend step by step, with a test object that is deleted afterwards."""
    names = [only] if only else [row.name for row in invocation.services.backends.list()]
    passed = {}
    for name in names:
        if not invocation.out.as_json:
            invocation.out.say(f"{name}:")
        passed[name] = run_test(invocation, name, document=False)
    invocation.out.document({"passed": all(passed.values()), "backends": passed})
    return DONE if all(passed.values()) else WITH_ERRORS


@storage.command("cleanup", cls=Command)
@DAYS
@BACKEND
@click.option("--dry-run", is_flag=True, help="Delete nothing.")
@COUNT
@pass_invocation
def clean_up(invocation: Invocation, *, days: int, backend: str, dry_run: bool, count: str | None) -> int:
    """Show old files and delete them: stowage files old --delete."""
    return delete_old(invocation, days=days, backend=backend, delete=not dry_run, count=count)


@storage.command("usage", cls=Command)
@pass_invocation
def show_usage(invocation: Invocation) -> None:
    """Show how many objects and bytes each backend holds, as of its last count."""
    found = invocation.services.backends.list()
    rows = [
        {
            "name": row.name,
            "objects": row.status.objects,
            "bytes": row.status.bytes,
            "counted_at": row.status.counted_at,
        }
        for row in found
    ]
    totals = {key: sum(row.get(key) or 0 for row in rows) for key in ("objects", "bytes")}  # type: ignore[misc]
    invocation.out.document({"backends": rows, **totals})
    invocation.out.table(
        ("name", ">objects", ">size", "counted"),
        [
            (
                row.name,
                "" if row.status.objects is None else f"{row.status.objects:,}",
                formatting.size(row.status.bytes),
                "never" if row.status.counted_at is None else formatting.date(row.status.counted_at),
            )
            for row in found
        ],
    )


@storage.command("link", cls=Command)
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--backend", "name", metavar="NAME", help="Its folder. Default: the active backend.")
@pass_invocation
def link(invocation: Invocation, path: Path, name: str | None) -> None:
    """Make PATH a symbolic link to a local backend's folder, for a web server that serves it."""
    backends = invocation.services.backends
    found = backends.get(name) if name else next((row for row in backends.list() if row.active), None)
    if found is None:
        raise _refusal(Kind.NOT_FOUND, "No backend is active.", "Name one with --backend.")
    root = found.options.get("root", "")
    if not isinstance(unwrap_transparent(backends.driver(found.name)), UsesLocalFolders):
        raise _refusal(
            Kind.UNSUPPORTED,
            f"“{found.name}” is not a folder of this machine that holds files as they are.",
            "Use the addresses of its files instead; see docs/library.md.",
        )
    try:
        path.symlink_to(root, target_is_directory=True)
    except FileExistsError as error:
        if not (path.is_symlink() and path.readlink() == Path(root)):
            reason = f"“{path}” exists already and is not this link."
            raise _refusal(Kind.CONFLICT, reason, "Remove it, or name another path.") from error
    except OSError as error:
        reason = f"“{path}” cannot be made: {error.strerror}."
        raise _refusal(Kind.DENIED, reason, "Check the folder it is in.") from error
    invocation.out.document({"path": str(path), "target": root})
    invocation.out.note(f"{path} is a link to {root}. Your web server serves what is in it to everyone.")


@storage.command("backup", cls=Command)
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@pass_invocation
def back_up(invocation: Invocation, folder: Path) -> None:
    """Copy both databases into FOLDER while the console runs. The key is not copied, and files are not."""
    copied = invocation.services.backups.copies.write(invocation.actor, folder)
    invocation.out.document({"files": [{"path": str(each.path), "bytes": each.size} for each in copied]})
    for each in copied:
        invocation.out.note(f"{each.path}, {formatting.size(each.size)}")
    invocation.out.note("Make sure that you also have the key or the recovery key, kept somewhere else.")


def _refusal(kind: Kind, reason: str, remedy: str) -> StowageError:
    return StowageError(kind, reason, operation="storage", remedy=remedy)
