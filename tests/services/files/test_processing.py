"""Complete uploads on their way to a backend: what is refused, how names are chosen, and that nothing is
lost, doubled or half visible whatever fails."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from sqlalchemy import update

from dashboard.errors import Kind, StowageError
from dashboard.media.policy import DEFAULT, OnConflict, UploadPolicy
from dashboard.models.catalogue import uploads as table
from dashboard.services.files.receiving import processing as processing_module
from dashboard.services.files.receiving.new_uploads import NewUpload
from dashboard.services.files.receiving.storing import Storing
from dashboard.services.files.receiving.upload_handler import ReceivedFile, UploadHandler, UploadRefused
from dashboard.services.files.receiving.upload_rows import UploadInfo, UploadState
from dashboard.services.services import Services
from dashboard.storage.errors import StorageError
from dashboard.storage.types import Written
from tests.servers.processes import wait_until
from tests.services.composed import add_local, running
from tests.services.console import ADMIN, OPERATOR
from tests.services.files.conftest import send

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c4944415408d763f8cfc000000301"
    "0100c9fe92ef0000000049454e44ae426082"
)


def process(services: Services, upload_id: str, handler: UploadHandler | None = None) -> UploadInfo:
    services.uploads.process(upload_id, handler)
    return services.uploads.get(OPERATOR, upload_id)


def stored(services: Services) -> dict[str, bytes]:
    driver = services.backends.driver("local-disk", label="test")
    return {entry.key: driver.read(entry.key).read_all() for entry in driver.list()}


def quarantined(services: Services) -> list[str]:
    return sorted(path.name for path in (services.settings.instance / "uploads").iterdir())


def use(services: Services, **changes: Any) -> None:
    services.upload_policies.save(ADMIN, "default", replace(DEFAULT, **changes))


def test_an_upload_becomes_a_file_of_the_catalogue(services: Services) -> None:
    done = process(services, send(services, b"hello", "a.txt", folder="notes"))
    assert (done.state, done.percent, done.key) == (UploadState.DONE, 100, "notes/a.txt")
    assert stored(services) == {"notes/a.txt": b"hello"}
    assert quarantined(services) == []
    assert done.file_id is not None
    file = services.catalogue.get(done.file_id)
    assert (file.key, file.size, file.owner) == ("notes/a.txt", 5, OPERATOR.name)
    assert file.sha256 == hashlib.sha256(b"hello").hexdigest()
    assert file.content_type == "text/plain"


def until_done(services: Services, upload_id: str) -> None:
    def done() -> bool:
        return services.uploads.get(OPERATOR, upload_id).state is UploadState.DONE

    wait_until(done, seconds=60, what="the upload is done")


def test_the_runner_does_it_by_itself(services: Services) -> None:
    upload_id = send(services, b"hello")
    with running(services):
        until_done(services, upload_id)
        until_done(services, send(services, b"", "empty.txt"))
    assert stored(services) == {"a.txt": b"hello", "empty.txt": b""}


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        ("photo.jpg", PNG, Kind.WRONG_TYPE),
        ("photo.png", b"<html><script>alert(1)</script></html>", Kind.WRONG_TYPE),
        ("page.txt", b"\x7fELF\x02\x01\x01" + bytes(60), Kind.WRONG_TYPE),
        ("notes", b"#!/bin/sh\nrm -rf /\n", Kind.WRONG_TYPE),
    ],
)
def test_content_that_is_not_what_its_name_says_is_refused(
    services: Services, name: str, data: bytes, kind: Kind
) -> None:
    refused = process(services, send(services, data, name))
    assert refused.state is UploadState.REFUSED
    assert refused.error is not None
    assert (refused.error.kind, refused.error.reason[-1]) == (kind, ".")
    assert stored(services) == {}
    assert quarantined(services) == []


def test_a_taken_name(services: Services) -> None:
    late = send(services, b"second")
    process(services, send(services, b"first"))
    refused = process(services, late)
    assert refused.error is not None
    assert (refused.state, refused.error.kind) == (UploadState.REFUSED, Kind.CONFLICT)
    with pytest.raises(StowageError) as error:
        send(services, b"third")
    assert error.value.kind is Kind.CONFLICT, "before its bytes come"
    use(services, on_conflict=OnConflict.RENAME)
    assert process(services, send(services, b"second")).key == "a (2).txt"
    assert process(services, send(services, b"third")).key == "a (3).txt"
    use(services, on_conflict=OnConflict.REPLACE)
    assert process(services, send(services, b"fourth")).key == "a.txt"
    assert stored(services) == {"a.txt": b"fourth", "a (2).txt": b"second", "a (3).txt": b"third"}


def test_names_by_date_and_at_random(services: Services) -> None:
    use(services, organise_by_date=True, unique_names=True)
    keys = [process(services, send(services, b"x", "a.txt", folder="in")).key for _ in range(2)]
    assert len(set(keys)) == 2
    for key in keys:
        folder, year, month, day, name = key.split("/")
        assert (folder, len(year), len(month), len(day)) == ("in", 4, 2, 2)
        assert name.startswith("a-")
        assert name.endswith(".txt")


class Marked(UploadHandler):
    """Refuses what says so; stores the rest in capitals, under another name."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.seen: list[dict[str, bytes]] = []

    def validate(self, file: ReceivedFile) -> None:
        self.seen.append(stored(self.services))
        with file.open() as content:
            if b"refuse me" in content.read():
                raise UploadRefused("This is not wanted here.", "Send another one.")

    def process(self, file: ReceivedFile, output: BinaryIO) -> bool:
        with file.open() as content:
            output.write(content.read().upper())
        return True

    def name(self, file: ReceivedFile) -> str:
        return f"../{file.sha256[:8]}.txt"


def test_a_handler_of_ones_own(services: Services) -> None:
    handler = Marked(services)
    done = process(services, send(services, b"hello"), handler)
    assert stored(services) == {"2cf24dba.txt": b"HELLO"}
    assert done.sha256 == hashlib.sha256(b"HELLO").hexdigest()
    assert handler.seen == [{}], "nothing can be read before it is done"
    refused = process(services, send(services, b"refuse me"), handler)
    assert refused.error is not None
    assert (refused.state, refused.error.reason) == (UploadState.REFUSED, "This is not wanted here.")
    assert quarantined(services) == []


class _Killed(BaseException):
    """Ends the work where it is, as a kill would."""


def kill_before(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    def die(*_: object, **__: object) -> None:
        raise _Killed

    monkeypatch.setattr(Storing, method, die)


@pytest.mark.parametrize("moment", ["decide", "_write", "_prove", "_record"])
@pytest.mark.parametrize("conflict", list(OnConflict))
def test_a_kill_between_two_steps_repeats_only_what_is_missing(
    services: Services, monkeypatch: pytest.MonkeyPatch, moment: str, conflict: OnConflict
) -> None:
    use(services, on_conflict=conflict)
    handled = conflict is OnConflict.RENAME
    handler = Marked(services) if handled else None
    upload_id = send(services, b"hello")
    with monkeypatch.context() as patch:
        kill_before(patch, moment)
        with pytest.raises(_Killed):
            services.uploads.process(upload_id, handler)
    assert services.catalogue.find("local-disk", "a.txt") is None
    done = process(services, upload_id, handler)
    assert done.state is UploadState.DONE
    assert list(stored(services).values()) == [b"HELLO" if handled else b"hello"]
    assert quarantined(services) == []


def test_a_key_that_somebody_else_takes_meanwhile_is_left_alone(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(services, on_conflict=OnConflict.RENAME)
    driver = services.backends.driver("local-disk", label="other")
    original = Storing._write

    def late(self: Storing, *args: Any, **options: Any) -> Any:
        monkeypatch.setattr(Storing, "_write", original)
        driver.put("a.txt", b"theirs")
        return original(self, *args, **options)

    monkeypatch.setattr(Storing, "_write", late)
    assert process(services, send(services, b"ours")).key == "a (2).txt"
    assert stored(services) == {"a.txt": b"theirs", "a (2).txt": b"ours"}


def test_two_uploads_of_one_name_at_once_get_two_names(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(services, on_conflict=OnConflict.RENAME)
    first, second = send(services, b"one"), send(services, b"one")
    with monkeypatch.context() as patch:
        kill_before(patch, "_write")
        with pytest.raises(_Killed):
            services.uploads.process(first)
    assert process(services, second).key == "a (2).txt"
    assert process(services, first).key == "a.txt"


class Faulty:
    """A driver whose ``put`` behaves as told."""

    def __init__(self, inner: Any, put: Callable[..., Written]) -> None:
        self._inner = inner
        self.put = put

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def breaking(
    services: Services, monkeypatch: pytest.MonkeyPatch, put: Callable[..., Written]
) -> pytest.MonkeyPatch:
    """From now on every driver stores with ``put(inner, key, data, …)``."""
    original = services.backends.driver

    def driver(name: str, *, label: str = "") -> Any:
        inner = original(name, label=label)
        return Faulty(inner, lambda *args, **options: put(inner, *args, **options))

    monkeypatch.setattr(
        type(services.backends), "driver", lambda self, name, *, label="": driver(name, label=label)
    )
    return monkeypatch


def down() -> StorageError:
    return StorageError(Kind.UNREACHABLE, "The server cannot be reached.", operation="write")


def due_now(services: Services) -> None:
    with services.database.work_write() as connection:
        connection.execute(update(table).values(not_before=0.0))


def test_a_dead_backend_is_tried_again_and_then_the_upload_has_failed(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    def put(*_: Any, **__: Any) -> Written:
        raise down()

    upload_id = send(services, b"hello")
    with monkeypatch.context() as patch:
        breaking(services, patch, put)
        for _ in processing_module.DELAYS:
            waiting = process(services, upload_id)
            assert waiting.state is UploadState.STORING
            assert waiting.not_before > waiting.updated_at
            due_now(services)
        failed = process(services, upload_id)
    assert failed.error is not None
    assert (failed.state, failed.error.kind) == (UploadState.FAILED, Kind.UNREACHABLE)
    assert quarantined(services) == [upload_id], "it can still be tried again"
    services.uploads.retry(OPERATOR, upload_id)
    assert process(services, upload_id).state is UploadState.DONE
    assert stored(services) == {"a.txt": b"hello"}


def test_a_lost_response_does_not_store_twice(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    use(services, on_conflict=OnConflict.RENAME)

    def put(inner: Any, *args: Any, **options: Any) -> Written:
        inner.put(*args, **options)
        raise down()

    upload_id = send(services, b"hello")
    with monkeypatch.context() as patch:
        breaking(services, patch, put)
        assert process(services, upload_id).state is UploadState.STORING
    due_now(services)
    assert process(services, upload_id).key == "a.txt"
    assert stored(services) == {"a.txt": b"hello"}


def test_a_backend_that_stores_other_bytes_has_stored_nothing(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    def put(inner: Any, key: str, data: bytes, **options: Any) -> Written:
        written: Written = inner.put(key, data[::-1], **options)
        return replace(written, expected_checksum=None, stored_checksum=None)

    upload_id = send(services, b"hello")
    with monkeypatch.context() as patch:
        breaking(services, patch, put)
        assert process(services, upload_id).state is UploadState.STORING
    assert stored(services) == {}
    due_now(services)
    assert process(services, upload_id).state is UploadState.DONE
    assert stored(services) == {"a.txt": b"hello"}


def test_bytes_that_change_in_the_quarantine_are_not_stored(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload_id = send(services, b"hello")
    with monkeypatch.context() as patch:
        kill_before(patch, "_write")
        with pytest.raises(_Killed):
            services.uploads.process(upload_id)
    (services.settings.instance / "uploads" / upload_id).write_bytes(b"other")
    process(services, upload_id)
    assert stored(services) == {}


def test_a_failed_upload_that_was_stored_after_all_is_withdrawn(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    def put(inner: Any, *args: Any, **options: Any) -> Written:
        inner.put(*args, **options)
        raise StorageError(Kind.INTERNAL, "Nobody knows.", operation="write", retryable=False)

    monkeypatch.setattr(processing_module, "DELAYS", ())
    upload_id = send(services, b"hello")
    breaking(services, monkeypatch, put)
    assert process(services, upload_id).state is UploadState.FAILED
    assert stored(services) == {}


def expire(services: Services) -> None:
    with services.database.work_write() as connection:
        connection.execute(update(table).values(expires_at=0.0))


def test_the_sweep_removes_what_nobody_continues(
    services: Services, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    begun = services.uploads.create(OPERATOR, NewUpload("a.txt", 10)).id
    done = send(services, b"hello", "b.txt")
    process(services, done)
    orphan = services.settings.instance / "uploads" / ("0" * 32)
    orphan.write_bytes(b"x")
    assert services.uploads.sweep() == 0, "everything is recent"
    expire(services)
    with services.uploads.append(OPERATOR, begun, offset=0):
        services.uploads.sweep()
        assert services.uploads.get(OPERATOR, begun), "it is being received"
    expire(services)
    monkeypatch.setattr("dashboard.services.files.receiving.sweeping.ORPHAN_SECONDS", -1.0)
    with caplog.at_level(logging.INFO):
        services.uploads.sweep()
    assert quarantined(services) == []
    assert services.uploads.list(OPERATOR) == ()
    assert any(begun in record.getMessage() for record in caplog.records)
    assert stored(services) == {"b.txt": b"hello"}, "what is done stays"


def test_an_upload_of_a_program_that_ended_has_failed(services: Services) -> None:
    failed = process(services, send(services, b"hello", method="library"))
    assert failed.state is UploadState.FAILED
    assert stored(services) == {}


def test_a_removed_backend(services: Services, tmp_path: Path) -> None:
    add_local(services, "other", tmp_path / "other")
    upload_id = send(services, b"hello", backend="other")
    services.backends.remove(ADMIN, "other")
    ended = process(services, upload_id)
    assert ended.error is not None
    assert (ended.state, ended.error.kind) == (UploadState.REFUSED, Kind.CONFLICT)


def test_a_policy_that_is_gone_is_the_default(services: Services) -> None:
    services.upload_policies.save(ADMIN, "photos", UploadPolicy(on_conflict=OnConflict.RENAME))
    upload_id = send(services, b"hello", policy="photos")
    services.upload_policies.remove(ADMIN, "photos")
    assert process(services, upload_id).state is UploadState.DONE
