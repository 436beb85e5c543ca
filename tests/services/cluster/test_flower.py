"""``stowage flower``: never without a password, and to look at only."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from dashboard.services.cluster.monitoring import FlowerAddress, make_flower
from dashboard.storage.types import Secret
from tests.cli.conftest import command_line

PASSWORD = "flower-password/not for use"
BROKER = "redis://127.0.0.1:1/0"


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOWAGE_BROKER_URL", BROKER)
    monkeypatch.setenv("STOWAGE_DATABASE_URL", "postgresql://stowage@127.0.0.1:1/stowage")


def test_it_does_not_start_without_a_broker(tmp_path: Path) -> None:
    refused = command_line(tmp_path)("flower", "--password-file", str(tmp_path / "none"))
    assert refused.code == 2
    assert "STOWAGE_BROKER_URL is not set" in refused.err


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "Flower does not start without a password."),
        ("", "has at least"),
        ("short\n", "has at least"),
        ("a long password\nof two lines\n", "has at least"),
    ],
)
def test_it_does_not_start_without_a_password(
    tmp_path: Path, environ: None, content: str | None, sentence: str
) -> None:
    given = []
    if content is not None:
        (tmp_path / "password").write_text(content)
        given = ["--password-file", str(tmp_path / "password")]
    refused = command_line(tmp_path)("flower", *given)
    assert refused.code != 0
    assert sentence in refused.err
    missing = command_line(tmp_path)("flower", "--password-file", str(tmp_path / "missing"))
    assert "cannot be read" in missing.err


def test_what_changes_something_does_not_exist() -> None:
    address = FlowerAddress("127.0.0.1", 0, "stowage", Secret(PASSWORD))
    assert PASSWORD not in repr(address)
    application = make_flower(BROKER, address)
    patterns = [rule.matcher.regex.pattern for rule in application.wildcard_router.rules]
    assert any("/workers" in each for each in patterns)
    assert not [each for each in patterns if re.search("shutdown|apply|revoke|metrics|pool", each)]


def test_only_who_knows_the_password_sees_anything(tmp_path: Path) -> None:
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    ours = {name: value for name, value in os.environ.items() if not name.startswith("STOWAGE_")}
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "dashboard", "--instance", str(tmp_path), "flower", "--port", "0"),
            *("--password-file", str(tmp_path / "password")),
        ],
        env={
            **ours,
            "STOWAGE_BROKER_URL": BROKER,
            "STOWAGE_DATABASE_URL": "postgresql://stowage@127.0.0.1:1/stowage",
        },
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stderr
        first = next(line for line in process.stderr if "Flower is at" in line)
        [url] = re.findall(r"http://127\.0\.0\.1:\d+", first)
        right, wrong = ("stowage", PASSWORD), ("stowage", "something else")
        for path in ("/", "/tasks", "/api/workers"):
            assert requests.get(f"{url}{path}", timeout=60).status_code == 401, path
            assert requests.get(f"{url}{path}", auth=wrong, timeout=60).status_code == 401, path
        assert requests.get(f"{url}/", auth=right, timeout=60).status_code == 200
        for path in ("/metrics", "/api/worker/shutdown/x", "/api/task/async-apply/stowage.job"):
            for auth in (None, right):
                seen = requests.post(f"{url}{path}", auth=auth, timeout=60).status_code
                assert seen in (401, 403, 404, 405), path
        command = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        started_with = Path(f"/proc/{process.pid}/environ").read_bytes()
        assert PASSWORD.encode() not in command + started_with
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
