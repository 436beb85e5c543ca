"""moto's S3: keeps odd keys that SeaweedFS normalises, but checks neither digests nor signatures."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from botocore.exceptions import BotoCoreError, ClientError

from tests.servers.processes import ServerProcess, free_ports, program
from tests.servers.s3 import ADMIN, bucket_name, client, wait_until


class MotoS3:
    """A moto server in its own process, for as long as a ``with`` block lasts."""

    admin = ADMIN

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="stowage-moto-"))
        (port,) = free_ports(1)
        self.endpoint = f"http://127.0.0.1:{port}"
        command = [program("moto_server"), "-H", "127.0.0.1", "-p", str(port)]
        self._process = ServerProcess(command, cwd=self.folder, log=self.folder / "moto.log")
        try:
            wait_until(self._answers, seconds=60, what="moto ready")
        except BaseException:
            self._process.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def client(self) -> Any:
        """A boto3 client; any key pair is let in."""
        return client(self.endpoint)

    def new_bucket(self, stem: str = "bucket") -> str:
        """Make an empty bucket under a fresh name."""
        name = bucket_name(stem)
        self.client().create_bucket(Bucket=name)
        return name

    def _answers(self) -> bool:
        self._process.check()
        try:
            self.client().list_buckets()
        except (BotoCoreError, ClientError):
            return False
        return True
