"""``stowage files ls``, ``stat``, ``cat`` and ``get``: looking into backends, and files to this machine."""

from __future__ import annotations

import codecs
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import click

from dashboard.cli import formatting
from dashboard.cli.files.file_paths import PATH, FilePath, open_driver, print_outcomes
from dashboard.cli.invocation import DONE, Command, Invocation, pass_invocation
from dashboard.errors import InvalidInput
from dashboard.services.files.folder_view import MAX_PAGE, FileEntry
from dashboard.services.text import without_controls
from dashboard.storage.errors import NotFound
from dashboard.storage.inspection.listing import without_markers

REPLACE = click.option("--replace", is_flag=True, help="Replace what has that name. Default: leave it.")


@click.command(cls=Command)
@click.argument("path", type=PATH)
@click.option("--recursive", "-r", is_flag=True, help="All files below, and no folders.")
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=1000,
    show_default=True,
    help="The largest number of entries; 0: all of them.",
)
@pass_invocation
def ls(invocation: Invocation, path: FilePath, recursive: bool, limit: int) -> int:
    """List the folder or the file PATH, as its backend does.

    PATH is BACKEND: or BACKEND:FOLDER/.
    """
    out = invocation.out
    entries = _below(invocation, path) if recursive else _folder(invocation, path)
    found = list(islice(entries, limit + 1 if limit else None))
    more = bool(limit) and len(found) > limit
    shown = found[:limit] if limit else found
    if not shown and path.key:
        raise NotFound(path.key, operation="list")
    out.document({"entries": [_as_dict(entry) for entry in shown], "more": more})
    out.table(
        (">size", "modified", "key"),
        [
            (formatting.size(entry.size), "" if entry.folder else formatting.ago(entry.modified), entry.key)
            for entry in shown
        ],
    )
    if more:
        out.note(f"There are more than {limit:,}; --limit 0 lists all of them.")
    return DONE


@click.command(cls=Command)
@click.argument("path", type=PATH)
@pass_invocation
def stat(invocation: Invocation, path: FilePath) -> None:
    """Show what is known of the file PATH."""
    found = invocation.services.file_details.of(invocation.actor, path.backend, path.key)
    info, row = found.info, found.catalogue
    attributes, out = info.attributes, invocation.out
    headers = {
        "content type": attributes.content_type,
        "cache control": attributes.cache_control,
        "disposition": attributes.content_disposition,
        "encoding": attributes.content_encoding,
        "language": attributes.content_language,
    }
    # A row about other content says nothing about this one.
    sha256 = row.sha256 if row is not None and row.size == info.size else ""
    out.document(
        {
            "backend": found.backend,
            "key": found.key,
            "served_by": found.served_by,
            "kind": found.kind,
            "size": info.size,
            "modified": info.modified,
            "etag": info.etag,
            "md5": info.md5,
            "sha256": sha256,
            "version": info.version,
            "headers": {name.replace(" ", "_"): value for name, value in headers.items() if value},
            "metadata": dict(attributes.metadata),
            "tags": None if found.tags is None else dict(found.tags),
            "tier": found.tier,
            "visibility": found.visibility,
            "versions": None if found.versions is None else len(found.versions),
            "owner": row.owner if row is not None else "",
        }
    )
    out.fields(
        [
            ("file", f"{found.backend}:{found.key}"),
            ("served by", found.served_by if found.served_by != found.backend else ""),
            ("size", f"{formatting.size(info.size)} ({info.size:,} bytes)"),
            ("modified", formatting.ago(info.modified) if info.modified is not None else ""),
            ("owner", row.owner if row is not None else ""),
            *((name, value or "") for name, value in headers.items()),
            ("etag", info.etag or ""),
            ("md5", info.md5 or ""),
            ("sha256", sha256),
            ("tier", found.tier or ""),
            ("visibility", found.visibility or ""),
            ("versions", str(len(found.versions)) if found.versions else ""),
            *((f"metadata {name}", value) for name, value in sorted(attributes.metadata.items())),
            *((f"tag {name}", value or "(empty)") for name, value in sorted((found.tags or {}).items())),
        ]
    )


@click.command(cls=Command)
@click.argument("path", type=PATH)
@pass_invocation
def cat(invocation: Invocation, path: FilePath) -> None:
    """Write the bytes of the file PATH to standard output.

    On a terminal, control characters are shown as codes.
    """
    if invocation.out.as_json:
        raise InvalidInput("json", "cat writes the bytes of a file, which are no JSON document.")
    driver = open_driver(invocation, path)
    is_terminal = sys.stdout.isatty()
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    with driver.read(path.key) as reading:
        for chunk in reading.chunks():
            if is_terminal:
                lines = decoder.decode(chunk).split("\n")
                click.echo("\n".join(without_controls(line) for line in lines), nl=False)
            else:
                sys.stdout.buffer.write(chunk)
    sys.stdout.flush()


@click.command(cls=Command)
@click.argument("path", type=PATH)
@click.argument("file", metavar="[LOCAL]", type=click.Path(path_type=Path), default=".")
@REPLACE
@pass_invocation
def get(invocation: Invocation, path: FilePath, file: Path, replace: bool) -> int:
    """Store the file PATH, or with a slash at its end all files of the folder, on this machine.

    LOCAL is the file, or a folder that it goes into.
    """
    transfers = invocation.services.local_transfers
    outcomes = list(transfers.get(invocation.actor, path.backend, path.key, file, replace=replace))
    return print_outcomes(invocation, outcomes, "stored")


def _folder(invocation: Invocation, path: FilePath) -> Iterator[FileEntry]:
    """The entries of a folder; the file itself if there is one with this key."""
    services = invocation.services
    prefix = path.key
    if not path.is_folder:
        file = _file(invocation, path)
        if file is not None:
            yield file
            return
        prefix += "/"
    cursor, more = "", True
    while more:
        page = services.browse.folder(invocation.actor, path.backend, prefix, cursor=cursor, limit=MAX_PAGE)
        yield from (entry for entry in page.entries if entry.key != prefix)
        if page.message:
            invocation.out.note(page.message)
        cursor, more = page.cursor, bool(page.cursor)


def _file(invocation: Invocation, path: FilePath) -> FileEntry | None:
    driver = open_driver(invocation, path)
    try:
        info = driver.stat(path.key)
    except NotFound:
        return None
    return FileEntry(path.key, path.name, "file", info.size, info.modified, info.etag)


def _below(invocation: Invocation, path: FilePath) -> Iterator[FileEntry]:
    """All files whose key begins with the folder."""
    driver = open_driver(invocation, path)
    prefix = path.key if path.is_folder else f"{path.key}/"
    for entry in without_markers(driver.list(prefix)):
        name = entry.key.rpartition("/")[2]
        yield FileEntry(entry.key, name, "file", entry.size, entry.modified, entry.etag)


def _as_dict(entry: FileEntry) -> dict[str, object]:
    return {
        "key": entry.key,
        "folder": entry.folder,
        "size": entry.size,
        "modified": entry.modified,
        "etag": entry.etag,
    }
