"""Directories, in containers that have them and in containers that only have keys."""

from __future__ import annotations

from collections.abc import Iterator

from dashboard.errors import InvalidInput
from dashboard.storage.driver import Driver, KeepsFolders
from dashboard.storage.errors import InvalidKey
from dashboard.storage.powers import unsupported_error
from dashboard.storage.types import Entry


class Folders:
    """The directories of one driver. A directory is named with or without a slash at its end."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    def files(self, directory: str, *, recursive: bool) -> Iterator[Entry]:
        """See ``Operations.files``. A directory's own empty object is not one of its files."""
        prefix = _prefix(directory)
        for entry in self._driver.list(prefix):
            rest = entry.key.removeprefix(prefix)
            if not _is_marker(entry) and (recursive or "/" not in rest):
                yield entry

    def directories(self, directory: str, *, recursive: bool) -> Iterator[str]:
        """See ``Operations.directories``."""
        if isinstance(self._driver, KeepsFolders):
            yield from _kept(self._driver, _prefix(directory), recursive=recursive)
            return
        prefix, seen = _prefix(directory), set[str]()
        for entry in self._driver.list(prefix):
            parts = entry.key.removeprefix(prefix).split("/")[:-1]
            for depth in range(1, len(parts) + 1 if recursive else min(2, len(parts) + 1)):
                found = prefix + "/".join(parts[:depth])
                if found not in seen:
                    seen.add(found)
                    yield found

    def has(self, directory: str) -> bool:
        """Whether the directory exists: it contains an object, or the driver keeps empty folders."""
        path = _named(directory)
        if next(self._driver.list(f"{path}/"), None) is not None:
            return True
        above, _, name = path.rpartition("/")
        return isinstance(self._driver, KeepsFolders) and name in self._driver.folders(above)

    def make(self, directory: str) -> None:
        """See ``Operations.make_directory``."""
        path = _named(directory)
        if isinstance(self._driver, KeepsFolders):
            self._driver.make_folder(path)
            return
        try:
            self._driver.check_key(f"{path}/")
            self._driver.put(f"{path}/", b"")
        except InvalidKey as error:
            raise unsupported_error(self._driver, "folder", "make directory") from error

    def delete(self, directory: str) -> int:
        """See ``Operations.delete_directory``."""
        path, deleted = _named(directory), 0
        for entry in self._driver.list(f"{path}/"):
            self._driver.delete(entry.key)
            deleted += not _is_marker(entry)
        if isinstance(self._driver, KeepsFolders):
            self._driver.remove_folder(path)
        return deleted


def _kept(driver: KeepsFolders, prefix: str, *, recursive: bool) -> Iterator[str]:
    for name in sorted(driver.folders(prefix.removesuffix("/"))):
        yield prefix + name
        if recursive:
            yield from _kept(driver, f"{prefix}{name}/", recursive=True)


def _is_marker(entry: Entry) -> bool:
    return entry.size == 0 and entry.key.endswith("/")


def _prefix(directory: str) -> str:
    path = directory.removesuffix("/")
    return f"{path}/" if path else ""


def _named(directory: str) -> str:
    path = directory.removesuffix("/")
    if not path:
        raise InvalidInput(
            "directory", "The whole backend is not a directory.", remedy="Name a directory in it."
        )
    return path
