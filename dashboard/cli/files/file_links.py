"""``stowage files link``, ``links`` and ``unlink``: addresses that open one file without an account."""

from __future__ import annotations

from typing import Any

import click

from dashboard.cli import formatting
from dashboard.cli.invocation import Command, Invocation, pass_invocation


@click.command(cls=Command)
@click.argument("backend")
@click.argument("key")
@click.option(
    "--seconds",
    type=int,
    default=7 * 86_400,
    show_default=True,
    help="How long the link works; at most a year.",
)
@click.option("--uses", type=int, help="Complete downloads after which it is over. Default: any number.")
@click.option("--user", default="", metavar="NAME", help="The only user that may use it, signed in.")
@click.option(
    "--network", default="", metavar="ADDRESS", help="The only address or network, such as 192.0.2.0/24."
)
@pass_invocation
def link(invocation: Invocation, /, backend: str, key: str, seconds: int, **limits: Any) -> None:
    """Create a link to the file KEY in BACKEND and print its URL, this once."""
    services, out = invocation.services, invocation.out
    made = services.links.create(invocation.actor, backend, key, seconds=seconds, **limits)
    base = services.settings.public_url
    url = f"{base}{made.path}" if base else None
    out.document({"url": url, "path": made.path, "link": made.info.as_dict()})
    if not out.as_json:
        out.say(url or made.path)
    out.note(f"Link {made.info.id} ends {formatting.date(made.info.expires_at)}. It is not shown again.")
    if not base:
        out.note("Put the console's address in front, or set STOWAGE_PUBLIC_URL.")


@click.command(cls=Command)
@click.option("--open", "only_open", is_flag=True, help="Only links that can still be used.")
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True, help="How many at most.")
@click.option("--before", type=int, metavar="ID", help="Only links older than this one.")
@pass_invocation
def links(invocation: Invocation, only_open: bool, limit: int, before: int | None) -> None:
    """List everybody's links, newest first."""
    found = invocation.services.links.list(
        invocation.actor, before_id=before, limit=limit, only_open=only_open
    )
    invocation.out.document({"links": [each.as_dict() for each in found]})
    invocation.out.table(
        (">id", "state", "backend", "file", "for", ">uses", "ends", "last use", "by"),
        [
            (
                str(each.id),
                each.state.value,
                each.backend or "(removed)",
                each.key,
                " from ".join(part for part in (each.user or "anyone", each.network) if part),
                f"{each.uses:,}" if each.max_uses is None else f"{each.uses:,} of {each.max_uses:,}",
                formatting.date(each.expires_at),
                formatting.ago(each.last_used_at),
                each.created_by,
            )
            for each in found
        ],
    )


@click.command(cls=Command)
@click.argument("id", type=int)
@pass_invocation
def unlink(invocation: Invocation, id: int) -> None:
    """Revoke link ID. It opens nothing any more; the file stays."""
    found = invocation.services.links.revoke(invocation.actor, id)
    invocation.out.document(found.as_dict())
    invocation.out.note(f"Link {id} is revoked.")
