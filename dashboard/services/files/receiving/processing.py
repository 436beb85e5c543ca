"""The runner's job for uploads: each complete one is checked, scanned, processed and stored.

After a kill a file is inspected from the beginning, until it is decided under which key it is stored; from
then on only storing is repeated.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path

from sqlalchemy import func, or_, select

from dashboard.errors import Kind, StowageError
from dashboard.jobs.types import DONE, JobContext, JobResult
from dashboard.media.derivatives import DerivativeStore
from dashboard.media.pipeline import FileFacts, Pipeline, Step, hash_content
from dashboard.media.policy import Refusal, UploadPolicy
from dashboard.media.sniffing import compare, sniff
from dashboard.models.catalogue import uploads
from dashboard.services.database import Database
from dashboard.services.files.receiving import upload_rows as rows
from dashboard.services.files.receiving.bucket_parts import DIRECT, BucketParts, Stopped, about, is_in_bucket
from dashboard.services.files.receiving.limits import Limits, refusal_error
from dashboard.services.files.receiving.quarantine import Appending, Quarantine
from dashboard.services.files.receiving.storing import Content, Interrupted, Storing
from dashboard.services.files.receiving.sweeping import Sweeping
from dashboard.services.files.receiving.upload_handler import ReceivedFile, UploadHandler, checked_name
from dashboard.services.files.receiving.upload_rows import WAITING, UploadInfo, UploadState
from dashboard.storage.errors import Exists, InvalidKey, Unsupported

log = logging.getLogger(__name__)

WORKERS = 3
"""Uploads that are worked on at the same time, so that a small one does not wait for a large one."""
POLL_SECONDS = 0.2
LINGER_SECONDS = 30.0
"""The job waits for retries that are due within this time."""
DELAYS = (5.0, 20.0, 60.0, 180.0, 600.0)
"""Seconds before each further attempt. After the last one the upload has failed."""
LIBRARY_SECONDS = 60.0
"""Seconds after which the runner looks whether the program that accepted a file is still working on it."""
FINAL_KINDS = frozenset(
    {
        *(Kind.CONFLICT, Kind.OVER_LIMIT, Kind.WRONG_TYPE, Kind.REFUSED, Kind.INVALID, Kind.INVALID_KEY),
        *(Kind.UNSUPPORTED, Kind.TOO_LARGE, Kind.FORBIDDEN),
    }
)
"""Kinds of errors that another attempt would get again: the file is refused."""
PERCENT = {UploadState.CHECKING: 80, UploadState.SCANNING: 82, UploadState.PROCESSING: 86}


class Processing:
    """Thread-safe."""

    def __init__(
        self,
        database: Database,
        quarantine: Quarantine,
        limits: Limits,
        *,
        pipeline: Pipeline,
        derivatives: DerivativeStore,
        storing: Storing,
        parts: BucketParts,
    ) -> None:
        self._database = database
        self._quarantine = quarantine
        self._limits = limits
        self.parts = parts
        self.pipeline = pipeline
        self.derivatives = derivatives
        self._storing = storing
        self._sweeping = Sweeping(database, quarantine, storing, parts)

    def run(self, context: JobContext) -> JobResult:
        """Work on all uploads that are due, then sweep."""
        running: dict[str, Future[UploadInfo | None]] = {}
        with ThreadPoolExecutor(WORKERS, thread_name_prefix="upload") as pool:
            while not context.should_stop():
                for upload_id in self._due(limit=WORKERS + len(running)):
                    if upload_id not in running and len(running) < WORKERS:
                        running[upload_id] = pool.submit(self.work, upload_id, context.should_stop)
                if running:
                    wait(running.values(), timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
                    running = {each: future for each, future in running.items() if not _finished(future)}
                elif self._soon():
                    context.wait(POLL_SECONDS)
                else:
                    self._sweeping.sweep()
                    return DONE
        return JobResult(requeue=True)

    def sweep(self) -> int:
        """Remove expired uploads and leftovers; return how many."""
        return self._sweeping.sweep()

    def work(
        self,
        upload_id: str,
        stop: Callable[[], bool],
        handler: UploadHandler | None = None,
        rules: UploadPolicy | None = None,
    ) -> UploadInfo | None:
        """Bring one upload to its end, as far as that is possible now. Returns it, or None if another process
        works on it or there is nothing to do."""
        with self._database.work_read() as connection:
            upload = rows.find(connection, upload_id)
        if upload is None or upload.state not in WAITING:
            return None
        try:
            lock = self._quarantine.append(upload_id, known=upload.received)
        except StowageError as error:
            return self._fail(upload, error) if error.kind is Kind.NOT_FOUND else None
        with lock:
            upload = self._again(upload)
            if upload.state not in WAITING:
                return None
            return self._attempt(upload, lock, stop, handler, rules)

    def _attempt(
        self,
        upload: UploadInfo,
        lock: Appending,
        stop: Callable[[], bool],
        handler: UploadHandler | None,
        rules: UploadPolicy | None,
    ) -> UploadInfo | None:
        try:
            if upload.method == "library" and handler is None and upload.state is not UploadState.STORING:
                raise _abandoned_error()
            if is_in_bucket(upload):
                upload = self._fetch(upload, lock, stop)
            while True:
                try:
                    if upload.state is not UploadState.STORING:
                        upload = self._inspect(upload, stop, handler or UploadHandler(), rules)
                    done = self._storing.store(upload, self._content_path(upload), stop)
                    break
                except Exists:
                    # Another program took the key: choose again.
                    upload = self._step(self._again(upload), UploadState.CHECKING)
        except (Interrupted, Stopped):
            return None
        except StowageError as error:
            return self._retry_or_end(self._again(upload), error)
        except Exception:
            log.exception("Upload %s failed unexpectedly", upload.id)
            return self._fail(self._again(upload), _unexpected_error())
        self._quarantine.remove(upload.id)
        return done

    def _fetch(self, upload: UploadInfo, lock: Appending, stop: Callable[[], bool]) -> UploadInfo:
        """Bring the bytes of a direct upload here. What was checked when it began is checked again."""
        size = upload.size or 0
        self._limits.check_size(self._limits.policies.get_or_default(upload.policy), size)
        with self._database.work_read() as connection:
            self._limits.check_space(connection, upload.owner, 0, on_disk=size)
        self.parts.fetch(upload, lock, stop)
        details = {**upload.details, DIRECT: {**about(upload), "fetched": True}}
        with self._database.work_write() as connection:
            if not rows.change(connection, upload, received=size, details=details):
                raise Interrupted
            fetched = rows.find(connection, upload.id)
        assert fetched is not None
        self.parts.clean(fetched)
        return fetched

    def _inspect(
        self, upload: UploadInfo, stop: Callable[[], bool], handler: UploadHandler, rules: UploadPolicy | None
    ) -> UploadInfo:
        """Check, scan and process a file, and decide where it will be."""
        policy = rules or self._limits.policies.get_or_default(upload.policy)
        path = self._quarantine.path(upload.id)

        def step(step: Step) -> None:
            nonlocal upload
            if stop():
                raise Interrupted
            upload = self._step(upload, UploadState(step.value))

        with path.open("rb") as content:
            facts = self.pipeline.inspect(content, upload.name, policy, on_step=step)
        if isinstance(facts, Refusal):
            raise refusal_error(facts)
        received = ReceivedFile(
            name=upload.name,
            folder=upload.folder,
            owner=upload.owner,
            size=facts.size,
            sha256=facts.sha256,
            type=facts.type,
            path=path,
            facts=_catalogued(facts),
        )
        handler.validate(received)
        name = checked_name(handler, received)
        content_to_store = self._processed(handler, received, upload.id, name)
        if content_to_store.path == path:
            for derived in facts.derived:
                self.derivatives.keep(facts.sha256, derived)
        if stop():
            raise Interrupted
        return self._storing.decide(upload, policy, content_to_store)

    def _processed(
        self, handler: UploadHandler, received: ReceivedFile, upload_id: str, name: str
    ) -> Content:
        """What is stored: the file, or what the handler has made of it."""
        output = self._quarantine.processed_path(upload_id)
        with output.open("wb") as file:
            changed = handler.process(received, file)
        if not changed:
            output.unlink()
            return Content(received.path, name, received.size, received.sha256, dict(received.facts))
        self._quarantine.make_durable(output)
        with output.open("rb") as content:
            sniffed = sniff(content)
            found = compare(name, sniffed) or sniffed
            facts: dict[str, object] = {"content_type": found.content_type}
            return Content(output, name, output.stat().st_size, hash_content(content), facts)

    def _content_path(self, upload: UploadInfo) -> Path:
        processed = self._quarantine.processed_path(upload.id)
        return processed if processed.exists() else self._quarantine.path(upload.id)

    def _step(self, upload: UploadInfo, state: UploadState) -> UploadInfo:
        with self._database.work_write() as connection:
            if not rows.change(connection, upload, state=state.value, percent=PERCENT[state]):
                raise Interrupted
            changed = rows.find(connection, upload.id)
        assert changed is not None
        return changed

    def _retry_or_end(self, upload: UploadInfo, error: StowageError) -> UploadInfo | None:
        if error.kind in FINAL_KINDS or isinstance(error, InvalidKey | Unsupported):
            return self._end(upload, UploadState.REFUSED, error)
        if error.kind is Kind.UNREACHABLE and not error.retryable:
            # There is no scanner: somebody has to do something first.
            return self._fail(upload, error)
        tries = int(upload.details.get("tries", 0))
        if tries >= len(DELAYS) or upload.method == "library":
            return self._fail(upload, error)
        log.info("Upload %s is tried again in %.0f seconds: %s", upload.id, DELAYS[tries], error)
        details = {**upload.details, "tries": tries + 1}
        with self._database.work_write() as connection:
            due = time.time() + DELAYS[tries]
            rows.change(connection, upload, not_before=due, details=details, **rows.ended_with(error))
            return rows.find(connection, upload.id)

    def _fail(self, upload: UploadInfo, error: StowageError) -> UploadInfo | None:
        """The upload stays for a day, and can be tried again."""
        log.warning("Upload %s has failed: %s", upload.id, error)
        self._storing.withdraw(upload)
        return self._end(upload, UploadState.FAILED, error)

    def _end(self, upload: UploadInfo, state: UploadState, error: StowageError) -> UploadInfo | None:
        with self._database.work_write() as connection:
            expires = time.time() + rows.KEEP_SECONDS
            values = {"state": state.value, "expires_at": expires, **rows.ended_with(error)}
            ended = rows.change(connection, upload, **values)
            now = rows.find(connection, upload.id)
        if ended and state is UploadState.REFUSED:
            self._quarantine.remove(upload.id)
            if is_in_bucket(upload):
                self.parts.clean(upload)
        return now

    def _again(self, upload: UploadInfo) -> UploadInfo:
        """The upload as it is now."""
        with self._database.work_read() as connection:
            now = rows.find(connection, upload.id)
        return now if now is not None else replace(upload, state=UploadState.FAILED)

    def _due(self, *, limit: int) -> list[str]:
        waiting = uploads.c.state.in_([state.value for state in WAITING])
        now = time.time()
        # A program processes its own uploads; after a while it must have ended.
        ours = or_(uploads.c.method != "library", uploads.c.updated_at < now - LIBRARY_SECONDS)
        query = select(uploads.c.id).where(waiting, ours, uploads.c.not_before <= now)
        with self._database.work_read() as connection:
            return list(connection.scalars(query.order_by(uploads.c.updated_at).limit(limit)))

    def _soon(self) -> bool:
        waiting = uploads.c.state.in_([state.value for state in WAITING]) & (uploads.c.method != "library")
        with self._database.work_read() as connection:
            first = connection.scalar(select(func.min(uploads.c.not_before)).where(waiting))
        return first is not None and first <= time.time() + LINGER_SECONDS


def _finished(future: Future[UploadInfo | None]) -> bool:
    if not future.done():
        return False
    # Errors of the database: the upload stays as it is and is due again.
    if (error := future.exception()) is not None:
        log.warning("An upload could not be worked on: %s", error)
    return True


def _abandoned_error() -> StowageError:
    return StowageError(
        Kind.INTERNAL,
        "The program that accepted this file ended before it was stored.",
        operation="upload",
        remedy="Send the file again.",
        retryable=False,
    )


def _unexpected_error() -> StowageError:
    return StowageError(
        Kind.INTERNAL,
        "Something went wrong inside Stowage while this file was processed.",
        operation="upload",
        remedy="Check the console's log for details; it is safe to try again.",
    )


def _catalogued(facts: FileFacts) -> dict[str, object]:
    """What the catalogue records about the content."""
    names = ("content_type", "width", "height", "duration", "pages", "taken_at")
    known = {name: getattr(facts, name) for name in names}
    notes = {"notes": list(facts.notes)} if facts.notes else {}
    return {**known, "details": {**facts.details, "scanned": facts.scanned, **notes}}
