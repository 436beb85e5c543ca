"""``stowage migrations``: list, inspect and control migrations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from dashboard.cli import follow, formatting
from dashboard.cli.invocation import DONE, Group, Invocation, pass_invocation
from dashboard.errors import Kind, StowageError
from dashboard.services.permissions import Actor

ID = click.argument("number", metavar="ID", type=click.IntRange(1))
DETACH = click.option(
    "--detach", is_flag=True, help="Do not wait for the end; a running console must do the work."
)


@click.group(cls=Group)
def migrations() -> None:
    """List, inspect and control migrations."""


@migrations.command("list")
@click.option(
    "--limit", type=click.IntRange(1, 200), default=50, show_default=True, help="At most this many."
)
@click.option("--before", "before_id", type=click.IntRange(1), help="Only migrations older than this ID.")
@pass_invocation
def list_migrations(invocation: Invocation, limit: int, before_id: int | None) -> None:
    """List migrations, newest first."""
    found = invocation.services.migrations.list(limit=limit, before_id=before_id)
    invocation.out.document({"migrations": [one.as_dict() for one in found]})
    invocation.out.table(
        (">id", "source", "destination", "state", ">done", ">objects", ">failed", "started"),
        [
            (
                str(one.id),
                one.source,
                one.destination,
                follow.state_in_words(one),
                "" if one.spec.dry_run else f"{one.percent:.1f} %",
                f"{one.counters.found:,}",
                f"{one.counters.failed:,}",
                formatting.date(one.created_at),
            )
            for one in found
        ],
    )


@migrations.command()
@ID
@pass_invocation
def show(invocation: Invocation, number: int) -> None:
    """Show the migration ID."""
    service = invocation.services.migrations
    progress = service.progress(number)
    failures = service.failures(number)
    command = service.command(number)
    invocation.out.document({**progress.as_dict(), "failures": failures, "command": command})
    invocation.out.fields(
        [
            *follow.totals(progress),
            ("progress", "" if progress.state.final else follow.line(progress)),
            ("by", f"{progress.created_by}, {formatting.date(progress.created_at)}"),
            ("command", command),
        ]
    )
    for group in failures:
        invocation.out.note(f"{formatting.count_of(group.objects)} failed: {group.reason}")
    if progress.state.active and not invocation.services.runner.is_alive():
        invocation.out.note(f"Nothing is working on it. Resume it with: stowage migrations resume {number}")


@migrations.command()
@ID
@pass_invocation
def pause(invocation: Invocation, number: int) -> int:
    """Pause the migration ID. Nothing is lost."""
    return _control(invocation, number, invocation.services.migrations.pause)


@migrations.command()
@ID
@pass_invocation
def cancel(invocation: Invocation, number: int) -> int:
    """Cancel the migration ID. Copied objects stay; incomplete ones are removed."""
    return _control(invocation, number, invocation.services.migrations.cancel)


@migrations.command()
@ID
@click.option(
    "--bandwidth-limit",
    metavar="LIMIT",
    help="Bytes per second, such as 10M, off, a timetable, or default for the console's.",
)
@click.option(
    "--objects-per-second", metavar="N", help="Objects per second at most: a number, off, or default."
)
@pass_invocation
def limit(
    invocation: Invocation, number: int, bandwidth_limit: str | None, objects_per_second: str | None
) -> None:
    """Show or change the limits of the migration ID, also while it runs."""
    migrations, limits = invocation.services.migrations, invocation.services.migration_limits
    limits.change(invocation.actor, number, bandwidth=bandwidth_limit, objects=objects_per_second)
    found = limits.of(migrations.progress(number).spec)
    invocation.out.document(found.as_dict())
    now, then = (formatting.rate(each) for each in (found.rates.bytes, found.then))
    until = f"until {formatting.date(found.until)}, then {then}" if found.until else ""
    invocation.out.fields(
        [
            ("bandwidth", found.bandwidth + (", the console's" if found.bandwidth_is_default else "")),
            ("now", f"{now} {until}".strip()),
            ("objects/s", found.objects + (", the console's" if found.objects_is_default else "")),
        ]
    )


@migrations.command()
@ID
@DETACH
@pass_invocation
def resume(invocation: Invocation, number: int, detach: bool) -> int:
    """Resume the migration ID where it stopped, and watch it. Ctrl-C pauses it again."""
    _require_runner(invocation, detach)
    invocation.services.migrations.resume(invocation.actor, number)
    return _follow(invocation, number, detach)


@migrations.command("retry-failed")
@ID
@DETACH
@pass_invocation
def retry_failed(invocation: Invocation, number: int, detach: bool) -> int:
    """Retry the failed objects of the migration ID, and watch. Ctrl-C pauses it."""
    _require_runner(invocation, detach)
    left = invocation.services.migrations.retry_failed(invocation.actor, number)
    invocation.out.note(f"{formatting.count_of(left)} to retry.")
    return _follow(invocation, number, detach)


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
    lines = service.report_json(number) if invocation.out.as_json else service.report(number)
    if output is None:
        for text in lines:
            click.echo(text, nl=False)
        return
    try:
        # An existing file is kept until the new one is complete.
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


def _control(invocation: Invocation, number: int, action: Callable[[Actor, int], None]) -> int:
    action(invocation.actor, number)
    # A running runner reacts within two seconds; until then the state is "stopping".
    progress = invocation.services.migrations.progress(number)
    invocation.out.document(progress.as_dict())
    invocation.out.note(f"Migration {number}: {follow.state_in_words(progress)}")
    return DONE


def _require_runner(invocation: Invocation, detach: bool) -> None:
    if detach and not invocation.services.runner.is_alive():
        raise click.UsageError(
            "No console is running to do the work: start one with “stowage run”, or omit --detach."
        )


def _follow(invocation: Invocation, number: int, detach: bool) -> int:
    if detach:
        invocation.out.document(invocation.services.migrations.progress(number).as_dict())
        invocation.out.note(f"See its progress with: stowage migrations show {number}")
        return DONE
    return follow.print_result(invocation, follow.follow(invocation, number))
