"""``rclone serve``: a folder over S3, WebDAV, FTP and SFTP, by a program written in Go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import paramiko

from dashboard.storage.driver import CreatesBuckets
from dashboard.storage.drivers.sftp.options import fingerprint
from dashboard.storage.types import Secret
from tests.servers.foreign.server import PASSWORD, USER, ForeignServer, new_name
from tests.servers.processes import program

ACCESS_KEY = "STOWAGERCLONE"


class _Rclone(ForeignServer):
    protocol = ""

    def __init__(self, *flags: str) -> None:
        super().__init__()
        self._flags = flags

    @classmethod
    def why_not(cls) -> str:
        """It comes with the Python packages of the tests."""
        try:
            program("rclone")
        except FileNotFoundError as error:
            return str(error)
        return ""

    def command(self) -> Sequence[str]:
        """Without a configuration file, and with nothing kept in the home folder."""
        return [
            *(program("rclone"), "serve", self.protocol, str(self.files)),
            *("--addr", f"127.0.0.1:{self.port}"),
            *("--config", str(self.folder / "none"), "--cache-dir", str(self.folder / "cache")),
            *self.sign_in(),
            *self._flags,
        ]

    def new_folder(self) -> str:
        """See ``ForeignServer``. Through the server, which remembers what is in a folder."""
        name = new_name()
        driver = self.driver(name)
        assert isinstance(driver, CreatesBuckets)
        driver.create_bucket()
        driver.close()
        return name

    def sign_in(self) -> Sequence[str]:
        """Who may come in."""
        return ["--user", USER, "--pass", PASSWORD]


class OverS3(_Rclone):
    """Buckets are the folders of the first level."""

    driver_name = "s3"
    protocol = "s3"

    def sign_in(self) -> Sequence[str]:
        """A key pair."""
        return ["--auth-key", f"{ACCESS_KEY},{PASSWORD}", "--no-cleanup"]

    def options(self, folder: str) -> Mapping[str, str]:
        """A bucket of that name."""
        endpoint = f"http://127.0.0.1:{self.port}"
        return {"endpoint": endpoint, "bucket": folder, "access_key_id": ACCESS_KEY, "sse": "none"}

    def secrets(self) -> Mapping[str, Secret]:
        """The key's secret."""
        return {"secret_access_key": Secret(PASSWORD)}


class OverWebDAV(_Rclone):
    """WebDAV of Go's extended library."""

    driver_name = "webdav"
    protocol = "webdav"

    def options(self, folder: str) -> Mapping[str, str]:
        """See ``ForeignServer``."""
        return {"endpoint": f"http://127.0.0.1:{self.port}", "username": USER, "prefix": folder}


class OverFTP(_Rclone):
    """FTP of goftp."""

    driver_name = "ftp"
    protocol = "ftp"

    def options(self, folder: str) -> Mapping[str, str]:
        """See ``ForeignServer``."""
        return {"host": "127.0.0.1", "port": str(self.port), "user": USER, "root": folder, "tls": "none"}


class OverSFTP(_Rclone):
    """SFTP of pkg/sftp."""

    driver_name = "sftp"
    protocol = "sftp"

    def sign_in(self) -> Sequence[str]:
        """With a host key of our own making, so that it is known beforehand."""
        key = paramiko.ECDSAKey.generate()
        key.write_private_key_file(str(self.folder / "host_key"))
        self.host_key = fingerprint(key.asbytes())
        return [*super().sign_in(), "--key", str(self.folder / "host_key")]

    def options(self, folder: str) -> Mapping[str, str]:
        """See ``ForeignServer``."""
        options = {"host": "127.0.0.1", "port": str(self.port), "user": USER, "root": folder}
        return options | {"host_key": self.host_key}
