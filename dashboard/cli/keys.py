"""``stowage keys``: the key that seals stored secrets."""

from __future__ import annotations

import click

from dashboard.cli import values
from dashboard.cli.frame import DONE, WITH_ERRORS, Group, Invocation, pass_invocation


@click.group(cls=Group)
def keys() -> None:
    """The key that seals stored secrets."""


@keys.command("show-state")
@pass_invocation
def show_state(invocation: Invocation) -> int:
    """Say whether stored secrets can be opened. Exit code 1 when the console is sealed."""
    state = invocation.services.keys.state()
    out = invocation.out
    out.document(state)
    out.fields(
        (
            ("state", "sealed" if state.sealed else "open"),
            ("key", state.key_id),
            ("why", state.reason),
            ("remedy", state.remedy),
        )
    )
    return WITH_ERRORS if state.sealed else DONE


@keys.command()
@pass_invocation
def rotate(invocation: Invocation) -> None:
    """Seal everything again with a new key, while the console runs.

    Prints the new recovery key. Killed half way, nothing is lost: run it again.
    """
    rotation = invocation.services.keys.rotate(invocation.actor)
    out = invocation.out
    out.document(rotation)
    if not out.as_json:
        out.say(f"Recovery key: {rotation.recovery_key}")
        out.note("Keep it somewhere else; the old recovery key opens nothing any more.")
        out.note("Back up the key file together with the database from now on.")


@keys.command()
@click.option("--recovery-key-stdin", is_flag=True, help="Read the recovery key from standard input.")
@pass_invocation
def restore(invocation: Invocation, recovery_key_stdin: bool) -> int:
    """Write a lost key file again from the recovery key.

    Only done if that key opens what is stored here; a foreign key file is renamed, not lost.
    """
    if recovery_key_stdin:
        recovery_key = values.line_from_stdin("recovery key")
    else:
        recovery_key = values.ask_secret("Recovery key", "Use --recovery-key-stdin and pipe it in.")
    state = invocation.services.keys.restore(invocation.actor, recovery_key.reveal())
    out = invocation.out
    out.document(state)
    out.note("The key file is in place again." if not state.sealed else f"{state.reason} {state.remedy}")
    return WITH_ERRORS if state.sealed else DONE
