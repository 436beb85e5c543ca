"""``stowage files``: looking into backends, changing files, searching the catalogue, and links."""

from __future__ import annotations

import click

from dashboard.cli.files import file_changing, file_links, file_reading, file_search
from dashboard.cli.invocation import Group


@click.group(cls=Group)
def files() -> None:
    """Files in backends, what is known of them, and links to them.

    A file is written BACKEND:KEY, a folder with a slash at its end.
    """


for command in (
    file_reading.ls,
    file_reading.stat,
    file_reading.cat,
    file_reading.get,
    file_changing.put,
    file_changing.cp,
    file_changing.mv,
    file_changing.rm,
    file_changing.undo,
    file_search.find,
    file_search.old,
    file_links.link,
    file_links.links,
    file_links.unlink,
):
    files.add_command(command)
