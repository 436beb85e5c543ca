"""``stowage flower``: a look at the queues of workers."""

from __future__ import annotations

from pathlib import Path

import click

from dashboard.cli.invocation import Command, Invocation, pass_invocation
from dashboard.errors import InvalidInput, Kind, StowageError
from dashboard.services.people.passwords import MIN_LENGTH
from dashboard.storage.types import Secret

FLOWER = "flower"


@click.command(cls=Command)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=5555,
    show_default=True,
    help="The port; 0 picks a free one.",
)
@click.option("--username", default="stowage", show_default=True, help="The name to sign in with.")
@click.option(
    "--password-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A file with the password to sign in with. Required.",
)
@pass_invocation
def flower(invocation: Invocation, host: str, port: int, username: str, password_file: Path | None) -> None:
    """Show queues, workers and their tasks with Flower, behind a password.

    Needs STOWAGE_BROKER_URL. Nothing can be changed there: the console is for that. Listens on this machine
    only, unless --host says otherwise; then put TLS in front, because a browser sends the password with every
    request.
    """
    from dashboard.services.cluster.joining import require_broker

    broker_url = require_broker(invocation.settings())
    password = _password(password_file)
    if ":" in username or not username.isprintable() or not username:
        raise InvalidInput("username", "The name to sign in with has no colon, and is one line.")
    from dashboard.services.cluster.monitoring import FlowerAddress, show

    try:
        show(broker_url, FlowerAddress(host, port, username, password), invocation.out.note)
    except OSError as error:
        raise StowageError(
            Kind.CONFLICT,
            f"{host} port {port} cannot be used: {error.strerror}.",
            operation=FLOWER,
            remedy="Choose another with --host and --port.",
        ) from error


def _password(path: Path | None) -> Secret:
    if path is None:
        raise InvalidInput(
            "password-file",
            "Flower does not start without a password.",
            remedy="Write one into a file that only you can read, and name it with --password-file.",
        )
    try:
        text = path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise InvalidInput("password-file", f"“{path}” cannot be read: {why}.") from error
    if len(text) < MIN_LENGTH or not text.isprintable():
        raise InvalidInput(
            "password-file",
            f"The password for Flower has at least {MIN_LENGTH} characters, on one line.",
            remedy="Make one, for example, with: openssl rand -hex 24",
        )
    return Secret(text)
