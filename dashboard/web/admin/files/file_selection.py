"""The files that a form is about: what was selected, with folders taken as all the files in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from flask import flash, request

from dashboard.errors import InvalidInput
from dashboard.services.files.browse import LABEL
from dashboard.services.files.changing.outcomes import MAX_FILES, FileRef, Outcome
from dashboard.web.admin.files.browser_view import FilesView, from_token
from dashboard.web.admin.page import flash_done, flash_with_button
from dashboard.web.context import services
from dashboard.web.formatting import plural, visible

MAX_NAMED = 3
"""Files that a message names."""


@dataclass(frozen=True, slots=True)
class Undo:
    """Where to send what, to undo a change."""

    url: str
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Selection:
    """``keys`` as they were selected, folders with a slash at their end; ``files``: all files among and below
    them."""

    keys: tuple[str, ...]
    files: tuple[str, ...]

    @property
    def is_large_folder(self) -> bool:
        """Whether it is one folder with more files than one request changes; ``files`` is not all then."""
        return len(self.files) > MAX_FILES

    def renamed(self, view: FilesView, to: str) -> Mapping[str, str]:
        """Return the new key of each file if the one thing selected gets the new key ``to``."""
        (old,) = self.keys
        if not old.endswith("/"):
            return {old: to}
        return {key: f"{to.rstrip('/')}/{key[len(old) :]}" for key in self.files}

    def moved(self, folder: str) -> Mapping[str, str]:
        """Return the new key of each file if all of them go into a folder (a prefix)."""
        new: dict[str, str] = {}
        for selected in self.keys:
            base = selected[: selected.removesuffix("/").rfind("/") + 1]
            for key in self.files:
                if key == selected or (selected.endswith("/") and key.startswith(selected)):
                    new[key] = folder + key[len(base) :]
        return new


def read_selection(backend: str, *, expand: bool = True) -> Selection:
    """Return what the request is about. Raises kind ``invalid`` for nothing, or for folders with more files
    than one request changes, and what the backend raises."""
    keys = tuple(dict.fromkeys(from_token(token) for token in request.values.getlist("key") if token))
    if not keys:
        raise InvalidInput("key", "Nothing is selected.", remedy="Go back and select a file.")
    return Selection(keys, _files(backend, keys) if expand else keys)


def _files(backend: str, keys: Sequence[str]) -> tuple[str, ...]:
    files = dict.fromkeys(key for key in keys if not key.endswith("/"))
    folders = [key for key in keys if key.endswith("/")]
    if folders:
        driver = services().backends.driver_with_waiting(backend, label=LABEL)
        for folder in folders:
            room = MAX_FILES - len(files) + 1
            files.update(dict.fromkeys(entry.key for entry in islice(driver.list(folder), max(room, 0))))
    if len(files) > MAX_FILES and len(keys) > 1:
        raise InvalidInput(
            "key",
            f"That is more than {MAX_FILES:,} files.",
            remedy="Select fewer, or select one folder: a folder may hold any number of files.",
        )
    return tuple(files)


def refs(selection: Selection, version: str) -> list[FileRef]:
    """The files, the only one as it was seen if that is known."""
    seen = version if len(selection.files) == 1 and version else None
    return [FileRef(key, seen) for key in selection.files]


def report(outcomes: Sequence[Outcome], done: str, *, undo: Undo | None = None) -> None:
    """Say on the next page what became of the files. ``done`` completes “3 files …”."""
    failed = [outcome for outcome in outcomes if not outcome.done]
    succeeded = len(outcomes) - len(failed)
    if succeeded:
        one = visible(outcomes[0].key.rpartition("/")[2])
        several = f"1 file was {done}." if succeeded == 1 else f"{succeeded:,} files were {done}."
        sentence = f"“{one}” was {done}." if len(outcomes) == 1 else several
        if undo is not None:
            flash_with_button(sentence, button="Undo", url=undo.url, fields=undo.fields)
        else:
            flash_done(sentence)
    for outcome in failed[:MAX_NAMED]:
        flash(f"“{visible(outcome.key)}”: {outcome.reason} {outcome.remedy}".strip(), "bad")
    if len(failed) > MAX_NAMED:
        flash(f"{plural(len(failed) - MAX_NAMED, 'more file')} could not be changed either.", "bad")
