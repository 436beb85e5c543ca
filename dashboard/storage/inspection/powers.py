"""Optional powers of a driver: checking and changing a bucket's own settings, finding unfinished uploads, and
listing one folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from dashboard.storage.types import Entry, PowerBase


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that a person should know about a container.

    ``name`` identifies it for :meth:`ChecksSettings.fix`. ``remedy``: what fixing does, or what to do by hand
    if it is not ``fixable``. ``good`` findings say what was checked and is in order.
    """

    name: str
    sentence: str
    remedy: str = ""
    fixable: bool = False
    good: bool = False
    button: str = "Fix it"
    """The label of the button that fixes it."""


@runtime_checkable
class ChecksSettings(PowerBase, Protocol):
    """Can read how its bucket is set up, and may be able to change it."""

    def findings(self, origin: str) -> tuple[Finding, ...]:
        """Return the findings; ``origin`` (scheme, host and port) is the site that browsers upload from.
        Settings that the credentials may not read are findings too. Raises if nothing can be read at all."""
        ...

    def fix(self, name: str, origin: str) -> None:
        """Fix a finding; all other settings stay as they are. Raises ``DENIED`` if the credentials may not,
        and ``InvalidInput`` for an unknown finding. Idempotent."""
        ...


@dataclass(frozen=True, slots=True)
class UnfinishedUpload:
    """A multipart upload that was neither completed nor aborted. ``begun``: seconds since the epoch, by the
    server's clock."""

    key: str
    id: str
    begun: float


@runtime_checkable
class KeepsUnfinished(PowerBase, Protocol):
    """Keeps the parts of an upload, hidden and billed, until the upload is completed or aborted."""

    def unfinished(self, prefix: str = "") -> Iterator[UnfinishedUpload]:
        """Yield the unfinished uploads under a prefix, no matter who started them. Some may be in
        progress."""
        ...

    def abort(self, upload: UnfinishedUpload) -> None:
        """Discard the parts of an upload. A client that is still uploading gets an error. Idempotent."""
        ...


@dataclass(frozen=True, slots=True)
class FolderListing:
    """A page of one folder.

    ``folders``: paths of the folders in it, each with a slash at its end. ``cursor``: what to pass for the
    next page, empty if this is the last. ``stopped``: the listing was given up before its end and cannot be
    continued.
    """

    entries: tuple[Entry, ...]
    folders: tuple[str, ...]
    cursor: str = ""
    stopped: bool = False


@runtime_checkable
class ListsFolders(PowerBase, Protocol):
    """Can list one folder without listing what is below its subfolders."""

    def list_folder(self, prefix: str, *, cursor: str = "", limit: int) -> FolderListing:
        """Return a page of the folder ``prefix``, which is empty or ends in a slash.

        The object whose key is the prefix itself is an entry. ``limit`` bounds objects and subfolders
        together; a page may have fewer and still not be the last. ``cursor`` is that of the page before and
        means nothing elsewhere. A folder that does not exist is empty. Raises what ``list`` raises.
        """
        ...
