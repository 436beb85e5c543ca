"""Where objects come from and go to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.servers.s3 import KeyPair, client


@dataclass(frozen=True)
class Folder:
    """A folder of this machine."""

    path: Path

    def contents(self) -> dict[str, int]:
        """Key to size of every file, whatever its name."""
        files = (path for path in self.path.rglob("*") if path.is_file())
        return {path.relative_to(self.path).as_posix(): path.stat().st_size for path in files}


@dataclass(frozen=True)
class Bucket:
    """A bucket, reached through one endpoint with one key pair. ``authority``: the file of the certificate to
    trust there. ``direct``: the endpoint with nothing in between."""

    name: str
    endpoint: str
    identity: KeyPair
    authority: Path | None
    direct: str

    def s3(self) -> Any:
        """A client that is none of the peers."""
        return client(self.direct, self.identity)

    def contents(self) -> dict[str, int]:
        """Key to size of every object."""
        pages = self.s3().get_paginator("list_objects_v2").paginate(Bucket=self.name)
        return {each["Key"]: each["Size"] for page in pages for each in page.get("Contents", ())}


Location = Folder | Bucket


def same_account(source: Location, destination: Location) -> bool:
    """Whether both are buckets behind one endpoint and one key pair."""
    return (
        isinstance(source, Bucket)
        and isinstance(destination, Bucket)
        and (source.endpoint, source.identity) == (destination.endpoint, destination.identity)
    )
