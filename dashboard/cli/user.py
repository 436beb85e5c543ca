"""``stowage user``: who may sign in, and as what."""

from __future__ import annotations

import click

from dashboard.cli import values, wording
from dashboard.cli.frame import Group, Invocation, pass_invocation
from dashboard.services.permissions import Role

ROLES = click.Choice([role.value for role in Role])


@click.group(cls=Group)
def user() -> None:
    """Who may sign in, and as what."""


@user.command("list")
@pass_invocation
def list_users(invocation: Invocation) -> None:
    """List everybody."""
    people = invocation.services.accounts.list()
    invocation.out.document({"users": people})
    invocation.out.table(
        ("name", "role", "last sign-in", "state"),
        [
            (
                person.username,
                person.role.value,
                wording.ago(person.last_sign_in),
                "disabled" if person.disabled else "",
            )
            for person in people
        ],
    )


@user.command()
@click.argument("name")
@click.option("--role", type=ROLES, default=Role.VIEWER.value, show_default=True, help="What they may do.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@pass_invocation
def add(invocation: Invocation, name: str, role: str, password_stdin: bool) -> None:
    """Make an account for NAME."""
    password = values.password(password_stdin)
    person = invocation.services.accounts.add(invocation.actor, name, password, Role(role))
    invocation.out.document(person)
    invocation.out.note(f"“{person.username}” may sign in, as {person.role.value}.")


@user.command()
@click.argument("name")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@pass_invocation
def passwd(invocation: Invocation, name: str, password_stdin: bool) -> None:
    """Give NAME a new password and end all their sessions."""
    password = values.password(password_stdin)
    invocation.services.accounts.set_password(invocation.actor, name, password)
    invocation.out.document({"username": name, "sessions_ended": True})
    invocation.out.note(f"“{name}” has a new password; all their sessions have ended.")
