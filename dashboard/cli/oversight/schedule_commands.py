"""``stowage schedule``: recurring jobs, and copies of one backend to another by schedule."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from dashboard.cli import formatting
from dashboard.cli.arguments import YES, require_terminal
from dashboard.cli.invocation import Command, Group, Invocation, pass_invocation
from dashboard.migration.types import Spec, Verify

if TYPE_CHECKING:
    from dashboard.services.schedules.copy_values import CopyInfo

OFF = "off"
NO_RUNNER = "No runner is running: it is done once “stowage run” is started."


@click.group(cls=Group)
def schedule() -> None:
    """Recurring jobs, and copies of one backend to another by schedule."""


@schedule.command("list", cls=Command)
@pass_invocation
def list_schedules(invocation: Invocation) -> None:
    """List every recurring job and scheduled copy: when it runs, and how the last run ended."""
    schedules = invocation.services.schedules
    jobs, copies = schedules.recurring.list(), schedules.copies.list()
    invocation.out.document({"jobs": jobs, "copies": copies})
    rows = [
        (
            job.spec.name,
            job.spec.title,
            job.timing.words if job.enabled else OFF,
            formatting.ago(job.last_at),
            f"{job.failed} failed: {job.message}" if job.failed else "",
        )
        for job in jobs
    ]
    rows += [
        (
            copy.name,
            copy.title,
            copy.timing.words if copy.enabled else OFF,
            formatting.ago(copy.last.at if copy.last else None),
            _result(copy),
        )
        for copy in copies
    ]
    invocation.out.table(("name", "what", "when", "last run", "result"), rows)


def _result(copy: CopyInfo) -> str:
    if copy.last is None:
        return ""
    state = copy.last.state.value.replace("_", " ")
    return f"{state}: {copy.last.message}" if copy.last.message else state


@schedule.command("runs", cls=Command)
@click.argument("name")
@click.option("--limit", type=click.IntRange(1, 500), default=20, show_default=True, help="How many.")
@pass_invocation
def runs(invocation: Invocation, name: str, limit: int) -> None:
    """List the newest runs of the scheduled copy NAME, such as copy-3, and restores from it."""
    found = invocation.services.schedules.copies.runs(_number(name), limit=limit)
    invocation.out.document({"runs": found})
    invocation.out.table(
        ("run", "when", "what", "result", "migration", ">copied", ">replaced", ">failed"),
        [
            (
                str(run.id),
                formatting.ago(run.at),
                run.kind.value,
                f"{run.state.value.replace('_', ' ')} {run.message}".rstrip(),
                str(run.migration or ""),
                f"{run.copied:,}",
                f"{run.replaced:,}",
                f"{run.failed:,}",
            )
            for run in found
        ],
    )


@schedule.command("run", cls=Command)
@click.argument("name")
@pass_invocation
def run_now(invocation: Invocation, name: str) -> int:
    """Run NAME now: a recurring job such as counts, or a scheduled copy such as copy-3.

    A copy is followed to its end, by a running console or by this command. A job is queued for the runner.
    """
    from dashboard.cli.migrate import carry_out

    migration = invocation.services.schedules.run_now(invocation.actor, name)
    if migration is not None:
        invocation.out.note(f"Migration {migration}")
        return carry_out(invocation, migration)
    invocation.out.document({"queued": name})
    invocation.out.note(
        "The runner takes it up at once." if invocation.services.runner.is_alive() else NO_RUNNER
    )
    return 0


NO_RUNNER = "No runner is running: it is done once “stowage run” is started."


@schedule.command("enable", cls=Command)
@click.argument("name")
@pass_invocation
def enable(invocation: Invocation, name: str) -> None:
    """Switch NAME on."""
    invocation.services.schedules.switch(invocation.actor, name, enabled=True)
    invocation.out.document({"name": name, "enabled": True})


@schedule.command("disable", cls=Command)
@click.argument("name")
@pass_invocation
def disable(invocation: Invocation, name: str) -> None:
    """Switch NAME off. A run that is under way goes on."""
    invocation.services.schedules.switch(invocation.actor, name, enabled=False)
    invocation.out.document({"name": name, "enabled": False})


WHEN = click.option(
    "--when",
    metavar="TIME",
    help="“every 6 h”, “daily 03:00” or “weekly sun 03:00”; intervals in min, h or d.",
)
KEEP = click.option(
    "--keep-days", type=int, metavar="N", help="How long replaced files are kept; 0 for ever."
)


@schedule.command("set", cls=Command)
@click.argument("name")
@WHEN
@KEEP
@pass_invocation
def set_schedule(invocation: Invocation, name: str, *, when: str | None, keep_days: int | None) -> None:
    """Change when NAME runs, or how long a scheduled copy keeps what it replaces."""
    from dashboard.jobs.timing import Timing

    if when is None and keep_days is None:
        raise click.UsageError("Give --when or --keep-days.")
    schedules = invocation.services.schedules
    timing = Timing.parse(when) if when is not None else None
    if keep_days is not None:
        number = _number(name)
        plan = schedules.copies.get(number).plan
        schedules.copies.change(
            invocation.actor, number, replace(plan, keep_days=keep_days, timing=timing or plan.timing)
        )
    elif timing is not None:
        schedules.set_timing(invocation.actor, name, timing)
    invocation.out.document({"name": name})


@schedule.command("add-copy", cls=Command)
@click.argument("source", metavar="SRC")
@click.argument("destination", metavar="DST")
@WHEN
@click.option("--prefix", default="", help="Only keys that begin with this.")
@click.option("--include", metavar="GLOB", multiple=True, help="Only keys that match; repeatable.")
@click.option("--exclude", metavar="GLOB", multiple=True, help="No keys that match; repeatable.")
@click.option(
    "--verify",
    type=click.Choice([choice.value for choice in Verify]),
    default=Spec().verify.value,
    show_default=True,
    help="How copies are verified.",
)
@KEEP
@pass_invocation
def add_copy(
    invocation: Invocation,
    *,
    source: str,
    destination: str,
    when: str | None,
    prefix: str,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    verify: str,
    keep_days: int | None,
) -> None:
    """Copy the backend SRC to the backend DST by schedule; print its name.

    Nothing is deleted in DST, and files that are replaced there are kept for 30 days unless --keep-days says
    otherwise. Without --when: daily at 03:00.
    """
    from dashboard.jobs.timing import Timing
    from dashboard.services.schedules.copy_values import CopyPlan

    plan = CopyPlan(
        source,
        destination,
        Timing.parse(when or "daily 03:00"),
        Spec(prefix=prefix, include=include, exclude=exclude, verify=Verify(verify)),
        30 if keep_days is None else keep_days,
    )
    number = invocation.services.schedules.copies.add(invocation.actor, plan)
    info = invocation.services.schedules.copies.get(number)
    invocation.out.document({"copy": info})
    if not invocation.out.as_json:
        invocation.out.say(info.name)


@schedule.command("remove", cls=Command)
@click.argument("name")
@pass_invocation
def remove(invocation: Invocation, name: str) -> None:
    """Remove the scheduled copy NAME. What it copied stays where it is."""
    invocation.services.schedules.copies.remove(invocation.actor, _number(name))
    invocation.out.document({"removed": name})


@schedule.command("restore", cls=Command)
@click.argument("name")
@click.option("--to", "to", metavar="BACKEND", default="", help="Where to. Default: the source of the copy.")
@click.option("--prefix", metavar="TEXT", help="Only keys that begin with this.")
@click.option(
    "--after-run",
    type=int,
    metavar="RUN",
    help="As the copy was after this run; see stowage schedule runs. Default: as it is now.",
)
@YES
@pass_invocation
def restore(
    invocation: Invocation, name: str, *, to: str, prefix: str | None, after_run: int | None, yes: bool
) -> int:
    """Copy the files of the scheduled copy NAME back to where they came from.

    Shows the plan and asks before anything is copied, like stowage migrate. What is replaced there is kept as
    long as the schedule keeps what it replaces.
    """
    from dashboard.cli.migrate import carry_out

    if not yes:
        require_terminal()
    schedules = invocation.services.schedules
    migration = schedules.starts.restore(
        invocation.actor, _number(name), to=to, prefix=prefix, after_run=after_run
    )
    invocation.out.note(f"Migration {migration}")
    return carry_out(invocation, migration, yes=yes)


def _number(name: str) -> int:
    from dashboard.services.schedules.schedule_services import copy_number

    number = copy_number(name)
    if number is None:
        raise click.UsageError(f"“{name}” is no scheduled copy; those are called copy-1, copy-2 …")
    return number
