"""moto's S3: keeps unusual keys that SeaweedFS normalizes, but checks neither digests nor signatures."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from tests.servers.processes import TemporaryServer, program
from tests.servers.s3 import ADMIN, bucket_name, client


class MotoS3(TemporaryServer):
    """A moto server in its own process, for as long as a ``with`` block lasts."""

    name = "moto"
    admin = ADMIN

    def command(self, port: int) -> list[str]:
        """See ``TemporaryServer``."""
        self.endpoint = f"http://127.0.0.1:{port}"
        return [program("moto_server"), "-H", "127.0.0.1", "-p", str(port)]

    def client(self) -> Any:
        """A boto3 client; any key pair is accepted."""
        return client(self.endpoint)

    def new_bucket(self, stem: str = "bucket") -> str:
        """Create an empty bucket with a new name."""
        name = bucket_name(stem)
        self.client().create_bucket(Bucket=name)
        return name

    def answers(self) -> bool:
        """See ``TemporaryServer``."""
        try:
            self.client().list_buckets()
        except (BotoCoreError, ClientError):
            return False
        return True
