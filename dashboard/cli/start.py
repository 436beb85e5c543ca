"""``stowage run``, ``stowage worker`` and ``stowage setup``: the console, a machine that works for it, and
its first administrator."""

from __future__ import annotations

import click

from dashboard.cli import arguments
from dashboard.cli.invocation import Command, Invocation, pass_invocation
from dashboard.settings import Overrides


@click.command(cls=Command)
@click.option("--host", help="The address to listen on. Default: STOWAGE_HOST, else 127.0.0.1.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help="The port; 0 picks a free one. Default: STOWAGE_PORT, else 8080.",
)
@pass_invocation
def run(invocation: Invocation, host: str | None, port: int | None) -> None:
    """Serve the console and run its background work.

    Creates the instance folder, the databases and the key if they do not exist. The first start prints
    a one-time setup code. Stops cleanly on Ctrl-C and SIGTERM; unfinished work resumes at the next start.
    """
    given = Overrides()
    if host is not None:
        given["host"] = host
    if port is not None:
        given["port"] = port
    settings = invocation.settings(**given)
    invocation.program.serve(settings, invocation.out.say)
    invocation.out.document({"stopped": True})


@click.command(cls=Command)
@click.option(
    "--queues",
    default="migrations,counts,media,maintenance",
    show_default=True,
    help="The queues to take jobs from, separated by commas.",
)
@click.option(
    "--concurrency",
    type=click.IntRange(1, 256),
    help="How many migrations, or parts of one, to work on at once. Default: one for each core.",
)
@pass_invocation
def worker(invocation: Invocation, queues: str, concurrency: int | None) -> None:
    """Do jobs for a console, on this or any other machine.

    Needs STOWAGE_BROKER_URL, STOWAGE_DATABASE_URL and the key file of the console. Jobs that need the folders
    of the console's machine are done only where its instance folder is. Stops cleanly on Ctrl-C and SIGTERM:
    unfinished work goes on elsewhere.
    """
    from dashboard.services.workers.worker_values import Queue

    names = dict.fromkeys(name.strip() for name in queues.split(",") if name.strip())
    known = {queue.value: queue for queue in Queue}
    if not names or not names.keys() <= known.keys():
        raise click.BadParameter(f"Choose among {', '.join(known)}.", param_hint="--queues")
    assert invocation.program.work is not None
    chosen = [known[name] for name in names]
    invocation.program.work(invocation.settings(), chosen, concurrency or 0, invocation.out.say)
    invocation.out.document({"stopped": True})


@click.command(cls=Command)
@click.option("--username", required=True, help="The name of the first administrator.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@pass_invocation
def setup(invocation: Invocation, username: str, password_stdin: bool) -> None:
    """Create the first administrator and the backend “local-disk”, and print the recovery key.

    Works only once; afterwards the console's setup page no longer exists.
    """
    password = arguments.read_password(password_stdin)
    key = invocation.services.setup.complete(None, username, password, actor=invocation.actor)
    out = invocation.out
    out.document({"username": username, "key_id": key.key_id, "recovery_key": key.text})
    if not out.as_json:
        out.say(f"Recovery key: {key.text}")
        out.note("Keep it somewhere else: without it and the key file, stored secrets are lost.")
        out.note(f"“{username}” is now an administrator. Start the console with: stowage run")
