"""Sends one message to one channel, whatever its kind, and keeps secrets out of what is said about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol
from urllib.parse import urlsplit

from dashboard.errors import StowageError
from dashboard.services.notifications.attempts import Answer, DeliveryError, Stage
from dashboard.services.notifications.channel_rules import Resolved
from dashboard.services.notifications.mailing import MailAttempt
from dashboard.services.notifications.notification_values import ChannelKind, ChannelMessage
from dashboard.services.notifications.posting import HttpPost

HIDDEN = "***"
_MIN_HIDDEN = 4
"""Shorter parts of an address are no secret, and are found in any text."""


class Attempt(Protocol):
    """One attempt to deliver a message. ``answer``: what the server said in the end."""

    answer: Answer

    def stages(self) -> Sequence[Stage]:
        """Its steps, for a test."""
        ...

    def send(self) -> str:
        """All of it. Raises ``DeliveryError`` and ``StowageError``."""
        ...

    def close(self) -> None:
        """Free what it holds. Idempotent."""
        ...


def attempt_for(channel: Resolved, message: ChannelMessage) -> Attempt:
    """An attempt. Makes no network call."""
    if channel.kind is ChannelKind.EMAIL:
        return MailAttempt(channel, message)
    return HttpPost(channel, message)


def send(channel: Resolved, message: ChannelMessage) -> Answer:
    """Deliver a message. Raises :class:`DeliveryError`; nothing in it or in the answer is secret."""
    attempt = attempt_for(channel, message)
    try:
        attempt.send()
        return Answer(attempt.answer.status, hide(attempt.answer.text, channel))
    except StowageError as error:
        raise DeliveryError.of(error) from error
    except DeliveryError as error:
        error.answer = hide(error.answer, channel)
        raise
    finally:
        attempt.close()


def hide(text: str, channel: Resolved) -> str:
    """Text of a server without the channel's secrets: many an answer repeats the address it was asked for."""
    for value in _secret_parts(channel):
        text = text.replace(value, HIDDEN)
    return text


def _secret_parts(channel: Resolved) -> list[str]:
    parts = [value.reveal() for name, value in channel.secrets.items() if name != "url"]
    if (url := channel.secrets.get("url")) is not None:
        split = urlsplit(url.reveal())
        parts += [url.reveal(), f"{split.path}?{split.query}", split.path, split.query]
        parts += split.path.split("/")
        parts += [part.partition("=")[2] for part in split.query.split("&")]
    return sorted({part for part in parts if len(part) >= _MIN_HIDDEN}, key=len, reverse=True)
