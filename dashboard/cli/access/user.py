"""``stowage user``: users and their roles."""

from __future__ import annotations

import click

from dashboard.cli import arguments, formatting
from dashboard.cli.invocation import DONE, WITH_ERRORS, Group, Invocation, pass_invocation
from dashboard.services.permissions import Role

ROLES = click.Choice([role.value for role in Role])


@click.group(cls=Group)
def user() -> None:
    """Users and their roles."""


@user.command("list")
@pass_invocation
def list_users(invocation: Invocation) -> None:
    """List all users."""
    people = invocation.services.accounts.list()
    invocation.out.document({"users": people})
    invocation.out.table(
        ("name", "role", "last sign-in", "state"),
        [
            (
                person.username,
                person.role.value,
                formatting.ago(person.last_sign_in),
                "disabled" if person.disabled else "",
            )
            for person in people
        ],
    )


@user.command()
@click.argument("name")
@click.option(
    "--role", type=ROLES, default=Role.VIEWER.value, show_default=True, help="What the user may do."
)
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@pass_invocation
def add(invocation: Invocation, name: str, role: str, password_stdin: bool) -> None:
    """Add the user NAME."""
    password = arguments.read_password(password_stdin)
    person = invocation.services.accounts.add(invocation.actor, name, password, Role(role))
    invocation.out.document(person)
    invocation.out.note(f"“{person.username}” can now sign in as {person.role.value}.")


@user.command()
@click.argument("name")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@pass_invocation
def passwd(invocation: Invocation, name: str, password_stdin: bool) -> None:
    """Set the password of NAME and end all of NAME's sessions."""
    password = arguments.read_password(password_stdin)
    invocation.services.accounts.set_password(invocation.actor, name, password)
    invocation.out.document({"username": name, "sessions_ended": True})
    invocation.out.note(f"“{name}” has a new password, and all sessions have ended.")


@user.command("reset-two-factor")
@click.argument("name")
@arguments.YES
@pass_invocation
def reset_two_factor(invocation: Invocation, name: str, yes: bool) -> int:
    """Turn off the two-factor sign-in of NAME, and end all of NAME's sessions.

    For somebody who has lost both the phone and the recovery codes. The password alone is enough afterwards.
    """
    question = f"Make sure that it is “{name}” who asks. Turn two-factor sign-in off for “{name}”?"
    if not arguments.confirm(question, yes=yes):
        return WITH_ERRORS
    invocation.services.accounts.two_factor.reset(invocation.actor, name)
    invocation.out.document({"username": name, "two_factor": False, "sessions_ended": True})
    invocation.out.note(f"“{name}” signs in with the password alone now, and all sessions have ended.")
    return DONE
