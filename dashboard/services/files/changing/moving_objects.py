"""Copying and moving one object within a backend, so that no step can lose it or somebody else's."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum

from dashboard.errors import InvalidInput
from dashboard.services.files.changing.outcomes import FileRef, changed_error, refuse_reserved, stat_seen
from dashboard.storage.copying import copy_object
from dashboard.storage.driver import DeletesUnchanged, Driver, stat_or_none
from dashboard.storage.errors import Changed, Exists, NotFound, StorageError, Unsupported
from dashboard.storage.naming import add_unique_suffix
from dashboard.storage.object_powers import MovesWithin
from dashboard.storage.types import ObjectInfo

_NUMBERED = 20
"""Names “a (2).txt” to “a (20).txt” are tried before a random one."""


class OnTaken(StrEnum):
    """What happens if the new name is taken."""

    REFUSE = "refuse"
    REPLACE = "replace"
    KEEP_BOTH = "keep_both"


@dataclass(frozen=True, slots=True)
class Transfer:
    """A file to copy or move, and its new key."""

    file: FileRef
    to: str


@dataclass(frozen=True, slots=True)
class Transferred:
    """What was copied or moved, and what is at the new key now. ``moved``: whether the original is gone
    already."""

    source: ObjectInfo
    result: ObjectInfo
    moved: bool


def transfer_object(driver: Driver, transfer: Transfer, on_taken: OnTaken, *, move: bool) -> Transferred:
    """Copy an object to another key, or give it that key if the backend can do so without copying.

    The copy is complete and proven when this returns. Raises ``NotFound``; ``InvalidKey`` and
    ``InvalidInput`` for a key that it cannot get; ``Exists``; ``Changed``; and what the driver raises. On
    servers that cannot write only where nothing is, a gap between the check and the write remains.
    """
    file, to = transfer.file, transfer.to
    check_new_key(driver, file.key, to)
    info = stat_seen(driver, file)
    for number, name in enumerate(_names(to) if on_taken is OnTaken.KEEP_BOTH else iter((to,))):
        driver.check_key(name)
        try:
            moved = move and _moved(driver, info, name, replace=on_taken is OnTaken.REPLACE)
            if not moved:
                _copy(driver, info, name, replace=on_taken is OnTaken.REPLACE)
            return Transferred(info, driver.stat(name), moved)
        except Exists:
            if on_taken is not OnTaken.KEEP_BOTH or number > _NUMBERED:
                raise
    raise Exists(to)


def delete_original(driver: Driver, info: ObjectInfo) -> None:
    """Delete an object that was copied, if it still is the one that was. Raises ``Changed`` if not. For
    drivers without ``DeletesUnchanged`` a gap between the check and the deletion remains."""
    with suppress(NotFound):
        if info.version is not None and isinstance(driver, DeletesUnchanged):
            driver.delete_unchanged(info.key, info.version)
            return
        if driver.stat(info.key).version != info.version:
            raise Changed(info.key, operation="delete")
        driver.delete(info.key)


def check_new_key(driver: Driver, key: str, to: str) -> None:
    """Raise ``InvalidInput`` or ``InvalidKey`` for a new key that this object cannot get."""
    if to == key:
        raise InvalidInput("to", "The file already has that name.")
    if not to or (to.endswith("/") and not key.endswith("/")):
        raise InvalidInput("to", "A file needs a name.", remedy="Type one after the last “/”.")
    refuse_reserved(to)
    driver.check_key(to)
    if _folded(key) == _folded(to) and _same_object(driver, key, to):
        raise InvalidInput(
            "to",
            "For this backend both names are the same one.",
            remedy="Rename it to something else first, and then to this name.",
        )


def _folded(key: str) -> str:
    return unicodedata.normalize("NFC", key).casefold()


def _same_object(driver: Driver, key: str, to: str) -> bool:
    """Whether a name that differs only in case or accents leads to the same object."""
    with suppress(StorageError):
        here, there = stat_or_none(driver, key), stat_or_none(driver, to)
        return here is not None and there is not None and here.version == there.version
    return False


def _moved(driver: Driver, info: ObjectInfo, to: str, *, replace: bool) -> bool:
    """Move an object without copying it. Returns False if it has to be copied."""
    if not isinstance(driver, MovesWithin):
        return False
    try:
        driver.move_within(info.key, to, if_version=info.version, replace=replace)
    except Unsupported:
        return False
    except Changed as error:
        raise changed_error(info.key) from error
    return True


def _copy(driver: Driver, info: ObjectInfo, to: str, *, replace: bool) -> None:
    def check_unchanged() -> None:
        if driver.stat(info.key).version != info.version:
            raise changed_error(info.key)

    def copy(*, create_only: bool) -> None:
        copy_object(
            driver,
            driver,
            info.entry,
            to=to,
            create_only=create_only,
            progress=lambda done: None,
            stop=lambda: False,
            need_md5=False,
            before_write=check_unchanged,
        )

    try:
        copy(create_only=not replace)
    except Unsupported:
        if replace:
            raise
        # A server that cannot write only where nothing is.
        if stat_or_none(driver, to) is not None:
            raise Exists(to) from None
        copy(create_only=False)


def _names(to: str) -> Iterator[str]:
    """Yield the name, the name with numbers, and a unique one."""
    yield to
    folder, slash, name = to.rpartition("/")
    stem, dot, ending = name.rpartition(".")
    if not stem:
        stem, dot, ending = name, "", ""
    for number in range(2, _NUMBERED + 1):
        yield f"{folder}{slash}{stem} ({number}){dot}{ending}"
    yield f"{folder}{slash}{add_unique_suffix(name)}"
