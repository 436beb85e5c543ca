"""Looking at how a bucket itself is set up, and mending what will bite later."""

from __future__ import annotations

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
