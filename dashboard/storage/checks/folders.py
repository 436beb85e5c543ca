"""Which folders of this machine a backend may use. Checked when a backend is saved, and whenever it is
opened, because a folder that was missing or harmless may have been replaced by a link since."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from dashboard.errors import InvalidInput, Kind
from dashboard.storage.errors import StorageError

Identity = tuple[int, int]
"""Device and inode: the same file or folder under any name."""

_CHOOSE = "Choose a folder made for these files."


@dataclass(frozen=True, slots=True)
class FolderPolicy:
    """Immutable. The default allows everything, for programs that use the library.

    ``own``: files and folders of the console (databases, key, caches). ``system``: folders of programs and of
    the system. A backend may be neither one of these, nor inside, nor above one. ``allowed``: if not empty,
    the only folders, with everything below them, that a backend may use.
    """

    own: tuple[str, ...] = ()
    system: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ()

    def check(self, field: str, path: str) -> None:
        """Raise ``InvalidInput`` for a path that no backend may use. A missing folder is judged by its
        path."""
        if refused := self._refusal(os.path.realpath(path), path):
            raise InvalidInput(field, refused[0], remedy=refused[1])

    def check_open(self, real: str, shown: str, operation: str) -> None:
        """Like :meth:`check`, for an open folder whose real path is ``real``. Raises kind ``denied``."""
        if refused := self._refusal(real, shown):
            raise _denied(*refused, operation, shown)

    def own_folders(self) -> frozenset[Identity]:
        """Return the folders that contain the console's own files."""
        return _identities({os.path.dirname(path) for path in self.own})

    def refuse_console_file(self, found: os.stat_result, key: str, operation: str) -> None:
        """Raise kind ``denied`` for one of the console's own files under another name."""
        if found.st_nlink > 1 and stat.S_ISREG(found.st_mode):
            files = {f"{path}{end}" for path in self.own for end in ("", "-wal", "-shm", "-journal")}
            if (found.st_dev, found.st_ino) in _identities(files):
                raise console_file_error(key, operation)

    def _refusal(self, real: str, shown: str) -> tuple[str, str] | None:
        for path in self.own:
            if paths_overlap(real, os.path.realpath(path)):
                return f"“{shown}” holds Stowage's own database or key, or is inside of them.", _CHOOSE
        for path in self.system:
            if paths_overlap(real, os.path.realpath(path)):
                return f"“{shown}” belongs to the system or to a program: “{path}” is there.", _CHOOSE
        if self.allowed and not any(is_within(real, os.path.realpath(path)) for path in self.allowed):
            return (
                f"“{shown}” is not in a folder that backends may use.",
                f"Choose one in {' or '.join(f'“{path}”' for path in self.allowed)}, or add it to "
                "STOWAGE_LOCAL_ROOTS.",
            )
        return None


UNRESTRICTED = FolderPolicy()
"""For programs that use the library."""


@runtime_checkable
class UsesLocalFolders(Protocol):
    """A driver that reads and writes folders of this machine."""

    def restrict_to(self, policy: FolderPolicy) -> None:
        """From now on, refuse what the policy refuses. Called before the first use."""
        ...


def console_file_error(key: str, operation: str) -> StorageError:
    """The error for access to the console's own files."""
    return _denied(f"“{key}” is one of Stowage's own files.", "Leave it where it is.", operation, key)


def _denied(reason: str, remedy: str, operation: str, subject: str) -> StorageError:
    return StorageError(Kind.DENIED, reason, operation=operation, subject=subject, remedy=remedy)


def real_path_of(folder: int, path: str) -> str:
    """Return the real path of an open folder; ``path`` is the one it was opened with."""
    try:
        return os.readlink(f"/proc/self/fd/{folder}")
    except OSError:
        # No /proc here: the path is looked at once more, which leaves a moment for somebody to change it.
        return os.path.realpath(path)


def _identities(paths: set[str]) -> frozenset[Identity]:
    found = set()
    for path in paths:
        try:
            seen = os.stat(path)
        except OSError:
            continue
        found.add((seen.st_dev, seen.st_ino))
    return frozenset(found)


def paths_overlap(one: str, other: str) -> bool:
    """Whether one of two real paths is the other, or inside it."""
    return is_within(one, other) or is_within(other, one)


def is_within(path: str, ancestor: str) -> bool:
    """Whether a real path is this folder or inside it."""
    return path == ancestor or path.startswith(ancestor.rstrip("/") + "/")
