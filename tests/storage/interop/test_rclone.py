"""SFTP and FTP against servers of another make: rclone's, which are written in Go."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from dashboard.storage.driver import Driver
from dashboard.storage.errors import PlaceMissing, StorageError
from dashboard.storage.registry import build, check_options
from dashboard.storage.types import Secret
from tests.servers.processes import ServerProcess, free_ports, program
from tests.servers.s3 import wait_until
from tests.storage.objects import content_of, get, keys_of, stream
from tests.storage.probing import run

PASSWORD = "secret-not-for-use"
BIG = content_of(9 << 20)


@pytest.fixture(params=["sftp", "ftp"])
def served(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Driver]:
    """A driver for a folder that rclone serves."""
    (port,) = free_ports(1)
    root = tmp_path / "root"
    (root / "place").mkdir(parents=True)
    kind = request.param
    options = {"host": "127.0.0.1", "port": str(port), "user": "ada", "root": "place"}
    command = [program("rclone"), "serve", kind, str(root), "--addr", f"127.0.0.1:{port}"]
    command += ["--user", "ada", "--pass", PASSWORD, "--config", str(tmp_path / "none")]
    if kind == "ftp":
        options["tls"] = "none"
    process = ServerProcess(command, cwd=tmp_path, log=tmp_path / "rclone.log")
    try:
        wait_until(lambda: listens(port), seconds=30, what="rclone ready")
        if kind == "sftp":
            options["host_key"] = shown_key(options)
        driver = made(kind, options)
        yield driver
        driver.close()
    finally:
        process.stop()


@pytest.fixture
def half_encrypted(tmp_path: Path) -> Iterator[int]:
    """The port of rclone's FTP server with a certificate."""
    (port,) = free_ports(1)
    pair = trustme.CA().issue_cert("127.0.0.1")
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    chain.write_bytes(b"".join(each.bytes() for each in pair.cert_chain_pems))
    key.write_bytes(pair.private_key_pem.bytes())
    (tmp_path / "root").mkdir()
    command = [program("rclone"), "serve", "ftp", str(tmp_path / "root"), "--addr", f"127.0.0.1:{port}"]
    command += ["--user", "ada", "--pass", PASSWORD, "--config", str(tmp_path / "none")]
    command += ["--cert", str(chain), "--key", str(key)]
    process = ServerProcess(command, cwd=tmp_path, log=tmp_path / "rclone.log")
    try:
        wait_until(lambda: listens(port), seconds=30, what="rclone ready")
        yield port
    finally:
        process.stop()


def test_a_server_that_encrypts_only_the_sign_in_is_refused(half_encrypted: int, tmp_path: Path) -> None:
    options = {"host": "127.0.0.1", "port": str(half_encrypted), "user": "ada", "tls_verify": "false"}
    driver = made("ftp", options | {"tls": "implicit"})
    for call in (lambda: driver.put("a", b"x"), lambda: keys_of(driver)):
        with pytest.raises(StorageError) as caught:
            call()
        assert "not the files" in caught.value.reason
        assert "SFTP" in caught.value.remedy
        assert not caught.value.retryable
    driver.close()
    assert list((tmp_path / "root").iterdir()) == []


def made(kind: str, options: dict[str, str]) -> Driver:
    secrets = {"password": Secret(PASSWORD)}
    return build(kind, check_options(kind, options, secrets), secrets)


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def shown_key(options: dict[str, str]) -> str:
    """The host key as whoever connects for the first time is shown it."""
    with pytest.raises(StorageError) as caught:
        made("sftp", options).stat("x")
    found = re.search(r"SHA256:\S{43}", caught.value.reason)
    assert found
    return found[0]


def test_another_server_is_used_like_any(served: Driver) -> None:
    result = run(served)
    assert result.passed, [step for step in result.steps if step.state != "passed"]
    stream(served, "new folder/ü/big", BIG)
    assert get(served, "new folder/ü/big") == BIG
    for content in (b"first", b"second one"):
        served.put("a", content)
        assert get(served, "a") == content
    served.put("empty", b"")
    assert [(entry.key, entry.size) for entry in served.list()] == [
        ("a", 10),
        ("empty", 0),
        ("new folder/ü/big", len(BIG)),
    ]
    assert served.read_range("new folder/ü/big", 5 << 20, 7) == BIG[5 << 20 : (5 << 20) + 7]  # type: ignore[attr-defined]
    for key in keys_of(served):
        served.delete(key)
    assert keys_of(served) == []


def test_another_server_without_the_folder_says_so(served: Driver, tmp_path: Path) -> None:
    (tmp_path / "root/place").rmdir()
    for call in (lambda: served.put("a", b"x"), lambda: served.stat("a"), lambda: keys_of(served)):
        with pytest.raises(PlaceMissing):
            call()
