"""A content delivery network (CDN) in front of a backend: its URLs, and purges of what changed.

Objects are written to the backend; the CDN fetches them from there. URLs of changed objects are purged in the
background, so a purge never delays a write or makes it fail. Purges that fail for good are logged.
"""

from __future__ import annotations

import atexit
import logging
import threading
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import ClassVar, Self
from urllib.parse import quote

from dashboard.storage.checks.wrappers import CDN_DOMAIN, CDN_KEY_ID, CDN_PURGE, CDN_SECRET, CDN_ZONE
from dashboard.storage.driver import (
    Driver,
    KeepsFolders,
    Links,
    Purges,
    ReadsInParallel,
    ReadsRanges,
    SetsVisibility,
)
from dashboard.storage.errors import StorageError, Unsupported
from dashboard.storage.object_powers import (
    DeletesMany,
    HasTiers,
    HoldsTags,
    SignsParts,
    SignsUploads,
)
from dashboard.storage.types import Secret
from dashboard.storage.wrappers.cdn.purging import CdnApi, Cloudflare, CloudFront
from dashboard.storage.wrappers.common.changes import CHANGE_POWERS, ObservesChanges
from dashboard.storage.wrapping import CONTAINER_POWERS

log = logging.getLogger(__name__)

MAX_QUEUED = 10_000
"""URLs in the queue. Further ones are not purged; they expire at the CDN."""
BATCH_SECONDS = 0.5
"""How long changes are collected for one request."""
CLOSE_SECONDS = 10.0
"""How long closing the driver, or ending the program, waits for the queue to empty."""
RETRY_SECONDS = (1.0, 4.0, 15.0, 60.0)
"""Pauses between attempts while the CDN's API is unavailable."""

_open: weakref.WeakSet[PurgeQueue] = weakref.WeakSet()


def _close_all() -> None:
    """Purge what is queued when a program ends without closing its drivers."""
    for queue in list(_open):
        queue.close()


atexit.register(_close_all)


class PurgeQueue:
    """Purges URLs in the background. Thread-safe; its thread starts with the first change.

    Retryable failures are retried together with later changes, and once more on close.
    """

    def __init__(self, api: CdnApi, domain: str) -> None:
        self.api = api
        self._domain = domain
        self._changed = threading.Condition()
        self._waiting: dict[str, None] = {}
        self._discarded = 0
        self._closed = False
        self._thread: threading.Thread | None = None

    def add(self, url: str) -> None:
        """Queue a URL whose object changed. Returns immediately."""
        with self._changed:
            if self._closed:
                return
            if len(self._waiting) >= MAX_QUEUED:
                self._discarded += 1
                return
            self._waiting[url] = None
            if self._thread is None:
                _open.add(self)
                self._thread = threading.Thread(target=self._run, name="cdn-purge", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def close(self) -> None:
        """Purge what is queued, within ``CLOSE_SECONDS``. Idempotent."""
        _open.discard(self)
        with self._changed:
            self._closed = True
            thread = self._thread
            self._changed.notify_all()
        if thread is not None:
            thread.join(CLOSE_SECONDS)
        self.api.close()

    def _run(self) -> None:
        failures = 0
        while True:
            with self._changed:
                while not self._waiting and not self._closed:
                    self._changed.wait()
                if not self._closed and len(self._waiting) < self.api.batch_size:
                    self._changed.wait_for(lambda: self._closed, BATCH_SECONDS)
                if failures:
                    self._changed.wait_for(lambda: self._closed, RETRY_SECONDS[failures - 1])
                last = self._closed or failures == len(RETRY_SECONDS)
                batch = list(self._waiting)[: self.api.batch_size]
                for url in batch:
                    del self._waiting[url]
                discarded, self._discarded = self._discarded, 0
            if not batch:
                return
            failures = 0 if self._purge(batch, discarded, last=last) else failures + 1

    def _purge(self, batch: Sequence[str], discarded: int, *, last: bool) -> bool:
        """Purge a batch; return False if it has to be retried."""
        if discarded:
            log.warning(
                "%d changed objects were not purged at %s: too many at once.", discarded, self._domain
            )
        try:
            self.api.purge(batch)
        except StorageError as error:
            if error.retryable and not last:
                with self._changed:
                    # Ahead of later changes, which may contain the same URLs.
                    self._waiting = dict.fromkeys(batch) | self._waiting
                return False
            log.warning(
                "%d changed objects were not purged at %s: %s", len(batch), self._domain, error.reason
            )
        return True


class _CdnBase(ObservesChanges):
    """What the wrapper and its powers share."""

    def __init__(self, inner: Driver, domain: str, prefix: str = "", api: CdnApi | None = None) -> None:
        super().__init__(inner)
        self._base = f"https://{domain}/"
        self._prefix = prefix
        self._queue = PurgeQueue(api, domain) if api is not None else None

    def _public_url(self, key: str) -> str:
        """Return the object's URL at the CDN."""
        return self._base + quote(self._prefix + key, safe="/~")

    @contextmanager
    def changing(self, key: str) -> Iterator[None]:
        """Queue a purge after a successful change."""
        yield
        self._enqueue(key)

    def _enqueue(self, key: str) -> None:
        if self._queue is not None:
            self._queue.add(self._public_url(key))


class _DeletesMany(_CdnBase):
    """``DeletesMany``: purges the objects that were deleted."""

    def delete_many(self, keys: Iterable[str]) -> Mapping[str, StorageError]:
        """See ``DeletesMany``."""
        assert isinstance(self.inner, DeletesMany)
        all_keys = list(keys)
        failed = self.inner.delete_many(all_keys)
        for key in all_keys:
            if key not in failed:
                self._enqueue(key)
        return failed


class BehindCdn(_CdnBase):
    """A backend behind a CDN. Thread-safe."""

    transparent = True
    # Uploads directly from a browser are not seen here, so nothing is purged for them.
    forwards = (CONTAINER_POWERS - {Purges}) | {
        HasTiers,
        HoldsTags,
        KeepsFolders,
        ReadsInParallel,
        ReadsRanges,
        SetsVisibility,
        SignsParts,
        SignsUploads,
    }
    adapts: ClassVar[Mapping[type, type]] = MappingProxyType({**CHANGE_POWERS, DeletesMany: _DeletesMany})

    @classmethod
    def from_options(cls, inner: Driver, options: Mapping[str, str], secrets: Mapping[str, Secret]) -> Self:
        """Build the wrapper. The folder inside the bucket is part of every URL."""
        api: CdnApi | None = None
        if options.get(CDN_PURGE) == "cloudfront":
            api = CloudFront(options[CDN_ZONE], options[CDN_KEY_ID], secrets[CDN_SECRET])
        elif options.get(CDN_PURGE) == "cloudflare":
            api = Cloudflare(options[CDN_ZONE], secrets[CDN_SECRET])
        return cls(inner, options[CDN_DOMAIN], options.get("prefix", ""), api)

    # Links

    def url(self, key: str) -> str:
        """See ``Links``: at the CDN, which needs read access to the backend."""
        self.check_key(key)
        return self._public_url(key)

    def temporary_url(self, key: str, *, seconds: int) -> str:
        """See ``Links``: at the backend itself, because its signature does not cover the CDN's domain."""
        if not isinstance(self.inner, Links):
            raise Unsupported("temporary url", f"The driver “{self.name}” cannot sign addresses.")
        return self.inner.temporary_url(key, seconds=seconds)

    # Purges

    def purge(self, keys: Iterable[str]) -> None:
        """See ``Purges``."""
        if self._queue is None:
            raise Unsupported("purge", "No key for purging is set, so URLs expire at the CDN by themselves.")
        urls = [self._public_url(key) for key in keys]
        batch_size = self._queue.api.batch_size
        for start in range(0, len(urls), batch_size):
            self._queue.api.purge(urls[start : start + batch_size])

    # Driver

    def close(self) -> None:
        """See ``Driver``. Purges what is queued first, within ``CLOSE_SECONDS``."""
        if self._queue is not None:
            self._queue.close()
        self.inner.close()
