"""SFTP and FTP against servers of another make: rclone's, which are written in Go."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
import trustme

from dashboard.storage.driver import Driver, ReadsRanges
from dashboard.storage.errors import ContainerMissing, StorageError
from tests.servers.foreign.rclone import OverFTP
from tests.servers.foreign.server import ForeignServer
from tests.storage.objects import content_of, get, keys_of, stream

BIG = content_of(9 << 20)


class HalfEncrypted(OverFTP):
    """With a certificate, which it uses for the sign-in and not for the files."""

    def sign_in(self) -> list[str]:
        """See ``OverFTP``."""
        pair = trustme.CA().issue_cert("127.0.0.1")
        chain, key = self.folder / "chain.pem", self.folder / "key.pem"
        chain.write_bytes(b"".join(each.bytes() for each in pair.cert_chain_pems))
        key.write_bytes(pair.private_key_pem.bytes())
        return [*super().sign_in(), "--cert", str(chain), "--key", str(key)]


@pytest.fixture(params=["rclone-sftp", "rclone-ftp"])
def server(request: pytest.FixtureRequest, foreign_server: Callable[[str], ForeignServer]) -> ForeignServer:
    return foreign_server(request.param)


@pytest.fixture
def place(server: ForeignServer) -> Iterator[Driver]:
    driver = server.driver()
    yield driver
    driver.close()


def test_a_server_that_encrypts_only_the_sign_in_is_refused() -> None:
    with HalfEncrypted() as server:
        driver = server.driver("", tls="implicit", tls_verify="false")
        for call in (lambda: driver.put("a", b"x"), lambda: keys_of(driver)):
            with pytest.raises(StorageError) as caught:
                call()
            assert "not the files" in caught.value.reason
            assert "SFTP" in caught.value.remedy
            assert not caught.value.retryable
        driver.close()
        assert list(server.files.iterdir()) == []


def test_whoever_connects_for_the_first_time_is_shown_the_host_key(
    foreign_server: Callable[[str], ForeignServer],
) -> None:
    server = foreign_server("rclone-sftp")
    driver = server.driver("", host_key="")
    with pytest.raises(StorageError) as caught:
        driver.stat("x")
    driver.close()
    shown = re.search(r"SHA256:\S{43}", caught.value.reason)
    assert shown
    assert shown[0] == server.options("")["host_key"]


def test_another_server_is_used_like_any(place: Driver) -> None:
    assert isinstance(place, ReadsRanges)
    stream(place, "new folder/ü/big", BIG)
    assert get(place, "new folder/ü/big") == BIG
    for content in (b"first", b"second one"):
        place.put("a", content)
        assert get(place, "a") == content
    place.put("empty", b"")
    assert [(entry.key, entry.size) for entry in place.list()] == [
        ("a", 10),
        ("empty", 0),
        ("new folder/ü/big", len(BIG)),
    ]
    assert place.read_range("new folder/ü/big", 5 << 20, 7) == BIG[5 << 20 : (5 << 20) + 7]
    for key in keys_of(place):
        place.delete(key)
    assert keys_of(place) == []


def test_another_server_without_the_folder_says_so(server: ForeignServer) -> None:
    driver = server.driver("no-such-place")
    for call in (lambda: driver.put("a", b"x"), lambda: driver.stat("a"), lambda: keys_of(driver)):
        with pytest.raises(ContainerMissing):
            call()
    driver.close()
