"""``stowage files``: what is known of stored files, and links to them."""

from __future__ import annotations

import click

from dashboard.cli import file_links, file_search
from dashboard.cli.invocation import Group


@click.group(cls=Group)
def files() -> None:
    """Stored files, and links to them."""


for command in (file_search.find, file_search.old, file_links.link, file_links.links, file_links.unlink):
    files.add_command(command)
