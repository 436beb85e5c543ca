"""``stowage run``: the console itself."""

from __future__ import annotations

import click

from dashboard.cli.frame import Command, Invocation, pass_invocation
from dashboard.settings import Overrides


@click.command(cls=Command)
@click.option("--host", help="The address to listen on. Default: STOWAGE_HOST, else 127.0.0.1.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help="The port; 0 takes a free one. Default: STOWAGE_PORT, else 8080.",
)
@pass_invocation
def run(invocation: Invocation, host: str | None, port: int | None) -> None:
    """Serve the console and run its background work.

    Makes the instance folder, the databases and the key where they are missing. The first start prints
    a one-time setup code. Ends cleanly on Ctrl-C and SIGTERM; unfinished work goes on at the next start.
    """
    given = Overrides()
    if host is not None:
        given["host"] = host
    if port is not None:
        given["port"] = port
    settings = invocation.settings(**given)
    invocation.program.serve(settings, invocation.out.say)
    invocation.out.document({"stopped": True})
