"""``stowage keys``: the key that seals stored secrets."""

from __future__ import annotations

import click

from dashboard.cli import arguments
from dashboard.cli.invocation import DONE, WITH_ERRORS, Group, Invocation, pass_invocation


@click.group(cls=Group)
def keys() -> None:
    """The key that seals stored secrets."""


@keys.command("show-state")
@pass_invocation
def show_state(invocation: Invocation) -> int:
    """Show whether stored secrets can be unsealed. The exit code is 1 if the console is sealed."""
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
@arguments.YES
@pass_invocation
def rotate(invocation: Invocation, yes: bool) -> int:
    """Seal every secret with a new key, while the console keeps running.

    Asks first, because the present recovery key stops working. Prints the new one, once. If it is
    interrupted, nothing is lost: run it again.
    """
    question = "The present recovery key stops working, and the new one is printed once. Rotate the key?"
    if not arguments.confirm(question, yes=yes):
        return WITH_ERRORS
    rotation = invocation.services.keys.rotate(invocation.actor)
    out = invocation.out
    out.document(rotation)
    if not out.as_json:
        out.say(f"Recovery key: {rotation.recovery_key}")
        out.note("Keep it somewhere else; the old recovery key no longer works.")
        out.note("Back up the new key file together with the database.")
    return DONE


@keys.command()
@click.option("--recovery-key-stdin", is_flag=True, help="Read the recovery key from standard input.")
@pass_invocation
def restore(invocation: Invocation, recovery_key_stdin: bool) -> int:
    """Restore a lost key file from the recovery key.

    Only if that key can unseal what is stored here. A key file that cannot is renamed, not deleted.
    """
    if recovery_key_stdin:
        recovery_key = arguments.read_line("recovery key")
    else:
        recovery_key = arguments.prompt_secret("Recovery key", "Use --recovery-key-stdin, and pipe it in.")
    state = invocation.services.keys.restore(invocation.actor, recovery_key.reveal())
    out = invocation.out
    out.document(state)
    out.note("The key file is restored." if not state.sealed else f"{state.reason} {state.remedy}")
    return WITH_ERRORS if state.sealed else DONE
