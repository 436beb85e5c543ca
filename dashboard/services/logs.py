"""Plain log lines on standard error, with everything that looks like a credential redacted."""

from __future__ import annotations

import logging
import re
import sys

from dashboard.services.text import printable

REDACTED = "***"

_NAMES = (
    r"x-amz-signature|x-amz-credential|x-amz-security-token|authorization|proxy-authorization|cookie|"
    r"set-cookie|x-csrftoken|aws_secret_access_key|secret_access_key|secret_key|secretaccesskey|secret|"
    r"aws_session_token|session_token|access_key_id|password|passwd|passphrase|account_key|sas_token|"
    r"sig|signature|token|recovery_key|setup_code"
)
_VALUE = r"""(?:"[^"]*"|'[^']*'|[^\s&,;)}\]"']+)"""
_RULES: tuple[tuple[re.Pattern[str], str], ...] = (
    # Header lines end with the line; their values hold blanks ("Bearer ...", "AWS4-HMAC-SHA256 ...").
    (
        re.compile(r"(?i)\b((?:proxy-)?authorization|(?:set-)?cookie)(\"?'?\s*[:=]\s*)[^\r\n]+"),
        rf"\1\2{REDACTED}",
    ),
    (re.compile(rf"(?i)(?<![a-z0-9])((?:{_NAMES})[\"']?\s*[:=]\s*){_VALUE}"), rf"\1{REDACTED}"),
    (re.compile(r"(?i)\b(aws4-hmac-sha256|bearer|basic)\s+\S[^\r\n]*"), rf"\1 {REDACTED}"),
    (re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://[^/\s:@]*):[^@\s]+@"), rf"\1:{REDACTED}@"),
    # The address of a link to a file is all that it takes to open it.
    (re.compile(r"(/d/)[A-Za-z0-9_-]{22}(?![A-Za-z0-9_-])"), rf"\1{REDACTED}"),
    (re.compile(r"\bv[12]\.[0-9a-z]+\.[0-9A-Za-z_-]+\.[0-9A-Za-z_-]+"), REDACTED),
)


def redact(text: str) -> str:
    """Return ``text`` without signatures, authorization headers, passwords, links and sealed
    values."""
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text


class RedactingFormatter(logging.Formatter):
    """Redacts the finished line, so that tracebacks and chained vendor messages are covered too. A record is
    one line even if names in it contain line breaks; only tracebacks follow on lines of their own."""

    def format(self, record: logging.LogRecord) -> str:
        """One record as text without credentials."""
        return redact(super().format(record))

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line itself, without a traceback."""
        return printable(super().formatMessage(record))


def configure(level: str, *, name: str = "stowage") -> None:
    """Send all logging of this process to standard error. Idempotent."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        RedactingFormatter(f"%(asctime)s %(levelname)s {name} %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S%z")
    )
    root = logging.getLogger()
    for old in [h for h in root.handlers if isinstance(h.formatter, RedactingFormatter)]:
        root.removeHandler(old)
    root.addHandler(handler)
    set_level(level)
    # Debug lines of SDKs contain signed requests.
    for chatty in ("botocore", "boto3", "urllib3"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # It would log "Task queue depth is 1" at every burst of page polls.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)


def set_level(level: str) -> None:
    """What the log holds from now on: debug, info, warning or error."""
    logging.getLogger().setLevel(level.upper())
