"""wsgidav, a real WebDAV server, in its own process: ``python -m tests.servers.webdav FOLDER PORT``.

Two things are added to it. Files take the place of existing ones in one step, as on most file servers (its
own provider deletes or empties them first, which RFC 4918 allows). What is below ``/remote.php`` answers
``X-Hash: md5`` as Nextcloud does (apps/dav/lib/Connector/Sabre/File.php).
"""

from __future__ import annotations

import hashlib
import io
import os
import secrets
import sys
from collections.abc import Callable, Iterable
from itertools import count
from pathlib import Path
from typing import Any

import urllib3
from cheroot import wsgi
from wsgidav.dav_error import HTTP_PRECONDITION_FAILED, DAVError
from wsgidav.fs_dav_provider import FileResource, FilesystemProvider
from wsgidav.wsgidav_app import WsgiDAVApp

from tests.servers.processes import TemporaryServer

USER, PASSWORD = "ada", "secret-not-for-use"
READER, READER_PASSWORD = "bob", "other-secret-not-for-use"
CLOUD = "/remote.php/dav/files/ada"

_numbers = count(1)


class WebDAV(TemporaryServer):
    """A server of a temporary folder, inside a ``with`` block."""

    name = "wsgidav"

    def command(self, port: int) -> list[str]:
        """See ``TemporaryServer``."""
        self.files = self.folder / "files"
        self.cloud_files = self.folder / "cloud"
        for each in (self.files, self.cloud_files, self.folder / "spare"):
            each.mkdir()
        self.server = f"http://127.0.0.1:{port}"
        self.endpoint = f"{self.server}/files"
        self.cloud_endpoint = self.server + CLOUD
        return [sys.executable, "-m", "tests.servers.webdav", str(self.folder), str(port)]

    def new_folder(self) -> str:
        """Create an empty folder, visible under both addresses' roots, and return its name."""
        name = f"place-{next(_numbers)}"
        for each in (self.files, self.cloud_files):
            (each / name).mkdir()
        return name

    def answers(self) -> bool:
        """See ``TemporaryServer``."""
        try:
            return urllib3.request("OPTIONS", self.endpoint, retries=False, timeout=2).status == 401
        except urllib3.exceptions.HTTPError:
            return False


class _AtomicFile(io.FileIO):
    """A file that replaces its target when it is closed."""

    def __init__(self, path: str, spare: str) -> None:
        super().__init__(spare, "wb")
        self._path, self._spare = path, spare

    def close(self) -> None:
        if not self.closed:
            super().close()
            os.replace(self._spare, self._path)


class RenamingFile(FileResource):  # type: ignore[misc]
    """A file with atomic MOVE and PUT."""

    def begin_write(self, *, content_type: str | None = None) -> _AtomicFile:
        spare = Path(self.provider.root_folder_path).parent / "spare" / secrets.token_hex(8)
        return _AtomicFile(self._file_path, str(spare))

    def handle_move(self, dest_path: str) -> bool:
        source, to = self._file_path, self.provider._loc_to_file_path(dest_path, self.environ)
        if os.path.isdir(to):
            return False
        if self.environ.get("HTTP_OVERWRITE", "T") == "T":
            os.replace(source, to)
            return True
        try:
            os.link(source, to)
        except FileExistsError as error:
            raise DAVError(HTTP_PRECONDITION_FAILED) from error
        os.unlink(source)
        return True


class Provider(FilesystemProvider):  # type: ignore[misc]
    """Files below a folder, one user of whom may only read."""

    def get_resource_inst(self, path: str, environ: dict[str, Any]) -> Any:
        found = super().get_resource_inst(path, environ)
        if type(found) is FileResource:
            found.__class__ = RenamingFile
        return found


def hashing(app: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """Respond to X-Hash on a PUT below /remote.php with the MD5 of what was received."""

    def middleware(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        asked = environ.get("HTTP_X_HASH") == "md5" and environ["PATH_INFO"].startswith("/remote.php")
        if environ["REQUEST_METHOD"] != "PUT" or not asked:
            return app(environ, start_response)
        body = environ["wsgi.input"]
        md5 = hashlib.md5()
        original = body.read

        class Hashed:
            def read(self, size: int = -1) -> bytes:
                data: bytes = original(size)
                md5.update(data)
                return data

        environ["wsgi.input"] = Hashed()

        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            return start_response(status, [*headers, ("X-Hash-MD5", md5.hexdigest())], *rest)

        return app(environ, start)

    return middleware


class ReadOnlyFor:
    """Refuse every method that changes something to one user."""

    def __init__(self, app: Callable[..., Iterable[bytes]], header: str) -> None:
        self._app = app
        self._header = header

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        reads = environ["REQUEST_METHOD"] in ("GET", "HEAD", "OPTIONS", "PROPFIND")
        if environ.get("HTTP_AUTHORIZATION") == self._header and not reads:
            start_response("403 Forbidden", [("Content-Length", "0")])
            return [b""]
        return self._app(environ, start_response)


def main() -> None:
    folder, port = Path(sys.argv[1]), int(sys.argv[2])
    users = {USER: {"password": PASSWORD}, READER: {"password": READER_PASSWORD}}
    options = {"fs_opts": {}}
    config = {
        "provider_mapping": {
            "/files": Provider(str(folder / "files"), **options),
            CLOUD: Provider(str(folder / "cloud"), **options),
        },
        "http_authenticator": {
            "accept_basic": True,
            "accept_digest": False,
            "default_to_digest": False,
            "domain_controller": "wsgidav.dc.simple_dc.SimpleDomainController",
        },
        "simple_dc": {"user_mapping": {"*": users}},
        "verbose": 1,
        "logging": {"enable": False},
        "lock_storage": True,
    }
    pair = urllib3.util.make_headers(basic_auth=f"{READER}:{READER_PASSWORD}")["authorization"]
    app = ReadOnlyFor(hashing(WsgiDAVApp(config)), pair)
    # With its backlog of 5, a burst of connections waits a second for its next try.
    server = wsgi.Server(("127.0.0.1", port), app, numthreads=20, request_queue_size=128)
    server.keep_alive_conn_limit = 100
    server.timeout = 120
    server.start()


if __name__ == "__main__":
    main()
