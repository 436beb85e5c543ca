"""``stowage migrations``: what was migrated, what is under way, and steering it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from dashboard.cli import following, wording
from dashboard.cli.frame import DONE, Group, Invocation, pass_invocation
from dashboard.cli.output import plain
from dashboard.errors import Kind, StowageError
from dashboard.migration.types import LedgerRow
from dashboard.services.permissions import Actor

ID = click.argument("number", metavar="ID", type=click.IntRange(1))
DETACH = click.option(
    "--detach", is_flag=True, help="Do not wait for the end; needs a running console to do the work."
)


@click.group(cls=Group)
def migrations() -> None:
    """Migrations: what was done, what is under way, and steering it."""


@migrations.command("list")
@click.option("--limit", type=click.IntRange(1, 200), default=50, show_default=True, help="How many at most.")
@click.option("--before", "before_id", type=click.IntRange(1), help="Only those older than this ID.")
@pass_invocation
def list_migrations(invocation: Invocation, limit: int, before_id: int | None) -> None:
    """List migrations, newest first."""
    every = invocation.services.migrations.list(limit=limit, before_id=before_id)
    invocation.out.document({"migrations": [one.as_dict() for one in every]})
    invocation.out.table(
        (">id", "source", "destination", "state", ">done", ">objects", ">failed", "begun"),
        [
            (
                str(one.id),
                one.source,
                one.destination,
                following.state_in_words(one),
                "" if one.spec.dry_run else f"{one.percent:.1f} %",
                f"{one.counters.found:,}",
                f"{one.counters.failed:,}",
                wording.date(one.created_at),
            )
            for one in every
        ],
    )


@migrations.command()
@ID
@pass_invocation
def show(invocation: Invocation, number: int) -> None:
    """Show how the migration ID stands."""
    service = invocation.services.migrations
    progress = service.progress(number)
    failures = service.failures(number)
    command = service.command(number)
    invocation.out.document({**progress.as_dict(), "failures": failures, "command": command})
    invocation.out.fields(
        [
            *following.totals(progress),
            ("progress", "" if progress.state.final else following.line(progress)),
            ("by", f"{progress.created_by}, {wording.date(progress.created_at)}"),
            ("command", command),
        ]
    )
    for group in failures:
        invocation.out.note(f"{wording.many(group.objects)} failed: {group.reason}")
    if progress.state.active and not invocation.services.runner.alive():
        invocation.out.note(f"Nothing works on it now. Go on with: stowage migrations resume {number}")


@migrations.command()
@ID
@pass_invocation
def pause(invocation: Invocation, number: int) -> int:
    """Stop soon, keeping everything."""
    return _steer(invocation, number, invocation.services.migrations.pause)


@migrations.command()
@ID
@pass_invocation
def cancel(invocation: Invocation, number: int) -> int:
    """Stop for good. What was copied stays; nothing half-written does."""
    return _steer(invocation, number, invocation.services.migrations.cancel)


@migrations.command()
@ID
@DETACH
@pass_invocation
def resume(invocation: Invocation, number: int, detach: bool) -> int:
    """Go on where it stopped, and watch. Ctrl-C pauses again."""
    _require_runner(invocation, detach)
    invocation.services.migrations.resume(invocation.actor, number)
    return _followed(invocation, number, detach)


@migrations.command("retry-failed")
@ID
@DETACH
@pass_invocation
def retry_failed(invocation: Invocation, number: int, detach: bool) -> int:
    """Try the failed objects once more, and watch. Ctrl-C pauses."""
    _require_runner(invocation, detach)
    left = invocation.services.migrations.retry_failed(invocation.actor, number)
    invocation.out.note(f"{wording.many(left)} to try again.")
    return _followed(invocation, number, detach)


@migrations.command()
@ID
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write to this file instead of standard output.",
)
@pass_invocation
def report(invocation: Invocation, number: int, output: Path | None) -> None:
    """Print a line for every object of the migration ID, as CSV; with --json, as JSON."""
    service = invocation.services.migrations
    lines = _json_lines(invocation, number) if invocation.out.as_json else service.report(number)
    if output is None:
        for text in lines:
            click.echo(text, nl=False)
        return
    try:
        # An existing file is kept until the new one is whole.
        part = output.with_name(f"{output.name}.part")
        with part.open("w", encoding="utf-8", newline="") as file:
            file.writelines(lines)
        part.replace(output)
    except OSError as error:
        raise StowageError(
            Kind.DENIED,
            f"{output} cannot be written: {error.strerror}.",
            operation="report",
            remedy="Choose another file with --output.",
        ) from error
    invocation.out.document({"written": str(output)})
    invocation.out.note(f"Written: {output}")


def _json_lines(invocation: Invocation, number: int) -> Iterator[str]:
    """One document, page by page, so that millions of objects need no memory."""
    service = invocation.services.migrations
    rows: tuple[LedgerRow, ...] = service.rows(number, limit=1000)
    yield f'{{"id": {number}, "objects": ['
    separator = "\n"
    while rows:
        for row in rows:
            yield separator + json.dumps(plain(row))
            separator = ",\n"
        rows = service.rows(number, after_id=rows[-1].id, limit=1000)
    yield "\n]}\n"


def _steer(invocation: Invocation, number: int, wish: Callable[[Actor, int], None]) -> int:
    wish(invocation.actor, number)
    # Where a runner is at work it takes the wish within two seconds; "stopping" says so until then.
    progress = invocation.services.migrations.progress(number)
    invocation.out.document(progress.as_dict())
    invocation.out.note(f"Migration {number}: {following.state_in_words(progress)}")
    return DONE


def _require_runner(invocation: Invocation, detach: bool) -> None:
    if detach and not invocation.services.runner.alive():
        raise click.UsageError(
            "No console is running that could do the work: start one with “stowage run”, or omit --detach."
        )


def _followed(invocation: Invocation, number: int, detach: bool) -> int:
    if detach:
        invocation.out.document(invocation.services.migrations.progress(number).as_dict())
        invocation.out.note(f"Look at it with: stowage migrations show {number}")
        return DONE
    return following.conclude(invocation, following.follow(invocation, number))
