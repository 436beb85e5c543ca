"""``stowage backend count``, ``activate`` and ``check``; the first two wait for background jobs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from dashboard.cli import formatting
from dashboard.cli.arguments import YES, confirm
from dashboard.cli.invocation import DONE, WITH_ERRORS, Command, Invocation, pass_invocation

if TYPE_CHECKING:
    from dashboard.services.backends.backends import BackendInfo
    from dashboard.services.switching.activation import Comparison


MAX_KEYS = 10
"""Missing objects that are named before a switch."""


@click.command(cls=Command)
@click.argument("name")
@pass_invocation
def count(invocation: Invocation, name: str) -> int:
    """Check NAME, and count its objects and bytes by listing them all."""
    backends = invocation.services.backends
    began = time.time()
    backends.refresh(invocation.actor, name)
    invocation.services.runner.run_until(lambda: _counted(backends.get(name), began))
    info = backends.get(name)
    status = info.status
    invocation.out.document(info)
    if (status.counted_at or 0.0) < began:
        invocation.out.note(f"“{name}” could not be counted: {status.message or 'check the log.'}")
        if status.remedy:
            invocation.out.note(status.remedy)
        return WITH_ERRORS
    if not invocation.out.as_json:
        invocation.out.say(f"{formatting.count_of(status.objects)}, {formatting.size(status.bytes)}")
    if status.unreadable_folders:
        folders = formatting.count_of(status.unreadable_folders, "folder")
        invocation.out.note(f"{folders} could not be read, so their objects are not counted.")
    return DONE


@click.command(cls=Command)
@click.argument("name")
@YES
@click.option("--no-compare", is_flag=True, help="Switch without comparing first.")
@click.option(
    "--no-fallback",
    is_flag=True,
    help="Do not keep the former active backend as the first fallback. Needs --missing if files go missing.",
)
@click.option(
    "--missing", metavar="NUMBER", type=click.IntRange(min=0), help="How many files will not be found."
)
@click.option("--untested", metavar="NAME", default="", help="Switch to this backend without testing it.")
@pass_invocation
def activate(
    invocation: Invocation,
    *,
    name: str,
    yes: bool,
    no_compare: bool,
    no_fallback: bool,
    missing: int | None,
    untested: str,
) -> int:
    """Make NAME the backend that new files go to.

    Compares it with the active backend first, and asks if anything is missing there. It is tested before the
    switch. The backend that was active becomes the first of the fallback order, so that every file is still
    found.
    """
    from dashboard.services.switching.activation import Switch

    summary = invocation.services.backends.summary()
    if invocation.services.backends.get(name).active:
        invocation.out.document({"name": name, "active": True, "comparison": None})
        invocation.out.note(f"“{name}” is already the active backend.")
        return DONE
    comparison = None if no_compare or not summary.active else _compared(invocation, name)
    if comparison is not None:
        _show(invocation, comparison)
    agreed = comparison is None or comparison.complete
    if not agreed and not confirm(f"Make “{name}” the active backend anyway?", yes=yes):
        invocation.out.document({"name": name, "active": False, "comparison": comparison})
        return WITH_ERRORS
    switch = Switch(
        keep_former=not no_fallback, missing=missing, override=untested, seen_active=summary.active
    )
    done = invocation.services.activation.activate(invocation.actor, name, switch)
    invocation.out.document({"name": name, "active": True, "comparison": comparison, "reads": done.reads})
    invocation.out.note(f"New files now go to “{name}”. Reads look in {', then '.join(done.reads)}.")
    if done.note:
        invocation.out.note(done.note)
    return DONE


def _show(invocation: Invocation, comparison: Comparison) -> None:
    invocation.out.note(comparison.sentence)
    for key in comparison.first_missing[:MAX_KEYS]:
        invocation.out.note(f"  missing: {key}")
    if comparison.missing > MAX_KEYS:
        invocation.out.note(f"  and {comparison.missing - MAX_KEYS:,} more")
    if comparison.missing:
        command = f"stowage migrate {comparison.active} {comparison.target}"
        invocation.out.note(f"To copy what is missing: {command}")


@click.command(cls=Command)
@click.argument("name")
@click.option("--origin", metavar="URL", required=True, help="The site that browsers upload from.")
@click.option(
    "--fix", "fixes", metavar="FINDING", multiple=True, help="Fix this finding first; may be repeated."
)
@pass_invocation
def check(invocation: Invocation, *, name: str, origin: str, fixes: tuple[str, ...]) -> int:
    """Check the settings of NAME's bucket: may browsers upload, what do lifecycle rules delete?

    The exit code is 1 if there is something to fix.
    """
    settings = invocation.services.bucket_settings
    for finding in fixes:
        settings.fix(invocation.actor, name, finding, origin)
        invocation.out.note(f"Fixed: {finding}.")
    found = settings.findings(invocation.actor, name, origin)
    invocation.out.document({"name": name, "findings": found})
    for each in found:
        invocation.out.note(f"{'ok' if each.good else 'found':<8} {each.sentence}")
        if each.remedy:
            invocation.out.note(f"         {each.remedy}")
        if each.fixable:
            invocation.out.note(f"         {each.button} with: --fix {each.name}")
    return DONE if all(each.good for each in found) else WITH_ERRORS


def _counted(info: BackendInfo, began: float) -> bool:
    """Whether the requested count has ended, successfully or not."""
    status = info.status
    if (status.counted_at or 0.0) >= began:
        return True
    return not status.counting and (status.checked_at or 0.0) >= began


def _compared(invocation: Invocation, name: str) -> Comparison:
    activation = invocation.services.activation
    activation.compare(invocation.actor, name)

    def ended() -> bool:
        known = activation.comparison(name)
        return known is not None and not known.running

    invocation.services.runner.run_until(ended)
    return activation.compare(invocation.actor, name)
