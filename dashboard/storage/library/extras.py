"""Operations that only some containers support; for others they raise ``Unsupported`` with a reason."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping

from dashboard.storage.driver import Driver, Reading
from dashboard.storage.errors import ContainerMissing, StorageError
from dashboard.storage.inspection.powers import ChecksSettings, Finding
from dashboard.storage.object_powers import (
    DeletesMany,
    HasTiers,
    HoldsTags,
    KeepsVersions,
    SignedUpload,
    SignsUploads,
    Version,
)
from dashboard.storage.powers import unsupported_error
from dashboard.storage.types import Written


class Extras(ABC):
    """Mixed into classes that have a ``driver``. Thread-safe as the driver is."""

    @property
    @abstractmethod
    def driver(self) -> Driver:
        """The driver that does the work."""

    def upload_url(
        self, key: str, *, seconds: int = 3600, content_type: str = "", size: int | None = None
    ) -> SignedUpload:
        """Return a request with which anyone can write this one object, see ``SignsUploads``."""
        driver = self.driver
        if not isinstance(driver, SignsUploads):
            raise unsupported_error(driver, "upload url", "upload url")
        return driver.upload_url(key, seconds=seconds, content_type=content_type, size=size)

    def delete_many(self, keys: Iterable[str]) -> Mapping[str, StorageError]:
        """Delete these objects, many at once if the container supports it; returns the keys that still exist,
        each with its error. Idempotent."""
        driver = self.driver
        if isinstance(driver, DeletesMany):
            return driver.delete_many(keys)
        failed = {}
        for key in keys:
            try:
                driver.delete(key)
            except ContainerMissing:
                raise
            except StorageError as error:
                failed[key] = error
        return failed

    def versions(self, prefix: str = "") -> Iterator[Version]:
        """Yield every version of every object under a prefix, the newest of each key first."""
        return self._require_versions("versions").versions(prefix)

    def read_version(self, key: str, version: str) -> Reading:
        """Open an older version; use as a context manager. Raises ``NotFound``."""
        return self._require_versions("read version").read_version(key, version)

    def restore_version(self, key: str, version: str) -> Written:
        """Make an older version the current one; the current one is kept as a version."""
        return self._require_versions("restore").restore_version(key, version)

    def tags(self, key: str) -> Mapping[str, str]:
        """Return the object's tags. Raises ``NotFound``."""
        return self._require_tags("tags").tags(key)

    def set_tags(self, key: str, tags: Mapping[str, str]) -> None:
        """Replace all tags of an object. Raises ``NotFound``."""
        self._require_tags("set tags").set_tags(key, tags)

    def tier(self, key: str) -> str:
        """Return the object's tier, in the provider's own word. Raises ``NotFound``."""
        return self._require_tiers("tier").tier(key)

    def set_tier(self, key: str, tier: str) -> None:
        """Move an object to another tier. Raises ``NotFound``."""
        self._require_tiers("set tier").set_tier(key, tier)

    def findings(self, origin: str) -> tuple[Finding, ...]:
        """Return what should be known about the container's settings, see ``ChecksSettings``."""
        return self._require_settings("look at settings").findings(origin)

    def fix(self, name: str, origin: str) -> None:
        """Fix one of the findings. Idempotent."""
        self._require_settings("change settings").fix(name, origin)

    def _require_versions(self, operation: str) -> KeepsVersions:
        driver = self.driver
        if not isinstance(driver, KeepsVersions):
            raise unsupported_error(driver, "versions", operation)
        return driver

    def _require_tags(self, operation: str) -> HoldsTags:
        driver = self.driver
        if not isinstance(driver, HoldsTags):
            raise unsupported_error(driver, "tags", operation)
        return driver

    def _require_tiers(self, operation: str) -> HasTiers:
        driver = self.driver
        if not isinstance(driver, HasTiers):
            raise unsupported_error(driver, "tier", operation)
        return driver

    def _require_settings(self, operation: str) -> ChecksSettings:
        driver = self.driver
        if not isinstance(driver, ChecksSettings):
            raise unsupported_error(driver, "settings", operation)
        return driver
