"""Uploads that go directly to a bucket in parts: begun, continued and finished by their client.

The console signs an address for each part and never sees a byte of it before the upload is finished. Then the
runner reads everything back and does with it what it does with every upload, see ``receiving/bucket_parts``.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from dashboard.errors import InvalidInput, Kind, StowageError
from dashboard.services.backends.backends import Backends
from dashboard.services.database import Database
from dashboard.services.files.receiving import upload_rows as rows
from dashboard.services.files.receiving.bucket_parts import (
    DIRECT,
    PartPlan,
    about,
    digest_of,
    gone_error,
    plan_of,
    plan_parts,
)
from dashboard.services.files.receiving.new_uploads import (
    NewUpload,
    find_destination,
    not_receiving_error,
    other_method_error,
)
from dashboard.services.files.receiving.upload_rows import KEEP_SECONDS, UploadInfo, UploadState
from dashboard.services.files.uploads import RECEIVED_PERCENT, Uploads
from dashboard.services.permissions import Actor
from dashboard.storage.errors import NotFound
from dashboard.storage.object_powers import SentPart, SignedUpload

MAX_URLS = 100
"""Addresses that are signed by one call."""
MAX_SECONDS = 7 * 86_400.0
"""How long an upload can be continued at all: until then its parts cost money."""


@dataclass(frozen=True, slots=True)
class PartAddress:
    """Where one part is sent. ``size``: exactly how many bytes it has."""

    number: int
    size: int
    request: SignedUpload


class DirectUploads:
    """Thread-safe. Everything that :class:`Uploads` says about who may do what holds here too."""

    def __init__(self, database: Database, backends: Backends, uploads: Uploads) -> None:
        self._database = database
        self._backends = backends
        self._uploads = uploads
        self._parts = uploads.processing.parts

    def origin(self, actor: Actor, backend: str, policy: str = "") -> str:
        """The site to which a browser sends the parts of an upload; empty if there can be none. No network
        call."""
        allowed = self._uploads.policies.get_or_default(policy).direct
        return self._parts.origin(backend) if allowed else ""

    def begin(self, actor: Actor, new: NewUpload) -> UploadInfo:
        """Begin an upload, here and in the bucket. Everything that :meth:`Uploads.create` checks is checked.

        Also raises ``UNSUPPORTED`` if the policy or the backend do not allow that, with the reason, and
        ``INVALID`` for an empty file. The client then sends it with tus.
        """
        if not new.size:
            raise InvalidInput("size", "Only a file with a known size of at least one byte can be sent so.")
        if not self._uploads.policies.get(new.policy).direct:
            raise StowageError(
                Kind.UNSUPPORTED,
                "The upload policy does not let files go directly to the bucket.",
                operation="upload",
                remedy="Upload through the console, or ask an administrator to change the policy.",
            )
        backend = find_destination(self._backends, new.backend)
        self._parts.refuse_unless_possible(backend.name)
        plan = plan_parts(new.size)
        known: dict[str, object] = {"part_size": plan.part_size}
        # The row first: an upload in the bucket that nobody knows would cost money for ever.
        upload = self._uploads.create(
            actor, replace(new, backend=backend.name, method=DIRECT), details={DIRECT: known}
        )
        try:
            known["upload_id"] = self._parts.begin(upload)
            return self._change(upload, details={DIRECT: known})
        except BaseException:
            self._uploads.terminate(actor, upload.id)
            raise

    def plan(self, upload: UploadInfo) -> PartPlan:
        """Into which parts the file is cut."""
        return plan_of(upload)

    def addresses(self, actor: Actor, upload_id: str, numbers: Sequence[int]) -> tuple[PartAddress, ...]:
        """Sign the requests for these parts, each for one part of exactly its size. No network call.

        Raises ``NOT_FOUND``, ``CONFLICT`` if the upload takes no parts any more, and ``INVALID``.
        """
        upload = self._receiving(actor, upload_id)
        plan = plan_of(upload)
        if len(numbers) > MAX_URLS:
            raise InvalidInput("numbers", f"At most {MAX_URLS} addresses are signed at once.")
        if wrong := [number for number in numbers if not 1 <= number <= plan.count]:
            raise InvalidInput("numbers", f"This upload has the parts 1 to {plan.count:,}, not {wrong[0]:,}.")
        self._change(upload, expires_at=_expiry(upload))
        return tuple(
            PartAddress(number, plan.size_of(number), self._parts.url(upload, number)) for number in numbers
        )

    def sent(self, actor: Actor, upload_id: str) -> tuple[SentPart, ...]:
        """The parts that the bucket has, as it says itself. Raises as :meth:`addresses` does, and what
        drivers raise."""
        upload = self._receiving(actor, upload_id)
        parts = self._ask(upload)
        # Some servers list a part that was sent again twice.
        received = sum({part.number: plan_of(upload).size_of(part.number) for part in parts}.values())
        percent = RECEIVED_PERCENT * received // (upload.size or 1)
        self._change(upload, received=received, percent=percent)
        return parts

    def finish(self, actor: Actor, upload_id: str, reported: Mapping[int, str]) -> UploadInfo:
        """Have the upload checked and stored. Idempotent: one that was finished is returned as it is.

        ``reported``: the ETags that the client got, by number; it may leave out those that its browser hides
        from it. What counts is what the bucket has. Raises ``CONFLICT`` if a part is missing, has another
        size or another ETag; the client sends that part again.
        """
        upload = self._uploads.get(actor, upload_id)
        if upload.method == DIRECT and upload.state is not UploadState.RECEIVING:
            return upload
        upload = self._receiving(actor, upload_id)
        parts = self._ask(upload)
        _check_parts(plan_of(upload), parts, reported)
        known = {**about(upload), "parts": digest_of(parts)}
        return self._uploads.complete(upload, {**upload.details, DIRECT: known})

    def _ask(self, upload: UploadInfo) -> tuple[SentPart, ...]:
        try:
            return self._parts.sent(upload)
        except NotFound as error:
            raise gone_error() from error

    def _receiving(self, actor: Actor, upload_id: str) -> UploadInfo:
        upload = self._uploads.get(actor, upload_id)
        if upload.owner != actor.name or upload.state is not UploadState.RECEIVING:
            raise not_receiving_error(upload)
        if upload.method != DIRECT or not about(upload).get("upload_id"):
            raise other_method_error(upload)
        return upload

    def _change(self, upload: UploadInfo, **values: object) -> UploadInfo:
        with self._database.work_write() as connection:
            changed = rows.change(connection, upload, **values)
            now = rows.find(connection, upload.id)
        if not changed or now is None:
            raise not_receiving_error(now or upload)
        return now


def _expiry(upload: UploadInfo) -> float:
    return min(time.time() + KEEP_SECONDS, upload.created_at + MAX_SECONDS)


def _check_parts(plan: PartPlan, parts: Sequence[SentPart], reported: Mapping[int, str]) -> None:
    """Compare what the bucket has with what was announced and what the client says."""
    found: dict[int, list[SentPart]] = {}
    for part in parts:
        found.setdefault(part.number, []).append(part)
    for number in range(1, plan.count + 1):
        size = plan.size_of(number)
        if number not in found:
            raise _part_error(f"Part {number:,} of {plan.count:,} is not in the bucket.", number)
        part = found[number][-1]
        if any(each.etag != part.etag for each in found[number]):
            # SeaweedFS keeps both, and takes either of them whatever it is asked for.
            raise StowageError(
                Kind.CONFLICT,
                f"The bucket has part {number:,} more than once, with different content.",
                operation="upload",
                subject=str(number),
                remedy="Upload the file again.",
            )
        if part.size != size:
            raise _part_error(f"Part {number:,} has {part.size:,} bytes in the bucket, not {size:,}.", number)
        if reported.get(number, part.etag).strip('"') != part.etag:
            raise _part_error(f"Part {number:,} in the bucket is not the one that was sent.", number)


def _part_error(reason: str, number: int) -> StowageError:
    return StowageError(
        Kind.CONFLICT,
        reason,
        operation="upload",
        subject=str(number),
        remedy="Send this part again, then finish the upload.",
    )
