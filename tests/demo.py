"""``make demo``: a console with a local S3 server, two backends and sample files, ready to be played with.

Everything lies under ``.demo/`` and is made anew at every start.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import sys
from pathlib import Path

from dashboard.app import open_services
from dashboard.errors import StowageError
from dashboard.services.backends.backends import Draft
from dashboard.services.permissions import Actor, Role
from dashboard.services.services import Services
from dashboard.serving import serve
from dashboard.settings import Settings, SettingsError
from dashboard.storage.types import Secret
from tests.servers.seaweedfs import SeaweedFS

FOLDER = Path(__file__).resolve().parent.parent / ".demo"
FILES = 320
ALREADY_THERE = 48
"""So many are in the bucket from the start: something to compare and to skip."""
BUCKET = "demo-files"
ACTOR = Actor("demo-admin", Role.ADMIN, "cli")

_KINDS = (
    ("photos/2024/harbour-{:03}.jpg", 80_000, 900_000),
    ("photos/2025/market-{:03}.jpg", 80_000, 900_000),
    ("documents/invoices/invoice-{:03}.pdf", 4_000, 60_000),
    ("documents/Über uns/page {:03}.txt", 200, 4_000),
    ("logs/web-{:03}.log", 10_000, 200_000),
)


def sample_files(seed: int = 7) -> dict[str, bytes]:
    """Keys and contents of mixed sizes, the same at every start; a few large ones among them."""
    rng = random.Random(seed)
    samples = {}
    for number in range(FILES):
        name, smallest, largest = _KINDS[number % len(_KINDS)]
        samples[name.format(number)] = rng.randbytes(rng.randint(smallest, largest))
    samples["videos/launch.mp4"] = rng.randbytes(24 * 1024 * 1024)
    samples["empty/.keep"] = b""
    return samples


def prepare(settings: Settings, server: SeaweedFS) -> None:
    """Set the console up and fill both backends."""
    services = open_services(settings)
    try:
        server.client().create_bucket(Bucket=BUCKET)
        services.setup.prepare_demo()
        services.backends.add(
            ACTOR,
            Draft(
                "demo-bucket",
                "s3",
                {
                    "endpoint": server.endpoint,
                    "region": "us-east-1",
                    "bucket": BUCKET,
                    "access_key_id": server.admin.access_key,
                    "path_style": "true",
                },
                {"secret_access_key": Secret(server.admin.secret_key)},
            ),
        )
        _fill(services)
        services.backends.refresh(ACTOR)
    finally:
        services.close()


def _fill(services: Services) -> None:
    samples = sample_files()
    local, bucket = (services.backends.driver(name) for name in ("local-disk", "demo-bucket"))
    for number, (key, content) in enumerate(samples.items()):
        with local.write(key, size=len(content)) as writing:
            writing.write(content)
            writing.commit()
        if number < ALREADY_THERE:
            bucket.put(key, content)


def _free(settings: Settings) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return probe.connect_ex((settings.host, settings.port)) != 0


def main() -> None:
    """Run until Ctrl-C or SIGTERM; the S3 server ends with the console."""
    # Until the console is up, SIGTERM has to unwind like Ctrl-C, or the S3 server would be left behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    # For the processes that are started, too.
    os.environ["STOWAGE_DEMO"] = "1"
    settings = Settings.from_env(instance=FOLDER / "instance", key_file=FOLDER / "instance" / "stowage.key")
    if settings.port and not _free(settings):
        settings = Settings.from_env(instance=settings.instance, key_file=settings.key_file, port=0)
    print("Starting the local S3 server and making sample files ...", flush=True)
    with SeaweedFS(folder=FOLDER / "s3") as server:
        prepare(settings, server)
        print("Choose on the sign-in page who you are; no password is needed.", flush=True)
        serve(settings, lambda line: print(line, flush=True))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(1)
    except (StowageError, SettingsError) as error:
        sys.exit(str(error))
