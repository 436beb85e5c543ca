"""A process that uploads and runs the jobs of an instance until it is killed, and what it sends."""

from __future__ import annotations

import io
import os
import random
import signal
import threading
from functools import cache
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from PIL import Image

from dashboard.errors import Kind, StowageError
from dashboard.media.scan import EICAR
from dashboard.services.files.receiving.new_uploads import NewUpload
from dashboard.services.files.receiving.upload_rows import UploadInfo, UploadState
from dashboard.services.services import Services
from tests.services.composed import composed
from tests.services.console import OPERATOR

PIECE = 256 * 1024
SIZES = (0, 1, 1000, 70_000, 400_000, 1_500_000)
LARGE = 9_000_000
"""Above what drivers store in one request."""


@cache
def content_of(name: str) -> bytes:
    """The content of an upload with this name, the same in every process."""
    if name.endswith(".jpg"):
        return _picture(name)
    if is_infected(name):
        return EICAR + name.encode()
    noise = random.Random(name)
    size = LARGE if name.endswith("7.dat") else noise.choice(SIZES)
    # No kind of file begins like this.
    return b"\x00" * min(size, 8) + noise.randbytes(max(0, size - 8))


def is_infected(name: str) -> bool:
    """Whether the scanner has to refuse it."""
    return name.endswith("5.dat")


def _picture(name: str) -> bytes:
    noise, file = random.Random(name), io.BytesIO()
    colour = (noise.randrange(256), noise.randrange(256), noise.randrange(256))
    Image.new("RGB", (noise.randrange(160, 900), noise.randrange(160, 900)), colour).save(file, "JPEG")
    return file.getvalue()


def upload_until_killed(instance: str, clamav: str, first: int, acknowledged: Connection) -> None:
    """Go on with every unfinished upload, then begin new ones; send the name of each acknowledged one."""
    with composed(Path(instance), clamav=clamav) as services:
        runner = threading.Thread(target=services.runner.run_forever, args=(threading.Event(),), daemon=True)
        runner.start()
        acknowledged.send("")
        for upload in services.uploads.list(OPERATOR, limit=200):
            if upload.state is UploadState.RECEIVING:
                _send(services, upload, acknowledged)
        for number in range(first, first + 100_000):
            name = f"file-{number}.{'jpg' if number % 3 == 2 else 'dat'}"
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


def kill_and_collect(process: BaseProcess, acknowledged: Connection) -> set[str]:
    """Kill an uploading process with ``kill -9``; the names that it had acknowledged by then."""
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    names = set()
    while acknowledged.poll():
        try:
            names.add(acknowledged.recv())
        except EOFError:
            break
    return names
