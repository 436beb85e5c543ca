"""Checks of a file that a program has received, one at a time; ``Pipeline.inspect`` does all of them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, cast

from dashboard.errors import Kind, StowageError
from dashboard.media.kinds import FileKind, FileType
from dashboard.media.pipeline import FileFacts, Pipeline
from dashboard.media.policy import Refusal, Scan, UploadPolicy
from dashboard.media.sandbox import Sandbox, shared_sandbox
from dashboard.media.scan import Scanner, ScanState
from dashboard.media.sniffing import compare, sniff
from dashboard.storage.library.contents import received_content, received_name


class FileRefused(StowageError):
    """A file is not accepted. ``refusal``: why, with the HTTP status that means the same."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(
            Kind.INVALID,
            refusal.reason,
            operation="validate",
            remedy=refusal.remedy,
            retryable=refusal.retryable,
        )
        self.refusal = refusal


class FileValidator:
    """Checks files by a policy. Thread-safe. A file is a path, bytes, an open binary file, or what FastAPI,
    Flask and Django call an upload; afterwards it is where it was before. Its own name is ``name``, or what
    it says itself.

    ``scanner``: a ``ClamdScanner``. ``sandbox``: by default one for the process. Each check raises
    ``FileRefused`` for a file that fails it.
    """

    def __init__(
        self,
        policy: UploadPolicy | None = None,
        *,
        scanner: Scanner | None = None,
        sandbox: Sandbox | None = None,
    ) -> None:
        self._policy = policy or UploadPolicy(kinds=tuple(FileKind), thumbnails=())
        self._scanner = scanner
        self._sandbox = sandbox or shared_sandbox()

    def validate_file_type(
        self, file: Any, allowed_types: Collection[str] = (), *, name: str = ""
    ) -> FileType:
        """Return what the file is, by its content. ``allowed_types``: content types, such as ``image/jpeg``
        or ``image/*``; without any, the policy's kinds decide. A name that promises something else is
        refused."""
        with _opened(file) as content:
            found = sniff(content)
            known_as = name or _name_of(file)
            agreed = compare(known_as, found) if known_as else found
        if agreed is None:
            reason = f"The name “{known_as}” promises something else: the file contains {found.label}."
            raise FileRefused(Refusal(415, reason, "Give it the ending that belongs to its content."))
        if refusal := self._policy.check_type(known_as or "The file", agreed):
            raise FileRefused(refusal)
        groups = {agreed.content_type, f"{agreed.content_type.partition('/')[0]}/*"}
        if allowed_types and not groups & set(allowed_types):
            accepted = ", ".join(sorted(allowed_types))
            reason = f"The file is {agreed.label}, which is not accepted here."
            raise FileRefused(Refusal(415, reason, f"Accepted are {accepted}."))
        return agreed

    def validate_file_content(self, file: Any, *, name: str = "") -> FileFacts:
        """Decode the file in the sandbox, and return what is known about it. Does not scan it."""
        policy = replace(self._policy, scan=Scan.OFF, thumbnails=())
        with _opened(file) as content:
            known_as = name or _name_of(file) or f"file{(*sniff(content).endings, '')[0]}"
            found = Pipeline(self._sandbox).inspect(content, known_as, policy)
        if isinstance(found, Refusal):
            raise FileRefused(found)
        return found

    async def scan_for_viruses(self, file: Any) -> None:
        """Return if the file was scanned to its end and is clean; runs in a thread. Also refused: a file that
        could not be scanned."""
        await asyncio.to_thread(self._scan, file)

    def _scan(self, file: Any) -> None:
        if self._scanner is None:
            raise FileRefused(Refusal(503, "There is no virus scanner.", "Pass scanner=ClamdScanner(...)."))
        with _opened(file) as content:
            result = self._scanner.scan(content, content.seek(0, os.SEEK_END))
        if result.state is ScanState.INFECTED:
            raise FileRefused(Refusal(422, f"The virus scanner found “{result.detail}” in this file."))
        if result.state is not ScanState.CLEAN:
            status = 503 if result.retryable else 422
            raise FileRefused(Refusal(status, result.detail, retryable=result.retryable))


@contextmanager
def _opened(file: Any) -> Iterator[BinaryIO]:
    """The file as one that can seek, at its beginning; moved back afterwards."""
    if isinstance(file, bytes | bytearray | memoryview):
        yield BytesIO(file)
    elif isinstance(file, str | os.PathLike):
        with Path(file).open("rb") as opened:
            yield opened
    else:
        content = cast(BinaryIO, received_content(file))
        position = content.tell()
        try:
            yield content
        finally:
            content.seek(position)


def _name_of(file: Any) -> str:
    """The file's own name, without folders."""
    name = os.fspath(file) if isinstance(file, str | os.PathLike) else received_name(file)
    return os.path.basename(name)
