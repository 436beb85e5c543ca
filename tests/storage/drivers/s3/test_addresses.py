"""A name that leads to a forbidden address later on, after the backend was saved."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from dashboard.errors import Kind
from dashboard.storage.driver import Driver
from dashboard.storage.errors import StorageError
from dashboard.storage.registry import build, check_options
from dashboard.storage.types import Secret

CALLS: dict[str, Callable[[Driver], object]] = {
    "read": lambda driver: driver.read("a"),
    "read of an awkward key": lambda driver: driver.read("/a"),
    "put": lambda driver: driver.put("a", b"x"),
    "stat": lambda driver: driver.stat("a"),
    "list": lambda driver: next(iter(driver.list()), None),
    "delete": lambda driver: driver.delete("a"),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("address", ["169.254.169.254", "::ffff:169.254.169.254"])
def test_no_request_follows_a_name_to_a_forbidden_address(
    call: Callable[[Driver], object], address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: answers)
    monkeypatch.setattr(socket.socket, "connect", lambda *args: pytest.fail("a connection was tried"))
    secrets = {"secret_access_key": Secret("never sent anywhere")}
    options = {"endpoint": "http://s3.example.test", "bucket": "bucket", "access_key_id": "key"}
    driver = build("s3", check_options("s3", options, secrets), secrets)
    try:
        with pytest.raises(StorageError, match="forbidden address") as refused:
            call(driver)
    finally:
        driver.close()
    assert refused.value.kind is Kind.DENIED
