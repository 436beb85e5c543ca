"""Suppression of botocore's logs. A module of its own because signing links needs it without boto3."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_silenced: ContextVar[bool] = ContextVar("handles Stowage's secrets", default=False)


@contextmanager
def without_botocore_logs() -> Iterator[None]:
    """Suppress what botocore logs inside the block, in this thread: its debug messages contain tokens and
    keys, and its warnings are our errors."""
    before = _silenced.set(True)
    try:
        yield
    finally:
        _silenced.reset(before)


def _may_be_logged(_: logging.LogRecord) -> bool:
    return not _silenced.get()


for _part in ("auth", "client", "credentials", "endpoint", "httpsession", "parsers", "tokens", "utils"):
    logging.getLogger(f"botocore.{_part}").addFilter(_may_be_logged)
