"""A large upload over lines that break: how much has to be sent again, and what arrives in the end."""

from __future__ import annotations

import hashlib
import http.client
import random
import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from dashboard.services.files.receiving.upload_rows import UploadState
from dashboard.services.services import Services
from tests.servers.console import ConsoleProcess
from tests.servers.processes import wait_until
from tests.services.composed import composed
from tests.services.console import ADMIN, PASSWORD

MIB = 1024 * 1024
PIECE = 8 * MIB
"""What browsers send in one request, see docs/uploads.md."""
MAX_SENT_AGAIN = 8 * MIB
TUS = {"Tus-Resumable": "1.0.0", "Content-Type": "application/offset+octet-stream"}


@pytest.fixture
def instance(tmp_path: Path) -> Path:
    return tmp_path / "instance"


class TusClient:
    """Sends a seeded content and counts what it sends."""

    def __init__(self, address: str, token: str) -> None:
        self._host = urlsplit(address).netloc
        self._headers = {**TUS, "Authorization": f"Bearer {token}"}
        self._connection = http.client.HTTPConnection(self._host, timeout=60)
        self.sent = 0
        self.location = ""

    def request(self, method: str, path: str, body: bytes = b"", **headers: str) -> http.client.HTTPResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self._connection.request(method, path, body, {**self._headers, **named})
        response = self._connection.getresponse()
        response.read()
        return response

    def begin(self, size: int) -> None:
        created = self.request("POST", "/api/v1/uploads", Upload_Length=str(size))
        assert created.status == 201
        self.location = created.headers["Location"]

    def offset(self) -> int:
        return int(self.request("HEAD", self.location).headers["Upload-Offset"])

    def append(self, offset: int, data: bytes) -> int:
        appended = self.request("PATCH", self.location, data, Upload_Offset=str(offset))
        assert appended.status == 204
        self.sent += len(data)
        return int(appended.headers["Upload-Offset"])

    def cut(self, offset: int, data: bytes, after: int) -> None:
        """Begin to send, and break the line after some bytes."""
        lines = {
            **self._headers,
            "Host": self._host,
            "Upload-Offset": str(offset),
            "Content-Length": len(data),
        }
        head = f"PATCH {self.location} HTTP/1.1\r\n" + "".join(f"{n}: {v}\r\n" for n, v in lines.items())
        host, _, port = self._host.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=60) as line:
            line.sendall(head.encode() + b"\r\n" + data[:after])
        self.sent += after


def upload_with_cuts(instance: Path, size: int, cuts: int) -> int:
    """Upload through that many cuts; return the most bytes that one of them made the client send again."""
    noise = random.Random(cuts)
    block = noise.randbytes(PIECE)
    with composed(instance) as services:
        services.setup.complete(services.setup.issue_code(), ADMIN.name, PASSWORD)
        made = services.tokens.create(ADMIN, "uploader", ["read_files", "write_files"])
    where = sorted(noise.sample(range(size // PIECE), cuts))
    digest, most, offset = hashlib.sha256(), 0, 0
    limits = {"STOWAGE_API_REQUESTS_PER_MINUTE": "1000000"}
    with ConsoleProcess(instance, environ=limits) as console:
        client = TusClient(console.address, made.secret.reveal())
        client.begin(size)
        while offset < size:
            piece = b"\x00" + block[1 : min(PIECE, size - offset)]
            if where and offset // PIECE >= where[0]:
                where.pop(0)
                before, after = client.sent, noise.randrange(1, len(piece))
                client.cut(offset, piece, after)
                resumed = client.offset()
                most = max(most, client.sent - before - (resumed - offset))
                assert resumed == offset
            offset = client.append(offset, piece)
            digest.update(piece)
        assert client.sent - size <= cuts * MAX_SENT_AGAIN
        with composed(instance) as services:
            upload_id = client.location.rpartition("/")[2]
            wait_until(lambda: _is_done(services, upload_id), seconds=120, what="the upload is done")
            done = services.uploads.get(ADMIN, upload_id)
    assert done.sha256 == digest.hexdigest()
    return most


def _is_done(services: Services, upload_id: str) -> bool:
    state = services.uploads.get(ADMIN, upload_id).state
    assert state not in (UploadState.FAILED, UploadState.REFUSED)
    return state is UploadState.DONE


@pytest.mark.torture
def test_a_cut_costs_at_most_the_piece_that_was_being_sent(instance: Path) -> None:
    """The short version; what a cut leaves is also tested without a server."""
    assert upload_with_cuts(instance, 24 * MIB + 17, cuts=1) <= MAX_SENT_AGAIN


@pytest.mark.torture
@pytest.mark.timeout(600)
def test_twenty_cuts_in_512_mib(instance: Path) -> None:
    most = upload_with_cuts(instance, 512 * MIB, cuts=20)
    assert most <= MAX_SENT_AGAIN
    print(f"a cut made the client send at most {most / MIB:.2f} MiB again")
