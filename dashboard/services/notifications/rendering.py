"""A message as a channel gets it: signed JSON, text for Slack, or an e-mail. Pure.

Names and sentences come from people and servers. Here they become text of each format and nothing more: no
mention, no link, no header and no markup of theirs.
"""

from __future__ import annotations

import hashlib
import hmac
import html
import json
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Any

from dashboard.services.notifications.notification_values import ChannelMessage, Event, Phase
from dashboard.storage.types import Secret

SIGNATURE, DELIVERY, TIMESTAMP = "stowage-signature", "stowage-delivery", "stowage-timestamp"
"""Headers of a webhook: the signature, the id of the delivery, and when it was signed."""
MAX_SLACK = 3500
"""Characters of a message for Slack: longer ones are split or cut there."""
MAX_SUBJECT = 150

_SIGNS = {"bad": "🔴", "warn": "🟠", "info": "🔵", "ok": "🟢"}
_ZERO_WIDTH = "\u200b"
_BREAKABLE = re.compile(r"(@)|(://)|(\]\()|(!\[)|(:(?=[a-z0-9_+-]+:))")


def webhook_body(message: ChannelMessage) -> bytes:
    """The JSON of a webhook: the same bytes whenever the same message is sent."""
    document = {
        "id": message.uid,
        "version": 1,
        "created_at": _iso(message.created_at),
        "console": message.console or None,
        "channel": message.channel,
        "title": message.title,
        "events": [_as_json(event, message) for event in message.events],
        "omitted": message.omitted,
    }
    return json.dumps(document, ensure_ascii=True, separators=(",", ":")).encode()


def sign(body: bytes, key: Secret, at: int) -> Mapping[str, str]:
    """The headers that prove who sent a body, and when: HMAC-SHA256 over ``timestamp.body``."""
    signed = hmac.new(key.reveal().encode(), b"%d." % at + body, hashlib.sha256).hexdigest()
    return {TIMESTAMP: str(at), SIGNATURE: f"v1={signed}"}


def slack_body(message: ChannelMessage) -> bytes:
    """The JSON of a Slack-compatible webhook: text only, of which nothing becomes a mention or a link but
    the pages of this console."""
    lines: list[str] = []
    for event in message.events:
        part = [f"{_SIGNS[event.tone]} {slack_text(event.title)}"]
        if details := _details(event):
            part.append(slack_text(details))
        if link := message.link(event):
            part.append(link)
        lines.append("\n".join(part))
    shown = list[str]()
    size, left = 0, message.omitted
    for number, line in enumerate(lines):
        if shown and size + len(line) > MAX_SLACK:
            left += len(lines) - number
            break
        shown.append(line)
        size += len(line) + 2
    if left:
        shown.append(f"And {left:,} more.")
    body = {"text": "\n\n".join(shown), "unfurl_links": False, "unfurl_media": False}
    return json.dumps(body, ensure_ascii=True).encode()


def slack_text(text: str) -> str:
    """Text that Slack, Mattermost and Rocket.Chat show as it is.

    ``&``, ``<`` and ``>`` are escaped, which disarms ``<!channel>`` and ``<address|text>``. What the others
    would read as a mention, a link, an image or an emoji is broken by a space of no width.
    """
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _BREAKABLE.sub(lambda found: found[0][0] + _ZERO_WIDTH + found[0][1:], escaped)


def mail(message: ChannelMessage, sender: str, recipients: str) -> EmailMessage:
    """An e-mail in plain text and HTML."""
    made = EmailMessage(policy=SMTP)
    made["From"] = sender
    made["To"] = recipients
    made["Subject"] = subject_of(message)
    made["Date"] = format_datetime(datetime.fromtimestamp(message.created_at, UTC))
    made["Message-ID"] = f"<{message.uid}@{sender.rpartition('@')[2]}>"
    # RFC 3834: nobody's absence note answers it.
    made["Auto-Submitted"] = "auto-generated"
    made["Stowage-Delivery"] = message.uid
    made.set_content(_mail_text(message))
    made.add_alternative(_mail_html(message), subtype="html")
    return made


def subject_of(message: ChannelMessage) -> str:
    """The subject line: one line whatever was in the title."""
    title = " ".join(message.title.split())
    title = "".join(c for c in title if c.isprintable())
    return f"[Stowage] {title}"[:MAX_SUBJECT]


def _mail_text(message: ChannelMessage) -> str:
    parts = []
    for event in message.events:
        lines = [event.title, _details(event), message.link(event)]
        parts.append("\n".join(line for line in lines if line))
    if message.omitted:
        parts.append(f"And {message.omitted:,} more.")
    return "\n\n".join([*parts, _footer(message)]) + "\n"


def _mail_html(message: ChannelMessage) -> str:
    parts = []
    for event in message.events:
        title = html.escape(event.title)
        if link := message.link(event):
            title = f'<a href="{html.escape(link)}">{title}</a>'
        parts.append(f"<p><strong>{title}</strong><br>{html.escape(_details(event))}</p>")
    if message.omitted:
        parts.append(f"<p>And {message.omitted:,} more.</p>")
    return f"<html><body>{''.join(parts)}<p><small>{html.escape(_footer(message))}</small></p></body></html>"


def _footer(message: ChannelMessage) -> str:
    where = f" at {message.console}" if message.console else ""
    return f"Sent by Stowage{where} to the channel “{message.channel}”. Settings, Notifications changes that."


def _details(event: Event) -> str:
    parts = [event.text]
    if event.since is not None and event.phase in (Phase.BEGAN, Phase.REMINDER):
        parts.append(f"Since {_words(event.since)}.")
    if event.since is not None and event.phase is Phase.ENDED:
        parts.append(f"It began {_words(event.since)}.")
    return " ".join(part for part in parts if part)


def _as_json(event: Event, message: ChannelMessage) -> dict[str, Any]:
    return {
        "event": event.kind.value,
        "state": event.phase.value,
        "severity": event.tone,
        "key": event.key,
        "title": event.title,
        "text": event.text,
        "subject": event.subject or None,
        "at": _iso(event.at),
        "since": _iso(event.since) if event.since is not None else None,
        "url": message.link(event) or None,
    }


def _iso(at: float) -> str:
    return datetime.fromtimestamp(int(at), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _words(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at))
