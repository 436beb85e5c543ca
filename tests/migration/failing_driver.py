"""A driver around a real one that does what real servers will not do on request."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Self

from dashboard.storage.driver import Driver, Reading, Writing
from dashboard.storage.errors import StorageError
from dashboard.storage.inspection.listing import MARKER_PREFIX
from dashboard.storage.inspection.places import Bucket
from dashboard.storage.object_powers import Prepared, WritesInGroups
from dashboard.storage.types import Attributes, Entry, ObjectInfo, Written

Hook = Callable[[str, str], None]
"""Called with the verb and the key before the call goes through; raising makes it fail."""


class FailingDriver:
    """Everything goes to ``inner`` unless ``hook`` objects. Verbs: read, chunk, write, put, prepared, stored,
    commit, stat, list, delete, sweep. ``log`` has every call."""

    def __init__(self, inner: Driver, hook: Hook | None = None, *, ordered: bool | None = None) -> None:
        self.inner = inner
        self.name = inner.name
        self.ordered = inner.ordered if ordered is None else ordered
        self.hook = hook or (lambda verb, key: None)
        self.listing: Callable[[Iterator[Entry]], Iterable[Entry]] = lambda entries: entries
        self.log: list[tuple[str, str]] = []
        self._lock = threading.Lock()

    def _record_call(self, verb: str, key: str) -> None:
        if MARKER_PREFIX in key:
            # Nobody's object: how the engine looks whether two places overlap has tests of its own.
            return
        with self._lock:
            self.log.append((verb, key))
        self.hook(verb, key)

    def keys_of(self, *verbs: str) -> list[str]:
        """The keys of all calls with these verbs."""
        with self._lock:
            return [key for verb, key in self.log if verb in verbs]

    def check_key(self, key: str) -> None:
        self.inner.check_key(key)

    def read(self, key: str, *, if_version: str | None = None) -> Reading:
        self._record_call("read", key)
        return _Read(self, key, self.inner.read(key, if_version=if_version))

    def write(
        self,
        key: str,
        *,
        size: int | None = None,
        attributes: Attributes | None = None,
        create_only: bool = False,
    ) -> Writing:
        self._record_call("write", key)
        return _Write(
            self, key, self.inner.write(key, size=size, attributes=attributes, create_only=create_only)
        )

    def put(
        self, key: str, data: bytes, *, attributes: Attributes | None = None, create_only: bool = False
    ) -> Written:
        self._record_call("put", key)
        receipt = self.inner.put(key, data, attributes=attributes, create_only=create_only)
        self._record_call("stored", key)
        return receipt

    def prepare(self, key: str, data: bytes, *, md5: str = "") -> Prepared | None:
        """A ``put``, then ``prepared``, and in the end ``stored``."""
        if not isinstance(self.inner, WritesInGroups):
            return None
        prepared = self.inner.prepare(key, data, md5=md5)
        if prepared is not None:
            self._record_call("put", key)
            self._record_call("prepared", key)
        return prepared

    def publish(self, prepared: Sequence[Prepared]) -> list[Written | StorageError]:
        assert isinstance(self.inner, WritesInGroups)
        found = self.inner.publish(prepared)
        for number, receipt in enumerate(found):
            if isinstance(receipt, Written):
                try:
                    self._record_call("stored", receipt.key)
                except StorageError as error:
                    found[number] = error
        return found

    def stat(self, key: str) -> ObjectInfo:
        self._record_call("stat", key)
        return self.inner.stat(key)

    def list(self, prefix: str = "", *, start_after: str = "") -> Iterator[Entry]:
        self._record_call("list", prefix)
        if MARKER_PREFIX in prefix:
            return self.inner.list(prefix, start_after=start_after)
        return iter(self.listing(self.inner.list(prefix, start_after=start_after)))

    def delete(self, key: str) -> None:
        self._record_call("delete", key)
        self.inner.delete(key)

    def sweep(self, keys: Iterable[str], *, since: float) -> int:
        self._record_call("sweep", "")
        return self.inner.sweep(keys, since=since)

    def close(self) -> None:
        self.inner.close()


class PublicBucket(FailingDriver):
    """One that says that its objects are in a bucket of a public provider, apart from those of others."""

    def __init__(self, inner: Driver, bucket: str, hook: Hook | None = None) -> None:
        super().__init__(inner, hook)
        self.place = Bucket("provider", bucket)


class _Read:
    def __init__(self, driver: FailingDriver, key: str, inner: Reading) -> None:
        self._driver, self._key, self._inner = driver, key, inner
        self.info = inner.info

    def chunks(self) -> Iterator[bytes]:
        for chunk in self._inner.chunks():
            self._driver._record_call("chunk", self._key)
            yield chunk

    def read_all(self) -> bytes:
        self._driver._record_call("chunk", self._key)
        return self._inner.read_all()

    def __enter__(self) -> Self:
        self._inner.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._inner.__exit__(kind, error, trace)


class _Write:
    def __init__(self, driver: FailingDriver, key: str, inner: Writing) -> None:
        self._driver, self._key, self._inner = driver, key, inner

    def write(self, chunk: bytes) -> None:
        self._driver._record_call("chunk", self._key)
        self._inner.write(chunk)

    def commit(self) -> Written:
        self._driver._record_call("commit", self._key)
        receipt = self._inner.commit()
        self._driver._record_call("stored", self._key)
        return receipt

    def __enter__(self) -> Self:
        self._inner.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._inner.__exit__(kind, error, trace)
