"""A process that sends files directly to a bucket and runs the jobs of an instance until it is killed."""

from __future__ import annotations

import random
import threading
from multiprocessing.connection import Connection
from pathlib import Path

import urllib3

from dashboard.errors import Kind, StowageError
from dashboard.services.files.receiving import bucket_parts
from dashboard.services.files.receiving.new_uploads import NewUpload
from dashboard.services.files.receiving.upload_rows import UploadInfo, UploadState
from dashboard.services.services import Services
from tests.services.composed import composed
from tests.services.console import OPERATOR

PART = 5 * 1024 * 1024
SIZES = (1, 70_000, PART, PART + 1, 2 * PART + 300_000)


def content_of(name: str) -> bytes:
    """The content of an upload with this name, the same in every process."""
    noise = random.Random(name)
    size = noise.choice(SIZES)
    return b"\x00" * min(size, 8) + noise.randbytes(max(0, size - 8))


def upload_directly_until_killed(instance: str, first: int, acknowledged: Connection) -> None:
    """Go on with every unfinished upload, then begin new ones; send the name of each that was finished."""
    bucket_parts.PART_BYTES = PART
    with composed(Path(instance)) as services, urllib3.PoolManager(retries=False) as http:
        runner = threading.Thread(target=services.runner.run_forever, args=(threading.Event(),), daemon=True)
        runner.start()
        acknowledged.send("")
        for upload in services.uploads.list(OPERATOR, limit=200):
            if upload.state is UploadState.RECEIVING:
                _send(services, upload, http, acknowledged)
        for number in range(first, first + 100_000):
            name = f"direct-{number}.dat"
            new = NewUpload(name, len(content_of(name)), backend="cloud")
            _send(services, services.direct_uploads.begin(OPERATOR, new), http, acknowledged)


def _send(
    services: Services, upload: UploadInfo, http: urllib3.PoolManager, acknowledged: Connection
) -> None:
    data = content_of(upload.name)
    direct = services.direct_uploads
    try:
        there = {part.number for part in direct.sent(OPERATOR, upload.id)}
        missing = [number for number in range(1, direct.plan(upload).count + 1) if number not in there]
        etags = {}
        for part in direct.addresses(OPERATOR, upload.id, missing):
            start = (part.number - 1) * PART
            sent = http.request("PUT", part.request.url, body=data[start : start + part.size])
            assert sent.status == 200, sent.data
            etags[part.number] = sent.headers["ETag"]
        direct.finish(OPERATOR, upload.id, etags)
    except StowageError as error:
        # Begun, but killed before its id in the bucket was recorded: the sweep removes it.
        if error.kind is not Kind.CONFLICT:
            raise
    else:
        acknowledged.send(upload.name)
