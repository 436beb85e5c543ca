"""Looking at how a bucket itself is set up, and mending what will bite later."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about the place that a person should know.

    ``name`` identifies it for :meth:`ChecksSettings.fix`. ``remedy``: what fixing does, or what to do by hand
    where ``fixable`` is false. ``good`` findings say what was looked at and is in order.
    """

    name: str
    sentence: str
    remedy: str = ""
    fixable: bool = False
    good: bool = False
    button: str = "Fix it"
    """What fixing is called where people press a button for it."""


@runtime_checkable
class ChecksSettings(Protocol):
    """Can see how its bucket is set up, and may be able to change it."""

    def findings(self, origin: str) -> tuple[Finding, ...]:
        """What there is to say; ``origin`` (scheme, host and port) is the site that browsers upload from.
        What the credentials may not see is a finding as well. Raises when nothing can be asked at all."""
        ...

    def fix(self, name: str, origin: str) -> None:
        """Mend a fixable finding; all other settings stay as they are. Idempotent. Raises ``DENIED`` when
        the credentials may not, and ``InvalidInput`` for a finding it does not know."""
        ...


@dataclass(frozen=True, slots=True)
class UnfinishedUpload:
    """An upload in parts that was begun and neither completed nor aborted. ``begun``: seconds since the
    epoch, by the server's clock."""

    key: str
    id: str
    begun: float


@runtime_checkable
class KeepsUnfinished(Protocol):
    """Keeps the parts of an upload, unseen and paid for, until somebody completes or aborts it."""

    def unfinished(self, prefix: str = "") -> Iterator[UnfinishedUpload]:
        """Those whose keys begin so, everybody's, streamed. Some of them may be under way."""
        ...

    def abort(self, upload: UnfinishedUpload) -> None:
        """Throw its parts away. Idempotent. Whoever is still uploading gets an error."""
        ...
