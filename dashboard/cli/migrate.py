"""``stowage migrate SRC DST``: plan, show, ask, copy."""

from __future__ import annotations

import click

from dashboard.cli import follow
from dashboard.cli.arguments import YES, confirm, require_terminal
from dashboard.cli.invocation import WITH_ERRORS, Command, Invocation, pass_invocation
from dashboard.migration.types import (
    AUTOMATIC,
    MAX_CARRIERS,
    MAX_WORKERS,
    OnConflict,
    Progress,
    Spec,
    State,
    Verify,
)

DEFAULT = Spec()


@click.command(cls=Command)
@click.argument("source", metavar="SRC")
@click.argument("destination", metavar="DST")
@click.option("--prefix", default="", help="Only keys that begin with this text.")
@click.option("--include", multiple=True, metavar="GLOB", help="Only keys that match; may be repeated.")
@click.option("--exclude", multiple=True, metavar="GLOB", help="Except keys that match; may be repeated.")
@click.option(
    "--on-conflict",
    type=click.Choice([choice.value for choice in OnConflict]),
    default=DEFAULT.on_conflict.value,
    show_default=True,
    help="What to do if an object already exists at the destination.",
)
@click.option(
    "--verify",
    type=click.Choice([choice.value for choice in Verify]),
    default=DEFAULT.verify.value,
    show_default=True,
    help="How copies are verified.",
)
@click.option("--delete-source", is_flag=True, help="Delete each object from SRC once its copy is verified.")
@click.option(
    "--workers",
    type=click.IntRange(1, MAX_WORKERS),
    help="Number of objects copied at once. Default: found out while it runs.",
)
@click.option(
    "--carriers",
    type=click.IntRange(1, MAX_CARRIERS),
    help="Number of processes that copy.  [default: STOWAGE_CARRIERS]",
)
@click.option(
    "--bandwidth-limit",
    metavar="LIMIT",
    default="",
    help="Bytes per second, such as 10M or “08:00,512k 18:00,10M 23:00,off”.  "
    "[default: STOWAGE_BANDWIDTH_LIMIT]",
)
@click.option(
    "--objects-per-second",
    metavar="N",
    default="",
    help="Objects per second at most.  [default: STOWAGE_OBJECTS_PER_SECOND]",
)
@click.option("--dry-run", is_flag=True, help="Only show what would happen; copy nothing.")
@YES
@pass_invocation
def migrate(
    invocation: Invocation,
    *,
    source: str,
    destination: str,
    prefix: str,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    on_conflict: str,
    verify: str,
    delete_source: bool,
    workers: int | None,
    carriers: int | None,
    bandwidth_limit: str,
    objects_per_second: str,
    dry_run: bool,
    yes: bool,
) -> int:
    """Copy objects from the backend SRC to the backend DST, recording every object in a ledger.

    Shows the plan and asks before anything is copied; --yes copies without asking. If a console is running,
    it does the work and this command watches; otherwise this command does the work. Ctrl-C pauses.
    In globs, * matches within a folder and ** across folders.
    """
    at_once = yes or dry_run
    if not at_once:
        require_terminal()
    spec = Spec(
        prefix=prefix,
        include=include,
        exclude=exclude,
        on_conflict=OnConflict(on_conflict),
        verify=Verify(verify),
        dry_run=dry_run,
        delete_source=delete_source,
        workers=workers or AUTOMATIC,
        carriers=carriers or 0,
        bandwidth_limit=bandwidth_limit,
        objects_per_second=objects_per_second,
    )
    migrations = invocation.services.migrations
    number = migrations.create(invocation.actor, source, destination, spec, approve=at_once)
    invocation.out.note(f"Migration {number}: {source} to {destination}")
    return carry_out(invocation, number)


def carry_out(invocation: Invocation, number: int, *, yes: bool = False) -> int:
    """Follow a migration to its end, showing its plan and asking before anything is copied, unless it was
    approved or ``yes`` was given; return the exit code."""
    migrations = invocation.services.migrations
    progress = follow.follow(invocation, number)
    if progress.state is State.READY:
        if not yes and not _agreed(invocation, progress):
            migrations.cancel(invocation.actor, number)
            invocation.out.note("Cancelled: nothing was copied.")
            invocation.out.document(migrations.progress(number).as_dict())
            return WITH_ERRORS
        migrations.approve(invocation.actor, number)
        progress = follow.follow(invocation, number)
    if progress.spec.dry_run and not invocation.out.as_json:
        invocation.out.fields(follow.plan(progress))
    return follow.print_result(invocation, progress)


def _agreed(invocation: Invocation, progress: Progress) -> bool:
    from dashboard.services.migrations.review_notes import blocked, review_notes

    for name, value in follow.plan(progress):
        if value:
            invocation.out.note(f"{name:<10} {value}")
    notes = review_notes(progress, invocation.services.migrations.review(progress.id))
    for note in notes:
        if note.level != "ok":
            invocation.out.note(f"{note.text} {note.remedy}".strip())
    if blocked(notes):
        return False
    try:
        return confirm("Start?", yes=False)
    except click.Abort:
        return False
