"""A small in-memory WebDAV server that can imitate the quirks of real servers."""

from __future__ import annotations

import base64
import hashlib
import re
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from email.utils import formatdate, parsedate_to_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import unquote, urlsplit
from xml.sax.saxutils import escape

from tests.servers.webdav import PASSWORD, USER


@dataclass
class Oddities:
    """Deviations from RFC 4918, each of some real server."""

    mkcol_is_refused: bool = False
    """Apache: 403 to the second of two concurrent MKCOLs. Here: the folder is created, and the response is
    403."""
    redirects_to_folders: bool = False
    """Apache: 301 to a MOVE to the name of a folder."""
    folders_conflict: bool = False
    """nginx: 409 to a MOVE to the name of a folder."""
    moves_into_folders: bool = False
    """lighttpd: 204 to a MOVE to the name of a folder, and the file is then in the folder."""
    hides_dots: bool = False
    """nginx: names that start with a dot are not listed."""
    page: str = ""
    """Apache: 405 to the listing of a folder that contains this file."""
    locked: int = 0
    """Apache: 423 to this many MOVEs."""
    etags: str = "everywhere"
    """Or ``listed`` (lighttpd: not for files of unknown type) or ``read`` (nginx)."""
    seconds: bool = False
    """nginx: an ETag consists of the time in seconds and the size."""
    offers: tuple[str, ...] = ()
    """Offered authentication: ``Basic``, ``MD5``, ``SHA-256`` or another word. If empty, none is required."""
    nonce: str = "first"
    """A Digest with another nonce is refused as stale."""
    asked: Counter[str] = field(default_factory=Counter)
    """The number of requests by method."""


@dataclass
class _File:
    data: bytes
    modified: float
    number: int


class OddDAV:
    """The server, on a free port of 127.0.0.1; ``files`` holds content by path, ``folders`` the others."""

    def __init__(self) -> None:
        self.oddities = Oddities()
        self.files: dict[str, _File] = {}
        self.folders = {"/"}
        self.lock = threading.Lock()
        self.written = 0
        self.signed: list[str] = []
        """The ``Authorization`` of every request; empty if it had none."""
        ours = self

        class Handler(_Handler):
            server_of = ours

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


_HASHES = {"MD5": "md5", "SHA-256": "sha256"}


def _basic() -> str:
    return base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


class _Handler(BaseHTTPRequestHandler):
    server_of: OddDAV
    protocol_version = "HTTP/1.1"

    def handle_one(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        self.body = self.rfile.read(length)
        self.target, self.path = self.path, unquote(urlsplit(self.path).path)
        self.odd = self.server_of.oddities
        self.files, self.folders = self.server_of.files, self.server_of.folders
        with self.server_of.lock:
            self.odd.asked[self.command] += 1
            status, headers, body = self.turned_away() or getattr(self, self.command.lower())()
        self.send_response(status)
        for name, value in {"content-length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    do_PROPFIND = do_PUT = do_GET = do_MKCOL = do_MOVE = do_DELETE = handle_one

    Answer = tuple[int, dict[str, str], bytes]

    def turned_away(self) -> Answer | None:
        """Respond with 401 unless the credentials are right. The challenges are in one header, joined by
        commas."""
        said = self.headers.get("authorization", "")
        self.server_of.signed.append(said)
        if not self.odd.offers:
            return None
        values = dict(re.findall(r'(\w+)="?([^",]*)"?', said))
        stale = said.startswith("Digest") and values["nonce"] != self.odd.nonce
        if said.startswith("Basic") and "Basic" in self.odd.offers and said[6:] == _basic():
            return None
        if said.startswith("Digest") and not stale and values["response"] == self.digest(values):
            return None
        ways = [
            f'Digest realm="a \\"place\\"", nonce="{self.odd.nonce}", qop="auth,auth-int", algorithm={way}'
            + (", stale=true" if stale else "")
            if way in _HASHES
            else f'{way} realm="place"'
            for way in self.odd.offers
        ]
        return 401, {"www-authenticate": ", ".join(ways)}, b""

    def digest(self, values: dict[str, str]) -> str:
        def hashed(text: str) -> str:
            return hashlib.new(_HASHES[values["algorithm"]], text.encode()).hexdigest()

        who = hashed(f'{USER}:a "place":{PASSWORD}')
        what = hashed(f"{self.command}:{self.target}")
        return hashed(f"{who}:{values['nonce']}:{values['nc']}:{values['cnonce']}:{values['qop']}:{what}")

    def propfind(self) -> Answer:
        folder = self.path.rstrip("/") + "/"
        if self.path in self.files:
            return self.listed([self.path])
        if folder not in self.folders:
            return 404, {}, b""
        if self.odd.page and folder + self.odd.page in self.files:
            return 405, {}, b""
        inside = [each for each in (*self.files, *self.folders) if each != folder and each.startswith(folder)]
        inside = [each for each in inside if "/" not in each[len(folder) :].rstrip("/")]
        if self.odd.hides_dots:
            inside = [each for each in inside if not each[len(folder) :].startswith(".")]
        return self.listed([folder, *(inside if self.headers["depth"] == "1" else [])])

    def listed(self, paths: list[str]) -> Answer:
        rows = "".join(
            f"<D:response><D:href>{escape(each)}</D:href><D:propstat><D:prop>{self.properties(each)}</D:prop>"
            "<D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>"
            for each in paths
        )
        return 207, {}, f'<D:multistatus xmlns:D="DAV:">{rows}</D:multistatus>'.encode()

    def properties(self, path: str) -> str:
        if path not in self.files:
            return "<D:resourcetype><D:collection/></D:resourcetype>"
        file = self.files[path]
        etag = "" if self.odd.etags == "read" else f"<D:getetag>{escape(self.etag(file))}</D:getetag>"
        when = formatdate(file.modified, usegmt=True)
        return (
            f"<D:resourcetype/><D:getcontentlength>{len(file.data)}</D:getcontentlength>"
            f"<D:getlastmodified>{when}</D:getlastmodified>{etag}"
        )

    def etag(self, file: _File) -> str:
        return f'"{file.modified:.0f}-{len(file.data)}"' if self.odd.seconds else f'"v{file.number}"'

    def get(self) -> Answer:
        if self.path not in self.files:
            return 404, {}, b""
        file = self.files[self.path]
        headers = {"last-modified": formatdate(file.modified, usegmt=True)}
        etag = "" if self.odd.etags == "listed" else self.etag(file)
        wanted = self.headers.get("if-match")
        if wanted and wanted != etag:
            return 412, {}, b""
        return 200, headers | ({"etag": etag} if etag else {}), file.data

    def put(self) -> Answer:
        if self.path.endswith("/") or f"{self.path}/" in self.folders:
            return 405, {}, b""
        if self.path.rpartition("/")[0] + "/" not in self.folders:
            return 409, {}, b""
        date = self.headers.get("date")
        modified = parsedate_to_datetime(date).timestamp() if date else time.time()
        self.server_of.written += 1
        self.files[self.path] = _File(self.body, modified, self.server_of.written)
        return 201, {}, b""

    def mkcol(self) -> Answer:
        if self.path in self.folders:
            return 405, {}, b""
        if self.path.rstrip("/").rpartition("/")[0] + "/" not in self.folders:
            return 409, {}, b""
        self.folders.add(self.path)
        return (403 if self.odd.mkcol_is_refused else 201), {}, b""

    def move(self) -> Answer:
        if self.odd.locked:
            self.odd.locked -= 1
            return 423, {}, b""
        to = unquote(urlsplit(self.headers["destination"]).path)
        if f"{to}/" in self.folders:
            if self.odd.redirects_to_folders:
                return 301, {"location": f"{self.server_of.endpoint}{to}/"}, b""
            if self.odd.folders_conflict:
                return 409, {}, b""
            if not self.odd.moves_into_folders:
                return 412, {}, b""
            self.files[f"{to}/{self.path.rpartition('/')[2]}"] = self.files.pop(self.path)
            return 204, {}, b""
        if to in self.files and self.headers["overwrite"] == "F":
            return 412, {}, b""
        if self.path in self.folders:
            self.folders.discard(self.path)
            self.folders.add(to)
            return 201, {}, b""
        there = to in self.files
        self.files[to] = self.files.pop(self.path)
        return (204 if there else 201), {}, b""

    def delete(self) -> Answer:
        self.folders.discard(self.path)
        gone = [each for each in self.files if each == self.path or each.startswith(self.path + "/")]
        for each in gone:
            del self.files[each]
        return (204 if gone else 404), {}, b""

    def log_message(self, format: str, *arguments: object) -> None:
        """Do not log."""
