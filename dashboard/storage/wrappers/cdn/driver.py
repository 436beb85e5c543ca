"""A content delivery network in front of a backend: addresses of its own, and word of what changed.

Objects are written to the backend as ever; the network fetches them there. What changes is told to it in the
background, so a purge never delays a write and never fails one; what could not be told is logged.
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
    SignsUploads,
)
from dashboard.storage.types import Secret
from dashboard.storage.wrappers.cdn.purging import Cloudflare, CloudFront, Network
from dashboard.storage.wrappers.common.changes import CHANGING, SeesChanges
from dashboard.storage.wrapping import CONTAINER_POWERS

log = logging.getLogger(__name__)

MOST_WAITING = 10_000
"""Addresses that wait to be told; beyond that they are left to expire by themselves."""
GATHER = 0.5
"""Seconds in which changes are gathered for one request."""
CLOSING = 10.0
"""Longest wait for what is still to be told when the driver is closed, or the program ends without that."""
PAUSES = (1.0, 4.0, 15.0, 60.0)
"""Seconds between attempts to tell a network that cannot be told now."""

_open: weakref.WeakSet[Messenger] = weakref.WeakSet()


def _close_all() -> None:
    """What a program that ends without closing anything has changed is told as well."""
    for each in list(_open):
        each.close()


atexit.register(_close_all)


class Messenger:
    """Tells a network in the background. Thread-safe; its thread starts with the first change.

    What fails for a reason that may pass is tried again, with later changes, and once more when it closes.
    """

    def __init__(self, network: Network, domain: str) -> None:
        self.network = network
        self._domain = domain
        self._changed = threading.Condition()
        self._waiting: dict[str, None] = {}
        self._lost = 0
        self._closed = False
        self._thread: threading.Thread | None = None

    def tell(self, address: str) -> None:
        """This address changed. Returns at once."""
        with self._changed:
            if self._closed:
                return
            if len(self._waiting) >= MOST_WAITING:
                self._lost += 1
                return
            self._waiting[address] = None
            if self._thread is None:
                _open.add(self)
                self._thread = threading.Thread(target=self._run, name="cdn-purge", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def close(self) -> None:
        """Tell what is left, within ``CLOSING`` seconds. Idempotent."""
        _open.discard(self)
        with self._changed:
            self._closed = True
            thread = self._thread
            self._changed.notify_all()
        if thread is not None:
            thread.join(CLOSING)
        self.network.close()

    def _run(self) -> None:
        failures = 0
        while True:
            with self._changed:
                while not self._waiting and not self._closed:
                    self._changed.wait()
                if not self._closed and len(self._waiting) < self.network.most:
                    self._changed.wait_for(lambda: self._closed, GATHER)
                if failures:
                    self._changed.wait_for(lambda: self._closed, PAUSES[failures - 1])
                last = self._closed or failures == len(PAUSES)
                batch = list(self._waiting)[: self.network.most]
                for address in batch:
                    del self._waiting[address]
                lost, self._lost = self._lost, 0
            if not batch:
                return
            failures = 0 if self._tell(batch, lost, last=last) else failures + 1

    def _tell(self, batch: Sequence[str], lost: int, *, last: bool) -> bool:
        """Whether nothing of it is to be tried again."""
        if lost:
            log.warning("%s was not told of %d changed objects: too many at once.", self._domain, lost)
        try:
            self.network.purge(batch)
        except StorageError as error:
            if error.retryable and not last:
                with self._changed:
                    # Before what changed meanwhile, which may be the same again.
                    self._waiting = dict.fromkeys(batch) | self._waiting
                return False
            log.warning("%s was not told of %d changed objects: %s", self._domain, len(batch), error.reason)
        return True


class _Delivering(SeesChanges):
    """What the wrapper and its powers share."""

    def __init__(self, inner: Driver, domain: str, prefix: str = "", network: Network | None = None) -> None:
        super().__init__(inner)
        self._base = f"https://{domain}/"
        self._prefix = prefix
        self._messenger = Messenger(network, domain) if network is not None else None

    def _public(self, key: str) -> str:
        """The object's address on the network."""
        return self._base + quote(self._prefix + key, safe="/~")

    @contextmanager
    def changing(self, key: str) -> Iterator[None]:
        """The network is told afterwards, if it went well."""
        yield
        self._tell(key)

    def _tell(self, key: str) -> None:
        if self._messenger is not None:
            self._messenger.tell(self._public(key))


class _DeletesMany(_Delivering):
    """Many objects go at once; the network is told of those that went."""

    def delete_many(self, keys: Iterable[str]) -> Mapping[str, StorageError]:
        """See ``DeletesMany``."""
        assert isinstance(self.inner, DeletesMany)
        known = list(keys)
        failed = self.inner.delete_many(known)
        for key in known:
            if key not in failed:
                self._tell(key)
        return failed


class Delivered(_Delivering):
    """A backend behind a network. Thread-safe."""

    transparent = True
    # An upload straight from a browser is no change of which we know.
    forwards = (CONTAINER_POWERS - {Purges}) | {
        HasTiers,
        HoldsTags,
        KeepsFolders,
        ReadsInParallel,
        ReadsRanges,
        SetsVisibility,
        SignsUploads,
    }
    adapts: ClassVar[Mapping[type, type]] = MappingProxyType({**CHANGING, DeletesMany: _DeletesMany})

    @classmethod
    def from_options(cls, inner: Driver, options: Mapping[str, str], secrets: Mapping[str, Secret]) -> Self:
        """Around a driver. The folder inside the bucket is part of every address."""
        network: Network | None = None
        if options.get(CDN_PURGE) == "cloudfront":
            network = CloudFront(options[CDN_ZONE], options[CDN_KEY_ID], secrets[CDN_SECRET])
        elif options.get(CDN_PURGE) == "cloudflare":
            network = Cloudflare(options[CDN_ZONE], secrets[CDN_SECRET])
        return cls(inner, options[CDN_DOMAIN], options.get("prefix", ""), network)

    # Links

    def url(self, key: str) -> str:
        """See ``Links``: on the network. Only of use when it may read the backend."""
        self.check_key(key)
        return self._public(key)

    def temporary_url(self, key: str, *, seconds: int) -> str:
        """See ``Links``: at the backend itself, for its signature does not cover the network's name."""
        if not isinstance(self.inner, Links):
            raise Unsupported("temporary url", f"The driver “{self.name}” cannot sign addresses.")
        return self.inner.temporary_url(key, seconds=seconds)

    # Purges

    def purge(self, keys: Iterable[str]) -> None:
        """See ``Purges``."""
        if self._messenger is None:
            raise Unsupported("purge", "No key for purging is set, so addresses expire by their own time.")
        addresses = [self._public(key) for key in keys]
        most = self._messenger.network.most
        for start in range(0, len(addresses), most):
            self._messenger.network.purge(addresses[start : start + most])

    # Driver

    def close(self) -> None:
        """See ``Driver``. What is still to be told is told first, within ten seconds."""
        if self._messenger is not None:
            self._messenger.close()
        self.inner.close()
