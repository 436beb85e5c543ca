"""``stowage backend count`` and ``activate``: the commands that wait for background work."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from dashboard.cli import wording
from dashboard.cli.frame import DONE, WITH_ERRORS, Command, Invocation, pass_invocation
from dashboard.cli.values import YES, confirmed

if TYPE_CHECKING:
    from dashboard.services.activation import Comparison
    from dashboard.services.backends.service import BackendInfo


@click.command(cls=Command)
@click.argument("name")
@pass_invocation
def count(invocation: Invocation, name: str) -> int:
    """Check NAME and count its objects and bytes by listing them all."""
    backends = invocation.services.backends
    began = time.time()
    backends.refresh(invocation.actor, name)
    invocation.services.runner.run_until(lambda: _counted(backends.get(name), began))
    info = backends.get(name)
    status = info.status
    invocation.out.document(info)
    if (status.counted_at or 0.0) < began:
        invocation.out.note(f"“{name}” could not be counted: {status.message or 'see the log.'}")
        if status.remedy:
            invocation.out.note(status.remedy)
        return WITH_ERRORS
    if not invocation.out.as_json:
        invocation.out.say(f"{wording.many(status.objects)}, {wording.size(status.bytes)}")
    if status.unreadable_folders:
        folders = wording.many(status.unreadable_folders, "folder")
        invocation.out.note(f"{folders} could not be read, so what is in there is not counted.")
    return DONE


@click.command(cls=Command)
@click.argument("name")
@YES
@click.option("--no-compare", is_flag=True, help="Switch without first looking what is missing on NAME.")
@pass_invocation
def activate(invocation: Invocation, name: str, yes: bool, no_compare: bool) -> int:
    """Make NAME the backend that new files go to.

    Compares it with the active one first and asks when something is missing there.
    """
    if invocation.services.backends.get(name).active:
        invocation.out.document({"name": name, "active": True, "comparison": None})
        invocation.out.note(f"“{name}” is the active backend already.")
        return DONE
    comparison = None if no_compare else _compared(invocation, name)
    if comparison is not None:
        invocation.out.note(comparison.sentence)
    agreed = comparison is None or comparison.complete
    if not agreed and not confirmed(f"Make “{name}” the active backend all the same?", yes=yes):
        invocation.out.document({"name": name, "active": False, "comparison": comparison})
        return WITH_ERRORS
    invocation.services.activation.activate(invocation.actor, name)
    invocation.out.document({"name": name, "active": True, "comparison": comparison})
    invocation.out.note(f"New files go to “{name}” from now on.")
    return DONE


@click.command(cls=Command)
@click.argument("name")
@click.option("--origin", metavar="URL", required=True, help="The site that browsers upload from.")
@click.option(
    "--fix", "fixes", metavar="FINDING", multiple=True, help="Mend this finding first; repeat for more."
)
@pass_invocation
def check(invocation: Invocation, *, name: str, origin: str, fixes: tuple[str, ...]) -> int:
    """Look at how the bucket of NAME is set up: may browsers upload, what do lifecycle rules delete?

    Exit code 1 says that something was found.
    """
    settings = invocation.services.place_settings
    for finding in fixes:
        settings.fix(invocation.actor, name, finding, origin)
        invocation.out.note(f"Mended: {finding}.")
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
    """Whether the count that was asked for has ended, well or not."""
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
