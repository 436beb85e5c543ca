"""What is copied: seeded objects that are the same on every machine and every run."""

from __future__ import annotations

import math
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PART = 16 * 1024 * 1024
"""Bytes of one part when a large object is put into a source bucket."""


@dataclass(frozen=True)
class Corpus:
    """A named set of objects: key to size in bytes. Content is incompressible and drawn from the seed."""

    name: str
    label: str
    sizes: dict[str, int]
    seed: int = 20261121

    @property
    def total(self) -> int:
        """Bytes of all objects."""
        return sum(self.sizes.values())

    def write(self, folder: Path) -> None:
        """Make the objects as files below a folder."""
        for number, (key, size) in enumerate(self.sizes.items()):
            path = folder / key
            path.parent.mkdir(parents=True, exist_ok=True)
            source = random.Random(self.seed + number)
            with path.open("wb") as out:
                for start in range(0, size, PART):
                    out.write(source.randbytes(min(PART, size - start)))

    def upload(self, folder: Path, s3: Any, bucket: str) -> None:
        """Put the files of :meth:`write` into a bucket, as a program that is none of the peers would."""
        from boto3.s3.transfer import TransferConfig

        config = TransferConfig(multipart_threshold=PART, multipart_chunksize=PART, max_concurrency=4)
        extra = {"ContentType": "application/octet-stream"}

        def put(key: str) -> None:
            s3.upload_file(str(folder / key), bucket, key, ExtraArgs=extra, Config=config)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(put, self.sizes))


def small(count: int, seed: int = 20261121) -> Corpus:
    """Sizes log-uniform over 1-64 KiB (mean about 15 KiB), twenty objects to a folder."""
    source = random.Random(seed)
    sizes = {
        f"{number // 20 % 16:02d}/{number // 20:04d}/object-{number:06d}.bin": round(
            math.exp(source.uniform(math.log(1024), math.log(65536)))
        )
        for number in range(count)
    }
    mib = sum(sizes.values()) / 2**20
    return Corpus("small", f"{count:,} small objects (1-64 KiB, {mib:.0f} MiB in all)", sizes, seed)


def large(count: int, size: int, seed: int = 20261121) -> Corpus:
    """A few equal large objects."""
    sizes = {f"large/object-{number}.bin": size for number in range(count)}
    return Corpus("large", f"{count} large objects of {size / 2**20:.0f} MiB", sizes, seed)
