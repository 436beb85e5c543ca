"""``stowage notify``."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Cli
from tests.services.notifications.receivers import http_receiver

SECRET = "canary-SECRET-value-0123456789"


def test_a_channel_is_added_tested_muted_and_removed(console: Cli, tmp_path: Path) -> None:
    cli, path = console, tmp_path / "url"
    with http_receiver() as receiver:
        path.write_text(receiver.url(f"/{SECRET}"))
        add = ("notify", "add", "ops", "--kind", "webhook")
        added = cli(*add, "--secret", f"url=file:{path}", "--event", "backup", "--json")
        assert added.code == 0, added.err
        assert len(added.document["key"]) > 30
        tested = cli("notify", "test", "ops")
        assert tested.code == 0, tested.out
        assert receiver.got[-1].json["title"] == "This is a test"
        receiver.answer = lambda _: (404, {}, b"Cannot POST /" + SECRET.encode())
        failed = cli("notify", "test", "ops")
        assert failed.code == 1
        assert "Copy the address" in failed.out
        listed = cli("notify", "list")
        assert "failed" in listed.out
        log = cli("notify", "log", "ops", "--failed", "--json")
        (delivery,) = log.document["deliveries"]
        assert (delivery["status"], delivery["answer"]) == (404, "Cannot POST ***")
        assert cli("notify", "send-again", str(delivery["id"])).code == 0
        assert "muted" in cli("notify", "mute", "ops", "--hours", "8").err
        assert "muted" in cli("notify", "list").out
        for result in (added, tested, failed, listed, log, cli("notify", "list", "--json")):
            assert SECRET not in result.out + result.err
        assert cli("notify", "remove", "ops", "--yes").code == 0
        assert cli("notify", "test", "ops").code == 2


def test_what_is_wrong_is_said(console: Cli) -> None:
    wrong = console("notify", "add", "ops", "--kind", "slack", "--secret", f"url=https://x.example/{SECRET}")
    assert wrong.code != 0
    assert SECRET not in wrong.out + wrong.err
    wrong = console("notify", "add", "ops", "--kind", "email", "--option", "host=169.254.169.254")
    assert "metadata" in wrong.err
    assert "Known: " in console("notify", "add", "ops", "--kind", "slack", "--event", "x").err
    assert console("notify", "mute", "ops").code == 2
