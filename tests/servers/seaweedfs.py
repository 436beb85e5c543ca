"""A real S3 server for as long as a ``with`` block lasts."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from botocore.exceptions import BotoCoreError, ClientError

from tests.servers.processes import ServerProcess, free_ports, program, wait_until
from tests.servers.s3 import ADMIN, READER, KeyPair, bucket_name, client


class SeaweedFS:
    """SeaweedFS with its S3 gateway on free ports of 127.0.0.1.

    ``admin`` may do everything, ``reader`` may only read and list. ``log`` is the server's own log.
    Without ``folder`` its data is in a temporary folder, which is deleted with the server. ``tls``: the files
    of a certificate and its key, with which it is also at ``secure_endpoint``.
    """

    admin = ADMIN
    reader = READER

    def __init__(
        self,
        *identities: KeyPair,
        folder: Path | None = None,
        port: int = 0,
        tls: tuple[Path, Path] | None = None,
    ) -> None:
        self._identities = [ADMIN, READER, *identities]
        self._temporary = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="stowage-seaweedfs-"))
        self.log = self.folder / "weed.log"
        self._process: ServerProcess | None = None
        self._port = port
        self._tls = tls
        self.endpoint = self.secure_endpoint = ""

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server and wait until it stores an object (about 4 s)."""
        data = self.folder / "data"
        data.mkdir(parents=True, exist_ok=True)
        self._write_identities()
        # By default a new bucket takes seven volumes, and a few hundred buckets take all there may be.
        (self.folder / "master.toml").write_text("[master.volume_growth]\ncopy_1 = 1\n")
        s3, secure, *ports = free_ports(9)
        s3 = self._port or s3
        names = ("s3.port.grpc", "master.port", "master.port.grpc", "volume.port", "volume.port.grpc")
        names = (*names, "filer.port", "filer.port.grpc")
        command = [
            program("weed"),
            # Otherwise it leaves its logs in the machine's temporary folder.
            f"-logdir={self.folder}",
            "server",
            f"-dir={data}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            "-s3",
            f"-s3.config={self._config}",
            f"-s3.port={s3}",
            f"-s3.localSocket={self.folder / 's3.sock'}",
            f"-filer.localSocket={self.folder / 'filer.sock'}",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-master.telemetry=false",
            "-master.volumeSizeLimitMB=64",
            "-volume.max=4000",
            *(f"-{name}={port}" for name, port in zip(names, ports, strict=True)),
        ]
        if self._tls:
            certificate, key = self._tls
            command += [f"-s3.port.https={secure}", f"-s3.cert.file={certificate}", f"-s3.key.file={key}"]
            self.secure_endpoint = f"https://127.0.0.1:{secure}"
        self.endpoint = f"http://127.0.0.1:{s3}"
        self._process = ServerProcess(command, cwd=self.folder, log=self.log)
        wait_until(self._stores, seconds=60, what="SeaweedFS ready")

    def stop(self) -> None:
        """Kill the server and delete its temporary folder. Idempotent."""
        if self._process:
            self._process.stop()
            self._process = None
        if self._temporary:
            shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def pid(self) -> int:
        """The id of the server's process."""
        assert self._process is not None
        return self._process.pid

    def client(self, identity: KeyPair = ADMIN) -> Any:
        """A boto3 client for one of the identities."""
        return client(self.endpoint, identity)

    def new_bucket(self, stem: str = "bucket") -> str:
        """Create an empty bucket with a new name."""
        name = bucket_name(stem)
        self.client().create_bucket(Bucket=name)
        return name

    def add_identity(self, name: str, *actions: str) -> KeyPair:
        """Add a key pair that may do exactly these actions. The server knows it on return."""
        added = KeyPair(name, f"STOWAGE{secrets.token_hex(6).upper()}", secrets.token_urlsafe(30), actions)
        self._identities.append(added)
        self._write_identities()
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGHUP)
        wait_until(lambda: self._knows(added), seconds=60, what=f"identity {name} known")
        return added

    @property
    def _config(self) -> Path:
        return self.folder / "s3.json"

    def _write_identities(self) -> None:
        identities = [
            {
                "name": each.name,
                "credentials": [{"accessKey": each.access_key, "secretKey": each.secret_key}],
                "actions": list(each.actions),
            }
            for each in self._identities
        ]
        self._config.write_text(json.dumps({"identities": identities}))

    def _stores(self) -> bool:
        assert self._process is not None
        self._process.check()
        s3 = self.client()
        try:
            s3.create_bucket(Bucket="ready")
            s3.put_object(Bucket="ready", Key="ready", Body=b"ready")
            s3.delete_object(Bucket="ready", Key="ready")
            s3.delete_bucket(Bucket="ready")
        except (BotoCoreError, ClientError):
            return False
        return True

    def _knows(self, identity: KeyPair) -> bool:
        try:
            self.client(identity).list_buckets()
        except ClientError as error:
            return bool(error.response["Error"]["Code"] == "AccessDenied")
        return True
