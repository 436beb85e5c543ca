"""``stowage setup``: the first administrator, without a browser."""

from __future__ import annotations

import click

from dashboard.cli import values
from dashboard.cli.frame import Command, Invocation, pass_invocation


@click.command(cls=Command)
@click.option("--username", required=True, help="The name of the first administrator.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@pass_invocation
def setup(invocation: Invocation, username: str, password_stdin: bool) -> None:
    """Make the first administrator and the backend “local-disk”, and print the recovery key.

    Works once; the console's setup page is gone afterwards.
    """
    password = values.password(password_stdin)
    key = invocation.services.setup.complete(None, username, password, actor=invocation.actor)
    out = invocation.out
    out.document({"username": username, "key_id": key.key_id, "recovery_key": key.text})
    if not out.as_json:
        out.say(f"Recovery key: {key.text}")
        out.note("Keep it somewhere else: without it and without the key file, stored secrets are lost.")
        out.note(f"“{username}” is the administrator. Start the console with: stowage run")
