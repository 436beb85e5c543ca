"""Older states of objects, for wrappers that only want to know of one being restored."""

from __future__ import annotations

from collections.abc import Iterator

from dashboard.storage.driver import Reading
from dashboard.storage.object_powers import KeepsVersions, Version
from dashboard.storage.wrapping import Wrapper


class ForwardsVersions(Wrapper):
    """All of ``KeepsVersions`` but ``restore_version``, handed to the wrapped driver."""

    def keeps_versions(self) -> bool:
        """See ``KeepsVersions``."""
        return self._kept.keeps_versions()

    def versions(self, prefix: str = "") -> Iterator[Version]:
        """See ``KeepsVersions``."""
        return self._kept.versions(prefix)

    def read_version(self, key: str, version: str) -> Reading:
        """See ``KeepsVersions``."""
        return self._kept.read_version(key, version)

    @property
    def _kept(self) -> KeepsVersions:
        assert isinstance(self.inner, KeepsVersions)
        return self.inner
