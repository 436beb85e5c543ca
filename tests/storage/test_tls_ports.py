"""http:// in front of the address of a server that speaks TLS is told as such, whatever the server does."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from contextlib import suppress

import pytest
import trustme

from dashboard.storage.driver import Connects, Driver
from dashboard.storage.errors import StorageError
from tests.servers.drivers import webdav_at
from tests.servers.hostile.dialects import AzureDialect, GcsDialect, S3Dialect, VercelDialect
from tests.servers.hostile.http import HostileServer

EXPLAINS = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 5\r\n\r\nHTTPS"
RECORD = b"\x16"

DRIVERS: dict[str, Callable[[str], Driver]] = {
    "s3": S3Dialect().driver,
    "gcs": GcsDialect().driver,
    "azure": AzureDialect().driver,
    "vercel_blob": VercelDialect().driver,
    "webdav": lambda endpoint: webdav_at(f"{endpoint}/dav"),
}


def encrypted(answer: bytes | None) -> Callable[[socket.socket], None]:
    """A server that speaks TLS, and what it answers to anything else before it hangs up."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)

    def serve(line: socket.socket) -> None:
        if answer is None or line.recv(1, socket.MSG_PEEK) == RECORD:
            with suppress(ssl.SSLError), context.wrap_socket(line, server_side=True) as secured:
                secured.recv(1)
            return
        line.recv(65536)
        line.sendall(answer)

    return serve


@pytest.mark.parametrize("answer", [None, b"", b"\x15\x03\x01\0\x02\x02\x46", EXPLAINS])
@pytest.mark.parametrize("name", DRIVERS)
def test_a_port_that_speaks_tls_is_told_as_such(name: str, answer: bytes | None) -> None:
    with HostileServer(encrypted(answer)) as server:
        driver = DRIVERS[name](f"http://127.0.0.1:{server.port}")
        assert isinstance(driver, Connects)
        with pytest.raises(StorageError) as caught:
            driver.authenticate()
        driver.close()
    assert "speaks TLS" in caught.value.reason
    assert "https://" in caught.value.remedy
    assert not caught.value.retryable
