"""What stands beside each driver: the vendor's own SDK, or the plain library a developer would reach for.

Each does just what its documentation shows: no checksums, no temporary names, no flushing to the disk beyond
what the library does by itself. Every class is safe to use from many threads.
"""

from __future__ import annotations

import ftplib
import io
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from bench.sites import Site

BLOCK = 1 << 20
"""Bytes of a piece where the library asks for a size and its documentation names none."""

Row = tuple[str, int]
"""Key and size of a listed object."""


class Client(Protocol):
    """One way to reach a place. ``note`` says how it is used."""

    name: str
    note: str

    def prepare(self, folder: str) -> None:
        """Make a folder where folders have to be made. Not timed."""
        ...

    def put(self, key: str, data: bytes) -> None:
        """Write a small object."""
        ...

    def get(self, key: str) -> bytes:
        """Read a small object."""
        ...

    def put_large(self, key: str, data: bytes) -> None:
        """Write a large object as a stream."""
        ...

    def get_large(self, key: str) -> int:
        """Read a large object as a stream, keep nothing; returns its bytes."""
        ...

    def list(self, prefix: str) -> Iterator[Row]:
        """Everything in a folder and below; ``prefix`` ends in a slash."""
        ...

    def close(self) -> None: ...


class Ours:
    """The driver."""

    name = "stowage"
    note = "the driver as Stowage uses it: whole objects only, checksums compared where the server tells one"

    def __init__(self, site: Site) -> None:
        self._driver = site.open()

    def prepare(self, folder: str) -> None:
        self._driver.put(f"{folder}/first", b"makes the folder")
        self._driver.delete(f"{folder}/first")

    def put(self, key: str, data: bytes) -> None:
        self._driver.put(key, data)

    def get(self, key: str) -> bytes:
        with self._driver.read(key) as reading:
            return reading.read_all()

    def put_large(self, key: str, data: bytes) -> None:
        view = memoryview(data)
        with self._driver.write(key, size=len(data)) as writing:
            for start in range(0, len(data), BLOCK):
                writing.write(bytes(view[start : start + BLOCK]))
            writing.commit()

    def get_large(self, key: str) -> int:
        with self._driver.read(key) as reading:
            return sum(map(len, reading.chunks()))

    def list(self, prefix: str) -> Iterator[Row]:
        return ((entry.key, entry.size) for entry in self._driver.list(prefix))

    def close(self) -> None:
        self._driver.close()


class PlainFiles:
    """open, read and write."""

    name = "open()"
    note = "`open`, `read`, `write` and a recursion over `os.scandir`, unsorted; it **flushes nothing**"

    def __init__(self, site: Site) -> None:
        self._root = site.options["root"]

    def prepare(self, folder: str) -> None:
        Path(self._root, folder).mkdir(parents=True, exist_ok=True)

    def put(self, key: str, data: bytes) -> None:
        with open(f"{self._root}/{key}", "wb") as file:
            file.write(data)

    def get(self, key: str) -> bytes:
        with open(f"{self._root}/{key}", "rb") as file:
            return file.read()

    def put_large(self, key: str, data: bytes) -> None:
        source = io.BytesIO(data)
        with open(f"{self._root}/{key}", "wb") as file:
            while block := source.read(BLOCK):
                file.write(block)

    def get_large(self, key: str) -> int:
        with open(f"{self._root}/{key}", "rb") as file:
            return sum(map(len, iter(lambda: file.read(BLOCK), b"")))

    def list(self, prefix: str) -> Iterator[Row]:
        with os.scandir(f"{self._root}/{prefix}") as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    yield from self.list(f"{prefix}{entry.name}/")
                else:
                    yield prefix + entry.name, entry.stat(follow_symlinks=False).st_size

    def close(self) -> None:
        """Nothing stays open."""


class Ftplib:
    """Python's own FTP client."""

    name = "ftplib"
    note = (
        "`storbinary`, `retrbinary` and `mlsd`, one signed-in connection for each thread, straight to the "
        "name"
    )

    def __init__(self, site: Site) -> None:
        self._options, self._secrets = site.options, site.secrets
        self._mine = threading.local()
        self._all: list[ftplib.FTP] = []

    def _ftp(self) -> ftplib.FTP:
        if not hasattr(self._mine, "ftp"):
            ftp = ftplib.FTP(encoding="utf-8")
            ftp.connect(self._options["host"], int(self._options["port"]), timeout=60)
            ftp.login(self._options["user"], self._secrets["password"])
            self._mine.ftp = ftp
            self._all.append(ftp)
        found: ftplib.FTP = self._mine.ftp
        return found

    def prepare(self, folder: str) -> None:
        so_far = ""
        for name in folder.split("/"):
            so_far += f"/{name}"
            try:
                self._ftp().mkd(so_far)
            except ftplib.error_perm as error:
                if not error.args[0].startswith("550"):
                    raise

    def put(self, key: str, data: bytes) -> None:
        self._ftp().storbinary(f"STOR /{key}", io.BytesIO(data))

    def get(self, key: str) -> bytes:
        blocks: list[bytes] = []
        self._ftp().retrbinary(f"RETR /{key}", blocks.append)
        return b"".join(blocks)

    put_large = put

    def get_large(self, key: str) -> int:
        sink = Counting()
        self._ftp().retrbinary(f"RETR /{key}", sink.write)
        return sink.arrived

    def list(self, prefix: str) -> Iterator[Row]:
        for name, facts in self._ftp().mlsd(f"/{prefix}", ["type", "size"]):
            if facts["type"] == "dir":
                yield from self.list(f"{prefix}{name}/")
            else:
                yield prefix + name, int(facts["size"])

    def close(self) -> None:
        for each in self._all:
            each.quit()


class Paramiko:
    """The usual SFTP client of Python."""

    name = "paramiko"
    note = (
        "`SSHClient.open_sftp` with `putfo`, `getfo` and `listdir_attr` as its docs show, one connection for "
        "each thread, straight to the name"
    )

    def __init__(self, site: Site) -> None:
        self._options, self._secrets = site.options, site.secrets
        self._mine = threading.local()
        self._all: list[Any] = []

    def _sftp(self) -> Any:
        if not hasattr(self._mine, "sftp"):
            from paramiko import AutoAddPolicy, SSHClient

            ssh = SSHClient()
            ssh.set_missing_host_key_policy(AutoAddPolicy())
            ssh.connect(
                self._options["host"],
                int(self._options["port"]),
                self._options["user"],
                self._secrets["password"],
                allow_agent=False,
                look_for_keys=False,
            )
            self._all.append(ssh)
            self._mine.sftp = ssh.open_sftp()
        return self._mine.sftp

    def prepare(self, folder: str) -> None:
        so_far = ""
        for name in folder.split("/"):
            so_far += f"/{name}"
            if name not in self._sftp().listdir(os.path.dirname(so_far)):
                self._sftp().mkdir(so_far)

    def put(self, key: str, data: bytes) -> None:
        self._sftp().putfo(io.BytesIO(data), f"/{key}")

    def get(self, key: str) -> bytes:
        sink = io.BytesIO()
        self._sftp().getfo(f"/{key}", sink)
        return sink.getvalue()

    put_large = put

    def get_large(self, key: str) -> int:
        sink = Counting()
        self._sftp().getfo(f"/{key}", sink)
        return sink.arrived

    def list(self, prefix: str) -> Iterator[Row]:
        import stat

        for each in self._sftp().listdir_attr(f"/{prefix}"):
            if stat.S_ISDIR(each.st_mode):
                yield from self.list(f"{prefix}{each.filename}/")
            else:
                yield prefix + each.filename, each.st_size

    def close(self) -> None:
        for each in self._all:
            each.close()


class Counting:
    """A file that keeps nothing."""

    def __init__(self) -> None:
        self.arrived = 0

    def write(self, data: bytes) -> int:
        self.arrived += len(data)
        return len(data)
