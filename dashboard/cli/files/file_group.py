"""``stowage files``: looking into backends, changing files, searching the catalogue, and links."""

from __future__ import annotations

import click

from dashboard.cli.invocation import Commands, Group


@click.group(cls=Group)
def files() -> None:
    """Files in backends, what is known of them, and links to them.

    A file is written BACKEND:KEY, a folder with a slash at its end.
    """


files.commands = Commands(
    {
        "cat": "dashboard.cli.files.file_reading:cat",
        "cp": "dashboard.cli.files.file_changing:cp",
        "find": "dashboard.cli.files.file_search:find",
        "get": "dashboard.cli.files.file_reading:get",
        "link": "dashboard.cli.files.file_links:link",
        "links": "dashboard.cli.files.file_links:links",
        "ls": "dashboard.cli.files.file_reading:ls",
        "mv": "dashboard.cli.files.file_changing:mv",
        "old": "dashboard.cli.files.file_search:old",
        "put": "dashboard.cli.files.file_changing:put",
        "rm": "dashboard.cli.files.file_changing:rm",
        "stat": "dashboard.cli.files.file_reading:stat",
        "undo": "dashboard.cli.files.file_changing:undo",
        "unlink": "dashboard.cli.files.file_links:unlink",
    }
)
