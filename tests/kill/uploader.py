"""A process that uploads and runs the jobs of an instance until it is killed, and what it sends."""

from __future__ import annotations

import random
import threading
from multiprocessing.connection import Connection
from pathlib import Path

from dashboard.errors import Kind, StowageError
from dashboard.services.files.receiving.new_uploads import NewUpload
from dashboard.services.files.receiving.upload_rows import UploadInfo, UploadState
from dashboard.services.services import Services
from tests.services.composed import composed
from tests.services.console import OPERATOR

PIECE = 256 * 1024
SIZES = (0, 1, 1000, 70_000, 400_000, 1_500_000)
LARGE = 9_000_000
"""Above what drivers store in one request."""


def content_of(name: str) -> bytes:
    """The content of an upload with this name, the same in every process."""
    noise = random.Random(name)
    size = LARGE if name.endswith("7.dat") else noise.choice(SIZES)
    # No kind of file begins like this.
    return b"\x00" * min(size, 8) + noise.randbytes(max(0, size - 8))


def upload_until_killed(instance: str, first: int, acknowledged: Connection) -> None:
    """Go on with every unfinished upload, then begin new ones; send the name of each acknowledged one."""
    with composed(Path(instance)) as services:
        runner = threading.Thread(target=services.runner.run_forever, args=(threading.Event(),), daemon=True)
        runner.start()
        acknowledged.send("")
        for upload in services.uploads.list(OPERATOR, limit=200):
            if upload.state is UploadState.RECEIVING:
                _send(services, upload, acknowledged)
        for number in range(first, first + 100_000):
            name = f"file-{number}.dat"
            new = NewUpload(name, len(content_of(name)))
            _send(services, services.uploads.create(OPERATOR, new), acknowledged)


def _send(services: Services, upload: UploadInfo, acknowledged: Connection) -> None:
    data = content_of(upload.name)
    try:
        while upload.state is UploadState.RECEIVING:
            upload, offset = services.uploads.offset(OPERATOR, upload.id)
            with services.uploads.append(OPERATOR, upload.id, offset=offset) as receiver:
                receiver.write(data[offset : offset + PIECE])
                upload = receiver.finish()
    except StowageError as error:
        # Nothing of it was acknowledged.
        if error.kind is not Kind.NOT_FOUND:
            raise
    else:
        acknowledged.send(upload.name)
