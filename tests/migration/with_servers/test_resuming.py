"""A large object whose copy was killed goes on with the parts that the server has."""

from __future__ import annotations

import hashlib
import os
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dashboard.migration.leftovers import sweep_interrupted
from dashboard.migration.plan import plan
from dashboard.migration.run import MigrationJob, run
from dashboard.migration.types import Control, ObjectState, Outcome, Spec
from dashboard.storage.driver import SMALL
from dashboard.storage.drivers.local.driver import LocalDriver
from dashboard.storage.types import Attributes
from tests.migration.ledgers import SqlLedgers
from tests.servers.drivers import s3_on
from tests.servers.faults import FaultProxy
from tests.servers.seaweedfs import SeaweedFS

DATA = random.Random(4).randbytes(3 * SMALL + 5)
KEY = "large.bin"


class KilledCopy:
    """A migration whose process died while it sent a large object."""

    def __init__(self, folder: Path, server: SeaweedFS, proxy: FaultProxy) -> None:
        self.proxy, self.s3, self.bucket = proxy, server.client(), server.new_bucket()
        (folder / "here").mkdir()
        self.path = folder / "here" / KEY
        self.path.write_bytes(DATA)
        self.source = LocalDriver(str(folder / "here"))
        self.place = s3_on(server, self.bucket, "", endpoint=proxy.endpoint)
        self.ledgers = SqlLedgers(folder)
        ledger = self.ledgers.open()
        ledger.begin()
        assert plan(self.source, self.place, Spec(), ledger, lambda: False)
        assert [row.key for row in ledger.claim(10, time.time())] == [KEY]

    def send(self, *parts: bytes) -> str:
        """What the dead process has sent."""
        names = {"Bucket": self.bucket, "Key": KEY}
        upload: str = self.s3.create_multipart_upload(**names, ContentType="application/octet-stream")[
            "UploadId"
        ]
        for number, data in enumerate(parts, 1):
            self.s3.upload_part(**names, UploadId=upload, PartNumber=number, Body=data)
        return upload

    def resume(self, **spec: Any) -> Outcome | None:
        """Run it again, in a process of today."""
        self.proxy.clear()
        result = run(
            MigrationJob(1, Spec(**spec), lambda: True, "source"),
            self.source,
            self.place,
            self.ledgers.open(),
            lambda: Control.RUN,
            on_state=lambda *state: None,
        )
        return result.outcome

    @property
    def sent(self) -> list[int]:
        """The parts that travelled."""
        sent = [target for method, target in self.proxy.seen if method == "PUT" and "partNumber" in target]
        return sorted(int(target.partition("partNumber=")[2].partition("&")[0]) for target in sent)

    def assert_arrived(self, data: bytes) -> None:
        [row] = self.ledgers.rows()
        assert row.state is ObjectState.VERIFIED
        assert self.s3.get_object(Bucket=self.bucket, Key=KEY)["Body"].read() == data
        assert self.s3.list_multipart_uploads(Bucket=self.bucket).get("Uploads", []) == []


@pytest.fixture
def killed(tmp_path: Path, seaweedfs: SeaweedFS, fault_proxy: FaultProxy) -> Iterator[KilledCopy]:
    made = KilledCopy(tmp_path, seaweedfs, fault_proxy)
    yield made
    made.ledgers.close()
    made.place.close()


def part(number: int) -> bytes:
    return DATA[(number - 1) * SMALL : number * SMALL]


def test_parts_that_arrived_are_not_sent_again(killed: KilledCopy) -> None:
    killed.send()
    killed.send(part(1), part(2))
    assert killed.resume() is Outcome.CLEAN
    assert killed.sent == [3, 4]
    killed.assert_arrived(DATA)


def test_a_part_with_other_bytes_is_sent_again(killed: KilledCopy) -> None:
    killed.send(part(1), part(1), part(3)[:-1])
    assert killed.resume() is Outcome.CLEAN
    assert killed.sent == [2, 3, 4]
    killed.assert_arrived(DATA)


def test_parts_of_a_source_that_has_changed_since_are_removed(killed: KilledCopy) -> None:
    killed.send(part(1), part(2))
    killed.path.write_bytes(newer := DATA[::-1])
    assert killed.resume() is Outcome.CLEAN
    assert killed.sent == [1, 2, 3, 4]
    killed.assert_arrived(newer)


def test_parts_of_a_source_that_is_gone_are_removed(killed: KilledCopy) -> None:
    killed.send(part(1))
    killed.path.unlink()
    assert killed.resume() is Outcome.WITH_ERRORS
    assert killed.s3.list_multipart_uploads(Bucket=killed.bucket).get("Uploads", []) == []


def test_parts_are_removed_if_the_object_had_arrived_after_all(killed: KilledCopy) -> None:
    killed.send(part(1))
    with killed.place.write(KEY, size=len(DATA)) as writing:
        writing.write(DATA)
        writing.commit()
    assert killed.resume() is Outcome.CLEAN
    assert killed.sent == []
    killed.assert_arrived(DATA)


def test_uploads_from_before_and_of_others_are_left_alone(killed: KilledCopy) -> None:
    upload = killed.send(part(1))
    other = killed.s3.create_multipart_upload(Bucket=killed.bucket, Key=f"{KEY}.other")["UploadId"]
    held = Attributes(content_type="a/b")
    writing = killed.place.resume_write(KEY, size=len(DATA), since=time.time() + 60, attributes=held)
    with writing:
        writing.write(DATA)
        assert writing.commit().proven
    left = killed.s3.list_multipart_uploads(Bucket=killed.bucket)["Uploads"]
    assert sorted(each["UploadId"] for each in left) == sorted([upload, other])
    assert killed.place.stat(KEY).attributes == held


def test_a_server_that_lists_no_uploads_gets_everything(killed: KilledCopy) -> None:
    killed.send(part(1))
    killed.proxy.answer(501, "NotImplemented", key="uploads=", method="GET", times=None)
    writing = killed.place.resume_write(KEY, size=len(DATA), since=0)
    with writing:
        writing.write(DATA)
        written = writing.commit()
    assert written.md5 == hashlib.md5(DATA).hexdigest()
    assert killed.sent == [1, 2, 3, 4]


def test_a_small_object_asks_for_no_uploads(killed: KilledCopy) -> None:
    data = os.urandom(100)
    with killed.place.resume_write("small", size=100, since=0) as writing:
        writing.write(data)
        writing.commit()
    assert [method for method, target in killed.proxy.seen if "small" in target] == ["PUT"]


def test_what_another_carrier_takes_over_goes_on_with_the_parts_of_the_dead_one(killed: KilledCopy) -> None:
    killed.send(part(1), part(2))
    ledger = killed.ledgers.open()
    ledger.begin()
    sweep_interrupted(killed.place, ledger, "source", stop=threading.Event())
    assert killed.resume() is Outcome.CLEAN
    assert killed.sent == [3, 4]
    killed.assert_arrived(DATA)
