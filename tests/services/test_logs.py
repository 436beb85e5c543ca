"""Nothing that looks like a credential reaches the log, wherever in a line or traceback it stands."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from dashboard.services import logs
from dashboard.services.logs import redact

SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"

LINES = [
    f"GET /bucket/key?X-Amz-Signature={SECRET}&X-Amz-Date=20261121",
    f"GET /b?X-Amz-Credential={SECRET}%2F20261121&x-amz-security-token={SECRET}",
    f"Authorization: AWS4-HMAC-SHA256 Credential=AKIA/x, SignedHeaders=host, Signature={SECRET}",
    f"headers={{'authorization': 'Bearer {SECRET}', 'host': 'h'}}",
    f"AWS4-HMAC-SHA256 Credential={SECRET}",
    f"S3Config {{ secret_access_key: {SECRET}, region: us-east-1 }}",
    f'{{"secret_access_key": "{SECRET}"}}',
    f"aws_secret_access_key = '{SECRET}'",
    f"password={SECRET}; user=ada",
    f"https://ada:{SECRET}@files.example.com/dav",
    f"https://account.blob.example.net/c?sv=1&sig={SECRET}",
    f"Cookie: session={SECRET}; other=1",
    f"token v1.abc123.{'A' * 16}.{SECRET.replace('/', '_').replace('+', '-')} does not open",
]


@pytest.mark.parametrize("line", LINES)
def test_a_credential_is_blotted_out(line: str) -> None:
    shown = redact(line)
    assert SECRET[:12] not in shown
    assert logs.REDACTED in shown


def test_the_address_of_a_link_is_blotted_out() -> None:
    token = "AbCdEf-h_j" + "0" * 12
    assert redact(f"incident 1a: GET /d/{token}?download=1") == "incident 1a: GET /d/***?download=1"


@pytest.mark.parametrize(
    "line",
    [
        "GET /api/v1/migrations/7 200",
        "Migration 7 finished: 1,204 objects in 12.3 s",
        "Job 4 (migration) failed: The key is right but may not write to this bucket: add s3:PutObject.",
        "https://s3.eu-central-1.example.com/bucket",
    ],
)
def test_what_is_no_credential_stays_readable(line: str) -> None:
    assert redact(line) == line


@pytest.fixture
def root_logger() -> Iterator[logging.Logger]:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    yield root
    root.handlers[:] = before
    root.setLevel(level)


def test_tracebacks_are_redacted_too(root_logger: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info")
    logs.configure("info")
    try:
        raise ValueError(f"refused: X-Amz-Signature={SECRET}")
    except ValueError:
        logging.getLogger("dashboard.test").exception("It failed with Authorization: Basic %s", SECRET)
    shown = capsys.readouterr().err
    assert SECRET not in shown
    assert "ValueError" in shown
    assert shown.count("It failed") == 1


def test_a_name_with_a_line_break_makes_no_line_of_its_own(
    root_logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure("info")
    logging.getLogger("dashboard.test").warning("Job 1 failed: %s", "a\nINFO all is well\x1b[2J")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(r"Job 1 failed: a\nINFO all is well\x1b[2J")


def test_vendors_do_not_chatter(root_logger: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("debug")
    logging.getLogger("botocore.auth").debug("CanonicalRequest: ...")
    logging.getLogger("dashboard.test").debug("ours")
    assert "Canonical" not in (shown := capsys.readouterr().err)
    assert "ours" in shown
