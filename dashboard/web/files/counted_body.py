"""A body that is sent through a link: what the network takes of it is counted, without the server waiting."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator

from dashboard.errors import StowageError
from dashboard.services.files.sharing.link_uses import Delivery
from dashboard.web.files.bodies import FETCH, Body, FetchThreads

log = logging.getLogger(__name__)

GROUP = "(links)"
"""The threads that write what was sent; no backend can have this name."""
CONFIRM_BYTES = 256 * 1024
"""How long before its end a body is confirmed, so that a quick client need not wait for the last byte."""


class CountedBody:
    """Another body, counted by a :class:`Delivery`. The last byte of a limited link is held back until the
    use is on disk; after a link was revoked nothing is sent any more."""

    def __init__(self, body: Body, delivery: Delivery, threads: FetchThreads = FETCH) -> None:
        self._body = body
        self._delivery = delivery
        self._threads = threads
        self._lock = threading.Lock()
        self._on_ready: Callable[[], None] | None = None
        self._is_confirmed = not delivery.is_limited
        self._is_reporting = self._has_failed = self._is_closed = False

    @property
    def remaining(self) -> int:
        """See ``Body``."""
        return self._body.remaining

    @property
    def on_ready(self) -> Callable[[], None] | None:
        """See ``Body``."""
        return self._on_ready

    @on_ready.setter
    def on_ready(self, call: Callable[[], None] | None) -> None:
        self._on_ready = self._body.on_ready = call

    @property
    def is_waiting(self) -> bool:
        """See ``Body``."""
        if self._has_failed:
            return False
        if not self._is_confirmed and self.remaining == 1:
            self._report()
            return not (self._is_confirmed or self._has_failed)
        return self._body.is_waiting

    @property
    def has_failed(self) -> bool:
        """See ``Body``."""
        return self._has_failed or self._body.has_failed

    def peek(self, size: int) -> bytes:
        """See ``Body``."""
        if self._delivery.is_due or (not self._is_confirmed and self.remaining <= CONFIRM_BYTES):
            self._report()
        if not self._is_confirmed:
            size = min(size, self.remaining - 1)
        return b"" if self._has_failed or size < 1 else self._body.peek(size)

    def advance(self, size: int) -> None:
        """See ``Body``."""
        self._body.advance(size)
        self._delivery.advance(size)

    def close(self) -> None:
        """See ``Body``."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
        complete = not self.remaining
        self._body.close()
        self._threads.submit(GROUP, lambda: self._delivery.close(complete=complete))

    def __iter__(self) -> Iterator[bytes]:
        """See ``Body``. Raises ``StowageError`` if the rest cannot be had, or the link was revoked."""
        yield from self._delivery.through(self._body)

    def _report(self) -> None:
        with self._lock:
            if self._is_reporting or self._is_closed:
                return
            self._is_reporting = True
        last = not self._is_confirmed and self.remaining <= CONFIRM_BYTES
        self._threads.submit(GROUP, lambda: self._write_report(last))

    def _write_report(self, last: bool) -> None:
        try:
            if last:
                self._delivery.confirm()
                self._is_confirmed = True
            else:
                self._delivery.report()
        except StowageError as error:
            log.info("a download through a link ended early: %s", error.reason)
            self._has_failed = True
        finally:
            with self._lock:
                self._is_reporting = False
            if self._on_ready is not None:
                self._on_ready()
