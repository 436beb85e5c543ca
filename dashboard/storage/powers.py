"""The optional powers of a driver, and the errors for drivers that do not have them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol, runtime_checkable

from dashboard.storage.driver import (
    Connects,
    CopiesWithin,
    CreatesBuckets,
    Driver,
    KeepsFolders,
    Links,
    ReadsInParallel,
    ReadsRanges,
    SetsVisibility,
)
from dashboard.storage.errors import Unsupported
from dashboard.storage.inspection.powers import ChecksSettings
from dashboard.storage.object_powers import (
    DeletesMany,
    HasTiers,
    HasTrash,
    HoldsTags,
    KeepsVersions,
    MovesWithin,
    SetsAttributes,
    SignsParts,
    SignsUploads,
)
from dashboard.storage.wrapping import Wrapper


@dataclass(frozen=True, slots=True)
class Power:
    """An optional protocol. ``reason`` completes “The driver “x” …” for drivers without it."""

    name: str
    label: str
    protocol: type
    reason: str


@runtime_checkable
class ExplainsMissingPowers(Protocol):
    """A driver for which the general reason would be wrong."""

    missing_powers: Mapping[str, str]
    """For each power, by name, what completes “The driver “x” …”."""


POWERS: Mapping[str, Power] = MappingProxyType(
    {
        power.name: power
        for power in (
            Power("copy", "Copies on the server", CopiesWithin, "has no server that copies for it."),
            Power("range", "Reads parts of objects", ReadsRanges, "reads only whole objects."),
            Power(
                "parallel",
                "Resumes interrupted reads",
                ReadsInParallel,
                "reads an object from its beginning to its end.",
            ),
            Power("url", "Addresses for browsers", Links, "has no address that a browser can open."),
            Power(
                "folder", "Keeps empty folders", KeepsFolders, "has a folder only while objects are in it."
            ),
            Power(
                "visibility",
                "Public or private objects",
                SetsVisibility,
                "cannot say of a single object who may read it.",
            ),
            Power("delete many", "Deletes many at once", DeletesMany, "deletes one object after the other."),
            Power("upload url", "Signed uploads", SignsUploads, "cannot let a browser upload by itself."),
            Power("versions", "Older versions", KeepsVersions, "keeps only the last state of an object."),
            Power("tags", "Tags", HoldsTags, "has no tags."),
            Power("tier", "Storage classes and tiers", HasTiers, "keeps every object in the same way."),
            Power("move", "Moves without copying", MovesWithin, "moves objects by copying them."),
            Power("trash", "Deleted objects can be restored", HasTrash, "deletes for good."),
            Power(
                "attributes",
                "Changes headers and metadata",
                SetsAttributes,
                "does not change the headers and metadata of a stored object.",
            ),
            Power("settings", "Checks its bucket's settings", ChecksSettings, "has no settings to check."),
            Power("bucket", "Creates its container", CreatesBuckets, "exists as soon as it is used."),
            Power("address", "Has a network address", Connects, "needs no network."),
        )
    }
)
"""Every power by name."""

PARTS = Power(
    "upload parts", "Signed uploads in parts", SignsParts, "cannot let a browser upload a file by itself."
)
"""Not in the table of backends: only S3 has it."""


def unsupported_error(driver: Driver, power: str | Power, operation: str) -> Unsupported:
    """The error for a driver that does not have a power, or lost it to a wrapper around it."""
    chosen, inner = POWERS[power] if isinstance(power, str) else power, driver
    while isinstance(inner, Wrapper):
        if isinstance(inner.inner, chosen.protocol) and chosen.protocol in inner.withholds:
            return Unsupported(operation, inner.withholds[chosen.protocol])
        inner = inner.inner
    own = inner.missing_powers if isinstance(inner, ExplainsMissingPowers) else {}
    return Unsupported(operation, f"The driver “{driver.name}” {own.get(chosen.name, chosen.reason)}")


def require_power(driver: Driver, power: str) -> None:
    """Raise ``Unsupported``, with a reason, unless the driver has the power of this name."""
    if not isinstance(driver, POWERS[power].protocol):
        raise unsupported_error(driver, power, power)
