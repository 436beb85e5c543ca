"""A console that has been in use for months: five backends of which two are in trouble, migrations in every
state, people, links, tokens, duplicates, backups and history. For the browser tests and the pictures in
``docs/screens/``."""

from __future__ import annotations

import hashlib
import io
import math
import random
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image, ImageDraw
from sqlalchemy import insert

from dashboard.app import open_services
from dashboard.media.policy import UploadPolicy
from dashboard.migration.types import Spec, Verify
from dashboard.models.history import checks, totals
from dashboard.services.backends.values import Draft
from dashboard.services.backups.backup_values import BackupSchedule
from dashboard.services.catalogue.file_values import FileFacts
from dashboard.services.history.history_values import KEPT_SECONDS
from dashboard.services.notifications.notification_values import ChannelDraft, ChannelKind
from dashboard.services.permissions import Actor, Role
from dashboard.services.services import Services
from dashboard.services.switching.activation import Switch
from dashboard.settings import Settings
from dashboard.storage.types import Secret
from tests.servers.faults import FaultProxy
from tests.servers.seaweedfs import SeaweedFS

PASSWORD = "a few unrelated words"
MARIA = Actor("maria", Role.ADMIN, "web", "192.0.2.17")
HOUR, DAY = 3600, 86400


@dataclass(frozen=True)
class Furnished:
    """Where things are: the instance, an S3 server that takes seconds for each object under ``frames/``, and
    the numbers that its addresses need."""

    instance: Path
    slow: str
    clean: int
    with_failures: int
    ready: int
    blocked: int
    paused: int
    cancelled: int
    running: int
    link: int
    duplicates: int
    shared: int
    backup: str


@contextmanager
def furnish(folder: Path, server: SeaweedFS, *, seed: int = 11) -> Iterator[Furnished]:
    """Make the console in ``folder``; it may be started as often as one likes while the block lasts. One of
    its migrations runs very slowly, through a proxy that delays each object."""
    with ExitStack() as stack:
        proxy = stack.enter_context(FaultProxy(server.endpoint))
        services = open_services(Settings.from_env({}, instance=folder / "instance"))
        try:
            furnished = _fill(services, server, proxy, folder, random.Random(seed))
        finally:
            services.close()
        proxy.delay(4.0, method="PUT", key="frames", times=None)
        yield furnished


def _fill(
    services: Services, server: SeaweedFS, proxy: FaultProxy, folder: Path, dice: random.Random
) -> Furnished:
    services.setup.complete(services.setup.issue_code(), MARIA.name, PASSWORD)
    _add_people(services)
    _write_files(Path(services.backends.get("local-disk").options["root"]), dice)
    _add_backends(services, server, proxy, folder)
    clean = _migrated(services, "local-disk", "media-s3", Spec(exclude=("frames/**",)))
    services.activation.activate(MARIA, "media-s3", Switch(seen_active="local-disk"))
    numbers = _add_migrations(services, Path(services.backends.get("local-disk").options["root"]))
    services.backends.fallback_order(MARIA, ("local-disk", "archive"))
    for backend in services.backends.list():
        if services.checks.check_backend(backend.id):
            services.checks.count_backend(backend.id, lambda: False)
    _add_history(services, dice)
    for name in ("local-disk", "media-s3", "old-ftp"):
        list(services.probes.run(MARIA, name))
    group = _add_duplicates(services)
    link = services.links.create(MARIA, "local-disk", "photos/harbour-01.jpg", seconds=DAY, uses=3).info.id
    services.tokens.create(MARIA, "nightly backup", ["view", "metrics"])
    services.upload_policies.save(MARIA, "avatars", UploadPolicy(), create=True)
    _add_channel(services)
    services.backups.change_schedule(MARIA, BackupSchedule(True, 24, 7, "local-disk"))
    return Furnished(
        instance=folder / "instance",
        slow=proxy.endpoint,
        clean=clean,
        link=link,
        duplicates=group,
        shared=services.usage.several.contents()[0].id,
        backup=_add_environment(services),
        **numbers,
    )


def _add_people(services: Services) -> None:
    for name, role in (("otto", Role.OPERATOR), ("vera", Role.VIEWER), ("ann.smith", Role.VIEWER)):
        services.accounts.add(MARIA, name, PASSWORD, role)
    services.accounts.set_disabled(MARIA, "ann.smith", True)


def _write_files(root: Path, dice: random.Random) -> None:
    def write(key: str, content: bytes) -> None:
        path = root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    for number in range(24):
        write(f"photos/harbour-{number:02}.jpg", picture(number))
    for number in range(40):
        write(f"documents/invoices/invoice-{number:03}.pdf", dice.randbytes(dice.randint(4_000, 60_000)))
        write(f"logs/web-{number:03}.log", dice.randbytes(dice.randint(10_000, 90_000)))
    for number in range(300):
        write(f"frames/frame-{number:04}.bin", dice.randbytes(3_000))
    write("documents/Über uns/page 1.txt", b"<b>bold</b>\n")
    write("videos/launch.mp4", dice.randbytes(6 << 20))
    write("report.html", b"<script>alert(1)</script>")
    for key in ("copies/harbour.jpg", "copies/old/harbour.jpg", "photos/harbour copy.jpg"):
        write(key, picture(0))


def picture(seed: int, size: tuple[int, int] = (480, 320)) -> bytes:
    """A small JPEG of a harbour at some time of the day."""
    dice = random.Random(seed)
    sky = tuple(dice.randrange(120, 250) for _ in range(3))
    image = Image.new("RGB", size, sky)
    draw = ImageDraw.Draw(image)
    across, down = size
    x, y = dice.randrange(across), dice.randrange(down // 3)
    draw.ellipse((x - 30, y - 10, x + 30, y + 50), fill=(255, 244, 214))
    sea = tuple(dice.randrange(30, 120) for _ in range(3))
    draw.rectangle((0, down * 2 // 3, across, down), fill=sea)
    for _ in range(3):
        left = dice.randrange(across)
        draw.polygon(
            ((left, down * 2 // 3), (left + 60, down * 2 // 3), (left + 30, down // 3)), fill=(250, 250, 248)
        )
    held = io.BytesIO()
    image.save(held, "JPEG")
    return held.getvalue()


def _add_backends(services: Services, server: SeaweedFS, proxy: FaultProxy, folder: Path) -> None:
    def bucket(name: str, endpoint: str, access: object, **more: str) -> None:
        options = {"endpoint": endpoint, "bucket": server.new_bucket(name), "region": "eu-central-1", **more}
        options["access_key_id"] = access.access_key  # type: ignore[attr-defined]
        secrets = {"secret_access_key": Secret(access.secret_key)}  # type: ignore[attr-defined]
        services.backends.add(MARIA, Draft(name, "s3", options, secrets))

    bucket("media-s3", server.endpoint, server.admin)
    bucket("slow-s3", proxy.endpoint, server.admin)
    bucket("partner-s3", server.endpoint, server.reader)
    (folder / "archive").mkdir()
    services.backends.add(MARIA, Draft("archive", "local", {"root": str(folder / "archive")}, {}))
    ftp = {"host": "127.0.0.1", "port": "9", "user": "archive", "tls": "none"}
    services.backends.add(MARIA, Draft("old-ftp", "ftp", ftp, {"password": Secret("not-the-password")}))


def _planned(services: Services, source: str, destination: str, spec: Spec) -> int:
    number = services.migrations.create(MARIA, source, destination, spec)
    services.runner.run_job_until_final(number, lambda _: None)
    return number


def _migrated(services: Services, source: str, destination: str, spec: Spec) -> int:
    number = _planned(services, source, destination, spec)
    services.migrations.approve(MARIA, number)
    services.runner.run_job_until_final(number, lambda _: None)
    return number


def _add_migrations(services: Services, root: Path) -> dict[str, int]:
    failing = _planned(services, "local-disk", "archive", Spec(prefix="documents/"))
    # What disappears after the plan fails, with a reason that a person can act on.
    for number in (3, 7, 9):
        (root / f"documents/invoices/invoice-{number:03}.pdf").unlink()
    services.migrations.approve(MARIA, failing)
    services.runner.run_job_until_final(failing, lambda _: None)
    paused = _planned(services, "media-s3", "archive", Spec(prefix="photos/", verify=Verify.READBACK))
    services.migrations.approve(MARIA, paused)
    services.migrations.pause(MARIA, paused)
    cancelled = _planned(services, "local-disk", "archive", Spec(prefix="logs/"))
    services.migrations.cancel(MARIA, cancelled)
    blocked = _planned(services, "media-s3", "partner-s3", Spec())
    ready = _planned(services, "media-s3", "archive", Spec(prefix="logs/"))
    running = _planned(services, "local-disk", "slow-s3", Spec(workers=2))
    services.migrations.approve(MARIA, running)
    return {
        "with_failures": failing,
        "paused": paused,
        "cancelled": cancelled,
        "blocked": blocked,
        "ready": ready,
        "running": running,
    }


def _add_history(services: Services, dice: random.Random) -> None:
    """Checks of 90 days, a minute apart for the last one, and totals that grow."""
    now = time.time()
    with services.database.work_write() as connection:
        for backend in services.backends.list():
            down = backend.name == "old-ftp"
            answer = 0.4 if backend.preset == "local" else 30.0 + dice.random() * 20
            rows = list(_checks(backend.id, now, answer, down=down, dice=dice))
            connection.execute(insert(checks).prefix_with("OR REPLACE"), rows)
            objects, size = backend.status.objects or 0, backend.status.bytes or 0
            grown = [
                {
                    "backend_id": backend.id,
                    "seconds": DAY,
                    "at": _start(now - age * DAY, DAY),
                    "counted_at": now - age * DAY,
                    "objects": int(objects * (1 - age / 240)),
                    "bytes": int(size * (1 - age / 240)),
                }
                for age in range(1, 90)
            ]
            grown += [
                {**row, "seconds": HOUR, "at": _start(float(str(row["counted_at"])), HOUR)}
                for row in grown[:30]
            ]
            connection.execute(insert(totals).prefix_with("OR REPLACE"), grown)


def _checks(
    backend_id: int, now: float, answer: float, *, down: bool, dice: random.Random
) -> Iterator[dict[str, object]]:
    for period, kept in KEPT_SECONDS.items():
        for age in range(min(kept, 90 * DAY) // period):
            at = now - age * period
            failed = down and now - at < 5 * HOUR
            slow = not failed and dice.random() < 0.01
            times = answer * (1 + 0.3 * math.sin(at / HOUR) + dice.random() * 0.3) * (6 if slow else 1)
            yield {
                "backend_id": backend_id,
                "seconds": period,
                "at": _start(at, period),
                "up": int(not failed and not slow),
                "slow": int(slow),
                "down": int(failed),
                "answers": int(not failed),
                "answer_sum": 0.0 if failed else times,
                "answer_max": 0.0 if failed else times * 1.4,
            }


def _start(at: float, period: int) -> int:
    return int(at) - int(at) % period


def _add_duplicates(services: Services) -> int:
    backend = services.backends.get("local-disk")
    driver = services.backends.driver(backend.name)
    facts = []
    for entry in driver.list():
        with driver.read(entry.key) as reading:
            digest = hashlib.sha256(b"".join(reading.chunks())).hexdigest()
        found = driver.stat(entry.key)
        facts.append(
            FileFacts(backend.id, entry.key, found.size, found.modified, found.etag or "", sha256=digest)
        )
    (photo,) = (each for each in facts if each.key == "photos/harbour-01.jpg")
    elsewhere = services.backends.driver("media-s3").stat(photo.key)
    values = {"modified": elsewhere.modified, "etag": elsewhere.etag or ""}
    facts.append(replace(photo, backend_id=services.backends.get("media-s3").id, **values))
    services.catalogue.record(facts)
    services.usage.summing_up.run()
    return services.usage.reports.duplicates()[0].id


def _add_channel(services: Services) -> None:
    """Switched off: nothing is sent from here."""
    url = Secret("https://hooks.example.org/stowage")
    draft = ChannelDraft("ops", ChannelKind.WEBHOOK, {}, {"url": url}, enabled=False)
    services.notifications.channels.save(MARIA, draft)


def _add_environment(services: Services) -> str:
    editor = services.environment
    editor.save(MARIA, {"STOWAGE_UPLOAD_QUOTA": "2000000000"})
    editor.save(MARIA, {"STOWAGE_UPLOAD_QUOTA": "4000000000", "STOWAGE_LOG_LEVEL": "info"})
    return editor.backups(MARIA)[0].id
