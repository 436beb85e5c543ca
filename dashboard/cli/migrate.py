"""``stowage migrate SRC DST``: plan, show, ask, copy."""

from __future__ import annotations

import click

from dashboard.cli import following
from dashboard.cli.frame import WITH_ERRORS, Command, Invocation, pass_invocation
from dashboard.cli.values import YES, confirmed, require_person
from dashboard.migration.types import OnConflict, Progress, Spec, State, Verify

DEFAULT = Spec()


@click.command(cls=Command)
@click.argument("source", metavar="SRC")
@click.argument("destination", metavar="DST")
@click.option("--prefix", default="", help="Only keys that begin with this text.")
@click.option("--include", multiple=True, metavar="GLOB", help="Only keys that match; repeat for more.")
@click.option("--exclude", multiple=True, metavar="GLOB", help="Not the keys that match; repeat for more.")
@click.option(
    "--on-conflict",
    type=click.Choice([choice.value for choice in OnConflict]),
    default=DEFAULT.on_conflict.value,
    show_default=True,
    help="What to do with an object that is at the destination already.",
)
@click.option(
    "--verify",
    type=click.Choice([choice.value for choice in Verify]),
    default=DEFAULT.verify.value,
    show_default=True,
    help="How a copy is proven.",
)
@click.option("--delete-source", is_flag=True, help="Delete each object from SRC once its copy is proven.")
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    default=DEFAULT.workers,
    show_default=True,
    help="Objects copied at the same time.",
)
@click.option("--dry-run", is_flag=True, help="Only find out what would happen; copy nothing.")
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
    workers: int,
    dry_run: bool,
    yes: bool,
) -> int:
    """Copy objects from the backend SRC to the backend DST, with a ledger of every object.

    Shows what was found and asks before anything is copied; --yes copies as soon as that is found. A running
    console does the work and this command watches; without one it works by itself. Ctrl-C pauses.
    In globs, * stays within one folder and ** crosses them.
    """
    at_once = yes or dry_run
    if not at_once:
        require_person()
    spec = Spec(
        prefix=prefix,
        include=include,
        exclude=exclude,
        on_conflict=OnConflict(on_conflict),
        verify=Verify(verify),
        dry_run=dry_run,
        delete_source=delete_source,
        workers=workers,
    )
    migrations = invocation.services.migrations
    number = migrations.create(invocation.actor, source, destination, spec, approve=at_once)
    invocation.out.note(f"Migration {number}: {source} to {destination}")
    progress = following.follow(invocation, number)
    if progress.state is State.READY:
        if not _agreed(invocation, progress):
            migrations.cancel(invocation.actor, number)
            invocation.out.note("Cancelled: nothing was copied.")
            invocation.out.document(migrations.progress(number).as_dict())
            return WITH_ERRORS
        migrations.approve(invocation.actor, number)
        progress = following.follow(invocation, number)
    if dry_run and not invocation.out.as_json:
        invocation.out.fields(following.plan(progress))
    return following.conclude(invocation, progress)


def _agreed(invocation: Invocation, progress: Progress) -> bool:
    for name, value in following.plan(progress):
        if value:
            invocation.out.note(f"{name:<10} {value}")
    try:
        return confirmed("Begin?", yes=False)
    except click.Abort:
        return False
