"""``stowage token``: API tokens of programs."""

from __future__ import annotations

import click

from dashboard.cli import formatting
from dashboard.cli.invocation import Group, Invocation, pass_invocation
from dashboard.services.json_values import plain
from dashboard.services.permissions import TOKEN_SCOPES, Permission

SCOPES = click.Choice([each.value for each in Permission if each in TOKEN_SCOPES])
DAY = 86_400.0


@click.group(cls=Group)
def token() -> None:
    """API tokens, with which programs sign in."""


@token.command()
@click.argument("name")
@click.option("--user", required=True, help="The user whom the token stands for.")
@click.option(
    "--scope",
    "scopes",
    type=SCOPES,
    multiple=True,
    default=(Permission.VIEW.value,),
    show_default=True,
    help="What it may do, if the user may; repeat it for more.",
)
@click.option(
    "--days",
    type=click.FloatRange(min=0.001, max=3660),
    default=90,
    show_default=True,
    help="Days until it expires.",
)
@click.option("--never-expires", is_flag=True, help="It works until it is revoked.")
@pass_invocation
def create(
    invocation: Invocation, name: str, *, user: str, scopes: tuple[str, ...], days: float, never_expires: bool
) -> None:
    """Make the token NAME and print it, once."""
    made = invocation.services.tokens.create(
        invocation.actor, name, scopes, seconds=None if never_expires else days * DAY, username=user.lower()
    )
    out = invocation.out
    text = made.secret.reveal()
    out.document({**plain(made.info), "token": text})
    if not out.as_json:
        out.say(text)
    out.note("It is shown this once. Programs send it as “Authorization: Bearer …”.")


@token.command("list")
@pass_invocation
def list_tokens(invocation: Invocation) -> None:
    """List all tokens, newest first."""
    tokens = invocation.services.tokens.list(invocation.actor, everybody=True)
    invocation.out.document({"tokens": [{**plain(t), "state": t.state} for t in tokens]})
    invocation.out.table(
        (">number", "name", "user", "ends in", "scopes", "last used", "expires", "state"),
        [
            (
                str(t.id),
                t.name,
                t.username,
                t.ending,
                ", ".join(t.scopes),
                formatting.ago(t.last_used_at),
                formatting.date(t.expires_at) if t.expires_at is not None else "never",
                t.state,
            )
            for t in tokens
        ],
    )


@token.command()
@click.argument("number", type=int)
@pass_invocation
def revoke(invocation: Invocation, number: int) -> None:
    """End the token NUMBER of the list at once."""
    revoked = invocation.services.tokens.revoke(invocation.actor, number)
    invocation.out.document(revoked)
    invocation.out.note(f"“{revoked.name}” is revoked.")
