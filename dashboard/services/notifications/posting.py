"""Webhooks and Slack-compatible webhooks: one POST, no redirect, a bounded answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from urllib.parse import urlsplit

from dashboard import __version__
from dashboard.services.notifications.attempts import (
    ATTEMPT_SECONDS,
    IDLE_SECONDS,
    Answer,
    DeliveryError,
    Stage,
)
from dashboard.services.notifications.channel_rules import Resolved
from dashboard.services.notifications.notification_values import ChannelKind, ChannelMessage
from dashboard.services.notifications.rendering import DELIVERY, sign, slack_body, webhook_body
from dashboard.storage.net.connecting import connect, make_tls_context, resolve, tls_handshake
from dashboard.storage.net.http_client import HttpClient, Response, read_error_body
from dashboard.storage.net.transport_errors import TransportError

MAX_RETRY_AFTER = 3600.0
_RETRY_LATER = frozenset({408, 425, 429})


class HttpPost:
    """One attempt to post a message. Used by one thread."""

    def __init__(self, channel: Resolved, message: ChannelMessage) -> None:
        self._channel = channel
        self._message = message
        # urlsplit keeps the query apart, which is sent as it was typed.
        url = urlsplit(channel.secrets["url"].reveal())
        self._target = (url.path or "/") + (f"?{url.query}" if url.query else "")
        self._origin = f"{url.scheme}://{url.netloc}"
        self._tls = url.scheme == "https"
        self._host = url.hostname or ""
        self._port = url.port or (443 if self._tls else 80)
        self._addresses: tuple[str, ...] = ()
        self.answer = Answer()

    def stages(self) -> tuple[Stage, ...]:
        """Look up the host, connect, and send. A delivery needs only the last, which does all of it."""
        secured = "Connect and check the certificate" if self._tls else "Connect"
        return (
            Stage("resolve", "Look up the host", self._resolve),
            Stage("connect", secured, self._connect),
            Stage("send", "Send a message", self.send),
        )

    def close(self) -> None:
        """Nothing stays open."""

    def _resolve(self) -> str:
        self._addresses = resolve(self._host, self._port)
        return ""

    def _connect(self) -> str:
        raw = connect(self._host, self._port, self._addresses)
        if not self._tls:
            raw.close()
            return "Without encryption: whoever is on the way can read messages, and the address."
        context = make_tls_context(tls_verify=True, authority=self._channel.options.get("authority", ""))
        return tls_handshake(raw, self._host, self._port, context)

    def send(self) -> str:
        """Post it. Raises :class:`DeliveryError`, and ``StowageError`` for a forbidden address."""
        slack = self._channel.kind is ChannelKind.SLACK
        body = slack_body(self._message) if slack else webhook_body(self._message)
        headers = {
            "content-type": "application/json",
            "content-length": str(len(body)),
            "user-agent": f"Stowage/{__version__}",
            "connection": "close",
            "idempotency-key": self._message.uid,
            DELIVERY: self._message.uid,
        }
        if not slack and (key := self._channel.secrets.get("secret")):
            headers |= sign(body, key, int(time.time()))
        response = self._post(body, headers)
        text = response.body.decode("utf-8", "replace")
        self._refuse(response, text, slack=slack)
        self.answer = Answer(response.status, text)
        return f"It answered {response.status}."

    def _post(self, body: bytes, headers: Mapping[str, str]) -> Response:
        authority = self._channel.options.get("authority", "")
        client = HttpClient(self._origin, authority=authority)
        watchdog: threading.Timer | None = None
        try:
            request = client.start_request("POST", self._target, headers=headers, idle=IDLE_SECONDS)
            # A server that sends a byte now and then is never silent for long.
            watchdog = threading.Timer(ATTEMPT_SECONDS, request.interrupt)
            watchdog.daemon = True
            watchdog.start()
            request.send(body)
            return read_error_body(request.response())
        except TransportError as error:
            raise DeliveryError.of_transport(error.code, client.host) from error
        finally:
            if watchdog is not None:
                watchdog.cancel()
            client.close()

    def _refuse(self, response: Response, text: str, *, slack: bool) -> None:
        """Raise unless the answer says that the message was accepted."""
        status, host = response.status, self._host
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if 200 <= status < 300:
            if slack and kind == "text/html":
                raise DeliveryError(
                    f"{host} answered with a web page, not as a Slack-compatible webhook does.",
                    "Check the address: it is the one of an incoming webhook, not of a page.",
                    status=status,
                    refused=True,
                )
            return
        reason, remedy = _explain(status, host)
        raise DeliveryError(
            reason,
            remedy,
            status=status,
            answer="" if kind == "text/html" else text,
            refused=300 <= status < 500 and status not in _RETRY_LATER,
            retry_after=_retry_after(response.headers.get("retry-after", "")),
        )


def _explain(status: int, host: str) -> tuple[str, str]:
    if found := _EXPLAINED.get(status):
        return f"{host} answered {status}: {found[0]}.", found[1]
    if status < 400:
        return f"{host} answered {status}, a redirect, which is not followed.", "Enter the final address."
    if status >= 500:
        return f"{host} answered {status}: it has a problem of its own.", "Try again later."
    return f"{host} answered {status} and did not accept the message.", "Check the address of the webhook."


_NO_RIGHT = (
    "it does not accept messages at this address",
    "The address may have been revoked, or need a token: make a new one there and enter it.",
)
_NOTHING_THERE = (
    "there is nothing at this address",
    "Copy the address of the webhook once more; it may have been removed there.",
)
_EXPLAINED = {
    401: _NO_RIGHT,
    403: _NO_RIGHT,
    404: _NOTHING_THERE,
    405: ("it takes no POST there", "Check the address of the webhook."),
    410: _NOTHING_THERE,
    429: ("it gets too many messages", "Choose a longer time between messages."),
}


def _retry_after(text: str) -> float | None:
    """Seconds of the header (RFC 9110, 10.2.3); a date is not read."""
    if text.isascii() and text.isdecimal() and len(text) <= 8:
        return min(float(text), MAX_RETRY_AFTER)
    return None
