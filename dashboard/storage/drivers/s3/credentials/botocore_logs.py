"""What botocore logs while it handles our keys. Apart, because the signer of links needs it without boto3."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_silenced: ContextVar[bool] = ContextVar("handles Stowage's secrets", default=False)


@contextmanager
def without_botocore_logs() -> Iterator[None]:
    """Keep what botocore says inside the block, in this thread, out of every log: tokens and keys are in what
    it says for debugging, and its warnings are our errors."""
    before = _silenced.set(True)
    try:
        yield
    finally:
        _silenced.reset(before)


def _may_be_logged(_: logging.LogRecord) -> bool:
    return not _silenced.get()


for _part in ("auth", "client", "credentials", "endpoint", "httpsession", "parsers", "tokens", "utils"):
    logging.getLogger(f"botocore.{_part}").addFilter(_may_be_logged)
