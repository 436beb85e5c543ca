"""Our signatures equal botocore's, byte for byte, and do not appear in logs."""

from __future__ import annotations

import logging
import random
import string
from datetime import UTC, datetime

import botocore.auth
import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from dashboard.storage.drivers.s3.client import S3Client
from dashboard.storage.drivers.s3.config import S3Config
from dashboard.storage.drivers.s3.credentials.sign_in import AccessKey
from dashboard.storage.types import Secret

NOW = datetime(2026, 11, 21, 9, 30, 5, tzinfo=UTC)
LETTERS = string.ascii_letters + string.digits + " /+%&=?#~*'()!.-_äß€\t\x07"
WORDS = string.ascii_letters + string.digits + ' /+%&=;,"  -_.'


class Unsigned(S3SigV4Auth):
    def payload(self, request: AWSRequest) -> str:
        return "UNSIGNED-PAYLOAD"


@pytest.mark.parametrize("token", ["", "a-session-token"])
@pytest.mark.parametrize("path_style", [True, False])
def test_every_signature_is_botocores(monkeypatch: pytest.MonkeyPatch, token: str, path_style: bool) -> None:
    chance = random.Random(f"{token}{path_style}")
    place = S3Config(
        "https://s3.example.com:9000",
        "buc-ket",
        AccessKey("AKID", Secret("s3cr3t+/="), Secret(token)),
        region="eu-central-1",
        path_style=path_style,
    )
    client = S3Client(place)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: NOW)

    def text(letters: str, longest: int) -> str:
        return "".join(chance.choices(letters, k=chance.randint(1, longest)))

    for _ in range(300):
        method = chance.choice(["GET", "PUT", "POST", "DELETE", "HEAD"])
        query = {text(string.ascii_letters, 8): text(LETTERS, 12) for _ in range(chance.randint(0, 3))}
        headers = {f"x-amz-{text(string.ascii_lowercase, 6)}": text(WORDS, 20).strip() for _ in range(2)}
        target = client._target(text(LETTERS, 30), query)
        ours = client._signer.sign(method, target, {**headers, "content-length": "7"}, now=NOW)
        request = AWSRequest(
            method=method, url=client._origin + target, headers={**headers, "content-length": "7"}
        )
        keys = Credentials("AKID", "s3cr3t+/=", token or None)
        Unsigned(keys, "s3", "eu-central-1").add_auth(request)
        theirs = {name.lower(): value for name, value in request.headers.items()}
        assert ours == theirs | {"host": client.server.host}


def test_the_signing_key_changes_with_the_day() -> None:
    signer = S3Client(S3Config("http://127.0.0.1", "bucket", AccessKey("AK", Secret("s"))))._signer
    first = signer.sign("GET", "/", {}, now=NOW)
    next_day = signer.sign("GET", "/", {}, now=NOW.replace(day=22))
    assert first["authorization"] != next_day["authorization"]
    assert signer.sign("GET", "/", {}, now=NOW) == first


def test_no_token_and_no_key_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    for chatty in ("", "botocore", "urllib3"):
        caplog.set_level(logging.DEBUG, logger=chatty or None)
    place = S3Config("http://127.0.0.1", "bucket", AccessKey("AK", Secret("s"), Secret("the-session-token")))
    client = S3Client(place)
    client._signer.sign("GET", "/a", {})
    assert "X-Amz-Security-Token=the-session-token" in client.presign("a", 60)
    assert "the-session-token" not in caplog.text
    assert "the-session-token" not in repr(vars(client)) + repr(vars(client._signer))
