"""``stowage files find`` and ``stowage files old``: searching the catalogue, and deleting what is old."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable

import click

from dashboard.cli import formatting
from dashboard.cli.arguments import require_terminal
from dashboard.cli.invocation import DONE, WITH_ERRORS, Command, Invocation, pass_invocation
from dashboard.errors import InvalidInput
from dashboard.services.catalogue.file_kinds import FileKind
from dashboard.services.catalogue.file_values import File
from dashboard.services.catalogue.filters import Sort, parse_filters
from dashboard.services.files.cleanup.cleanup_values import (
    DEFAULT_DAYS,
    Cleanup,
    CleanupState,
    OldFilesPlan,
    parse_count,
)

DAY = 86_400.0
NOTE_SECONDS = 5.0
"""Between two lines of progress."""
_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}

BACKEND = click.option("--backend", default="", metavar="B", help="Only at this backend.")
DAYS = click.option(
    "--days",
    type=int,
    default=DEFAULT_DAYS,
    show_default=True,
    help="Age of the files, by their last change.",
)
COUNT = click.option("--count", metavar="N", help="The number of files, instead of typing it.")


@click.command(cls=Command)
@click.argument("name", default="")
@BACKEND
@click.option("--folder", default="", help="Only keys that begin with this.")
@click.option("--kind", type=click.Choice([kind.value for kind in FileKind]), help="Only this kind of file.")
@click.option("--type", "content_type", default="", help="Only content types that begin with this.")
@click.option("--min-size", metavar="SIZE", help="At least this large: bytes, or with K, M, G or T.")
@click.option("--max-size", metavar="SIZE", help="At most this large.")
@click.option("--older", type=click.FloatRange(min=0), metavar="DAYS", help="Modified before that.")
@click.option("--newer", type=click.FloatRange(min=0), metavar="DAYS", help="Modified since then.")
@click.option("--checksum", default="", metavar="HEX", help="With this SHA-256 or MD5, where it is known.")
@click.option("--owner", default="", help="Uploaded by this user.")
@click.option("--metadata", multiple=True, metavar="NAME=VALUE", help="With this detail; may be repeated.")
@click.option(
    "--sort",
    type=click.Choice([sort.value for sort in Sort]),
    default="name",
    show_default=True,
    help="Order.",
)
@click.option("--descending", is_flag=True, help="The other way round.")
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=100,
    show_default=True,
    help="The largest number of files; 0: all of them.",
)
@pass_invocation
def find(
    invocation: Invocation,
    /,
    name: str,
    *,
    older: float | None,
    newer: float | None,
    min_size: str | None,
    max_size: str | None,
    metadata: tuple[str, ...],
    sort: str,
    descending: bool,
    limit: int,
    **filters: str | None,
) -> int:
    """Find files whose name contains NAME, in what the catalogue knows."""
    now = time.time()
    wanted = parse_filters(
        {
            **filters,
            "name": name,
            "min_size": _size("min_size", min_size),
            "max_size": _size("max_size", max_size),
            "modified_before": None if older is None else now - older * DAY,
            "modified_after": None if newer is None else now - newer * DAY,
            "metadata": _pairs(metadata) or None,
        }
    )
    found, more = list[File](), False
    for file in invocation.services.catalogue.search_all(wanted, sort=Sort(sort), descending=descending):
        if limit and len(found) == limit:
            more = True
            break
        found.append(file)
    invocation.out.document({"files": [file.as_dict() for file in found], "more": more})
    _print_files(invocation, found)
    if more:
        invocation.out.note(f"There are more than {limit:,}; --limit 0 lists all of them.")
    return DONE


@click.command(cls=Command)
@DAYS
@BACKEND
@click.option("--delete", is_flag=True, help="Delete them, after the number of files was typed.")
@COUNT
@pass_invocation
def old(invocation: Invocation, *, days: int, backend: str, delete: bool, count: str | None) -> int:
    """Show old files; with --delete, delete them.

    A file that was changed since the catalogue last saw it is kept.
    """
    return delete_old(invocation, days=days, backend=backend, delete=delete, count=count)


def delete_old(invocation: Invocation, *, days: int, backend: str, delete: bool, count: str | None) -> int:
    """Show old files, and with ``delete`` delete them once ``count`` was given or typed."""
    plan = invocation.services.old_files.plan(days, backend)
    if not invocation.out.as_json:
        _print_plan(invocation, plan)
    if not delete or not plan.files:
        invocation.out.document({"plan": plan.as_dict(), "deletion": None})
        return DONE
    if count is None:
        require_terminal()
        count = click.prompt(f"To delete them, type how many files that are ({plan.files:,})", err=True)
    requested = invocation.services.old_files.request(
        invocation.actor,
        backend,
        before=plan.before,
        planned_at=plan.planned_at,
        last_id=plan.last_id,
        files=parse_count(count or ""),
    )
    done = _follow(invocation, requested)
    invocation.out.document({"plan": plan.as_dict(), "deletion": done})
    _print_result(invocation, done)
    return DONE if done.state is CleanupState.DONE and not done.failed else WITH_ERRORS


def _follow(invocation: Invocation, cleanup: Cleanup) -> Cleanup:
    """Wait for a deletion; run it here if no console is running. Ctrl-C ends only the waiting."""
    service, due = invocation.services.old_files, time.monotonic() + NOTE_SECONDS

    def finished() -> bool:
        nonlocal cleanup, due
        cleanup = service.get(cleanup.id)
        if time.monotonic() >= due:
            due = time.monotonic() + NOTE_SECONDS
            invocation.out.note(f"{cleanup.percent:.0f} %: {cleanup.done:,} of {cleanup.files:,} files")
        return not cleanup.active

    invocation.services.runner.run_until(finished)
    return cleanup


def _print_plan(invocation: Invocation, plan: OldFilesPlan) -> None:
    where = f" at {plan.backend}" if plan.backend else ""
    invocation.out.say(
        f"{plan.files:,} files, {formatting.size(plan.bytes)}{where}, not modified for {plan.days} days."
    )
    if plan.files:
        _print_files(invocation, plan.oldest)
    if plan.files > len(plan.oldest):
        invocation.out.note(f"The {len(plan.oldest)} oldest are shown; stowage files find lists all of them.")


def _print_result(invocation: Invocation, done: Cleanup) -> None:
    out = invocation.out
    out.fields(
        [
            ("deleted", f"{done.deleted:,} files, {formatting.size(done.deleted_bytes)}"),
            ("kept", f"{done.kept:,} that are no longer the same or no longer old" if done.kept else ""),
            ("gone", f"{done.missing:,} that did not exist any more" if done.missing else ""),
            ("failed", f"{done.failed:,}" if done.failed else ""),
            ("", done.message),
        ]
    )
    for note in done.notes:
        out.note(f"{note.backend}: {note.key}: {note.reason}")


def _print_files(invocation: Invocation, files: Iterable[File]) -> None:
    invocation.out.table(
        (">id", "backend", "file", ">size", "modified", "kind"),
        [
            (
                str(file.id),
                file.backend,
                file.key,
                formatting.size(file.size),
                formatting.ago(file.modified),
                file.kind.value,
            )
            for file in files
        ],
    )


def _size(name: str, text: str | None) -> int | None:
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,18})\s*([KMGT]?)(?:i?B)?", text.strip(), re.ASCII | re.IGNORECASE)
    if not found:
        raise InvalidInput(name, "This is no size.", remedy="Give bytes, or a number with K, M, G or T.")
    return int(found[1]) * _UNITS[found[2].upper()]


def _pairs(texts: Iterable[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    if any(not equals for _, equals, _ in pairs):
        raise InvalidInput("metadata", "Details are given as --metadata NAME=VALUE.")
    return {name: value for name, _, value in pairs}
