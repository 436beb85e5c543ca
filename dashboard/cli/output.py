"""Output of commands: tables or one JSON document on standard output, notes on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from dashboard.services.json_values import plain
from dashboard.services.text import printable

if TYPE_CHECKING:
    from dashboard.errors import StowageError

UNLIMITED_WIDTH = 10_000
"""Columns of a table that goes to a file or a pipe, where nothing may be cut off."""


class Output:
    """Prints text for people, or one JSON document for programs. Control characters are escaped."""

    def __init__(self, as_json: bool = False) -> None:
        self.as_json = as_json

    def say(self, text: str = "") -> None:
        """Print a line of the result."""
        click.echo(printable(text), err=self.as_json)

    def note(self, text: str) -> None:
        """Print a line that is not part of the result: what is being done, what to do next."""
        click.echo(printable(text), err=True)

    def explain(self, text: str) -> None:
        """Print several lines of explanation, after an empty one."""
        click.echo(err=True)
        for line in text.splitlines():
            self.note(line)

    def document(self, value: object) -> None:
        """Print the result as JSON. Called once per run; prints nothing without ``--json``."""
        if self.as_json:
            click.echo(json.dumps(plain(value), indent=2))

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print the result as a table; columns whose name begins with ``>`` are right-aligned."""
        if self.as_json:
            return
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        is_terminal = sys.stdout.isatty()
        table = Table(box=box.SIMPLE_HEAD if is_terminal else None, pad_edge=False, show_edge=False)
        for column in columns:
            table.add_column(column.removeprefix(">"), justify="right" if column[:1] == ">" else "left")
        for row in rows:
            table.add_row(*(Text(printable(cell)) for cell in row))
        Console(width=None if is_terminal else UNLIMITED_WIDTH, highlight=False).print(table)

    def fields(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Print the result as names and values; empty values are omitted."""
        if self.as_json:
            return
        shown = [(name, value) for name, value in pairs if value]
        width = max((len(name) for name, _ in shown), default=0)
        for name, value in shown:
            click.echo(f"{name:<{width}}  {printable(value)}")

    def fail(self, error: StowageError) -> None:
        """Print an error and its remedy, or its JSON document."""
        if self.as_json:
            self.document({"error": error.as_dict()})
        self.note(f"Error: {error.reason}")
        if error.remedy:
            self.note(error.remedy)
