"""Where a driver's objects are, and whether two such places are certainly apart: neither contains the other.

Only what cannot be otherwise counts. Two folders of this machine's own disks, by what the kernel says; a
folder and a bucket of a public provider, whose certificate this machine does not have; two buckets of public
providers with names that are no aliases. All else may overlap: whoever needs to know has to search for a
marker, see ``dashboard.migration.overlap``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

FILE_SYSTEMS = frozenset({"ext2", "ext3", "ext4", "xfs", "f2fs", "tmpfs"})
"""Each has its files on one device of its own, of which nobody else knows the contents. Not Btrfs: a
subvolume has a device number of its own wherever it appears."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of this machine, by a path that leads to it."""

    path: bytes


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket of a public provider, reached over TLS by a name that only the provider has a certificate for.
    ``name``: different for different buckets of the provider, if both are no aliases."""

    provider: str
    name: str


Place = Folder | Bucket


@runtime_checkable
class KnowsPlace(Protocol):
    """A driver that knows where its objects are."""

    @property
    def place(self) -> Place | None:
        """What contains them, perhaps with others; None if that is not certain. Makes no network call."""
        ...


def certainly_apart(one: Place | None, other: Place | None) -> bool:
    """Whether nothing that is stored in one of them can show in the other. False whenever that is not
    certain. Looks at this machine only; symbolic links and mounts may be others a moment later."""
    places = one, other
    buckets = [each for each in places if isinstance(each, Bucket)]
    folders = [each for each in places if isinstance(each, Folder)]
    if len(buckets) == 2:
        return buckets[0].provider != buckets[1].provider or buckets[0].name != buckets[1].name
    # The server of a public provider is not this machine; but a bucket can be mounted as a folder.
    return len(buckets) + len(folders) == 2 and _on_own_disks_and_apart([each.path for each in folders])


def _on_own_disks_and_apart(paths: list[bytes]) -> bool:
    """Whether one or two folders are on disks of this machine, and apart, by what Linux says; false
    elsewhere, and for folders that do not exist."""
    try:
        with open("/proc/self/mountinfo", "rb") as file:
            mounts = {mount.id: mount for mount in map(_parse, file)}
        seen = [_Seen(path, mounts) for path in paths]
        return all(each.is_known for each in seen) and (len(seen) < 2 or seen[0].is_apart_from(seen[1]))
    except (OSError, ValueError, LookupError):
        return False


@dataclass(frozen=True, slots=True)
class _Mount:
    id: int
    device: str
    point: bytes
    file_system: str


def _parse(line: bytes) -> _Mount:
    """Parse a line of mountinfo, see proc_pid_mountinfo(5)."""
    fields = line.split()
    after = fields.index(b"-")
    return _Mount(int(fields[0]), fields[2].decode(), _unescape(fields[4]), fields[after + 1].decode())


def _unescape(path: bytes) -> bytes:
    return re.sub(rb"\\([0-7]{3})", lambda found: bytes([int(found[1], 8)]), path)


class _Seen:
    """A folder as the kernel knows it."""

    def __init__(self, path: bytes, mounts: Mapping[int, _Mount]) -> None:
        fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            info = os.fstat(fd)
            self.path = os.readlink(b"/proc/self/fd/%d" % fd)
            self.mount = mounts[_mount_id(fd)]
        finally:
            os.close(fd)
        self.identity = (info.st_dev, info.st_ino)
        self.device = f"{os.major(info.st_dev)}:{os.minor(info.st_dev)}"
        # Also false for a folder that was deleted, or that is mounted over.
        named = os.stat(self.path)
        self.is_known = (
            (named.st_dev, named.st_ino) == self.identity
            and self.mount.device == self.device
            and self.mount.file_system in FILE_SYSTEMS
            # What is mounted below it may be anything.
            and not any(
                _is_inside(mount.point, self.path) for mount in mounts.values() if mount != self.mount
            )
        )

    def is_apart_from(self, other: _Seen) -> bool:
        if self.device != other.device:
            return True
        # Of one disk that is mounted twice, paths say nothing.
        if self.mount != other.mount:
            return False
        # By inodes, because a disk may not tell names apart that differ only in case.
        return self.identity not in other.lineage() and other.identity not in self.lineage()

    def lineage(self) -> set[tuple[int, int]]:
        """Itself and the folders that contain it."""
        return {(info.st_dev, info.st_ino) for info in map(os.stat, _upward(self.path))}


def _mount_id(fd: int) -> int:
    with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as file:
        found = dict(line.split(":", 1) for line in file)
    return int(found["mnt_id"])


def _is_inside(path: bytes, folder: bytes) -> bool:
    return path == folder or path.startswith(folder.rstrip(b"/") + b"/")


def _upward(path: bytes) -> Iterator[bytes]:
    while True:
        yield path
        if path == b"/":
            return
        path = os.path.dirname(path)
