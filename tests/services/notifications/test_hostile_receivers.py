"""Servers that never end an answer: an attempt ends anyway, and with little memory."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from dashboard.services.notifications import mailing, posting
from dashboard.services.notifications.attempts import DeliveryError
from dashboard.services.notifications.channel_rules import Resolved, resolve
from dashboard.services.notifications.notification_values import (
    ChannelDraft,
    ChannelKind,
    ChannelMessage,
    Event,
    EventKind,
    Phase,
)
from dashboard.services.notifications.sending import send
from dashboard.storage.types import Secret

EVENT = Event(EventKind.TEST, Phase.HAPPENED, "test", "info", "This is a test", "", 0.0)
MESSAGE = ChannelMessage("0" * 32, "ops", (EVENT,), 0, 0.0, "")


@contextmanager
def lying(first: bytes, again: bytes, pause: float) -> Iterator[int]:
    """A server that answers ``first`` and then ``again`` for ever; its port."""
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError):
                connection, _ = server.accept()
                with connection:
                    connection.sendall(first)
                    while not stop.wait(pause):
                        connection.sendall(again)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            stop.set()
            thread.join()


def webhook(port: int) -> Resolved:
    url = Secret(f"http://127.0.0.1:{port}/hook")
    return resolve(ChannelDraft("ops", ChannelKind.WEBHOOK, {}, {"url": url}), {})


def by_mail(port: int) -> Resolved:
    options = {"host": "127.0.0.1", "port": str(port), "security": "none"}
    options |= {"from": "stowage@example.com", "to": "ops@example.com"}
    return resolve(ChannelDraft("mail", ChannelKind.EMAIL, options), {})


@pytest.mark.parametrize(
    ("channel", "first", "again", "pause"),
    [
        (webhook, b"HTTP/1.1 200 OK\r\n", b"x", 0.02),
        (webhook, b"HTTP/1.1 500 Broken\r\n\r\n", b"x" * 65_536, 0.0),
        (webhook, b"SSH-2.0-other\r\n\r\n", b"", 0.02),
        (by_mail, b"2", b"2", 0.02),
        (by_mail, b"220 hello\r\n", b"250-more\r\n" * 1000, 0.0),
        (by_mail, b"HTTP/1.1 400 Bad\r\n", b"", 0.02),
    ],
)
def test_an_answer_without_an_end_ends(
    monkeypatch: pytest.MonkeyPatch,
    channel: Callable[[int], Resolved],
    first: bytes,
    again: bytes,
    pause: float,
) -> None:
    for module in (posting, mailing):
        monkeypatch.setattr(module, "ATTEMPT_SECONDS", 0.3)
    with lying(first, again, pause) as port, pytest.raises(DeliveryError) as failed:
        send(channel(port), MESSAGE)
    assert failed.value.reason
    assert failed.value.remedy
