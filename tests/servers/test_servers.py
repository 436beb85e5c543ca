"""The servers that every other test leans on do what they say."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from tests.servers.faults import FaultProxy
from tests.servers.moto import MotoS3
from tests.servers.processes import wait_until
from tests.servers.s3 import client
from tests.servers.seaweedfs import SeaweedFS

BODY = bytes(range(256)) * 4096


def test_reader_may_read_and_list_but_not_write(seaweedfs: SeaweedFS) -> None:
    bucket = seaweedfs.new_bucket()
    seaweedfs.client().put_object(Bucket=bucket, Key="a", Body=b"hello")
    reader = seaweedfs.client(seaweedfs.reader)
    assert reader.get_object(Bucket=bucket, Key="a")["Body"].read() == b"hello"
    assert reader.list_objects_v2(Bucket=bucket)["KeyCount"] == 1
    with pytest.raises(ClientError, match="AccessDenied"):
        reader.put_object(Bucket=bucket, Key="b", Body=b"no")


def test_an_identity_added_later_is_known_at_once(seaweedfs: SeaweedFS) -> None:
    bucket = seaweedfs.new_bucket()
    writer = seaweedfs.client(seaweedfs.add_identity("writer", f"Write:{bucket}"))
    writer.put_object(Bucket=bucket, Key="a", Body=b"hello")
    with pytest.raises(ClientError, match="AccessDenied"):
        writer.get_object(Bucket=bucket, Key="a")


def test_moto_keeps_keys_that_others_bend(moto_s3: MotoS3) -> None:
    bucket = moto_s3.new_bucket()
    moto_s3.client().put_object(Bucket=bucket, Key="x//../y ", Body=b"odd")
    assert moto_s3.client().list_objects_v2(Bucket=bucket)["Contents"][0]["Key"] == "x//../y "


def test_the_proxy_passes_everything_through_when_nothing_is_wrong(
    seaweedfs: SeaweedFS, fault_proxy: FaultProxy
) -> None:
    bucket = seaweedfs.new_bucket()
    s3 = client(fault_proxy.endpoint)
    s3.put_object(Bucket=bucket, Key="größe/ü +%", Body=BODY)
    assert s3.get_object(Bucket=bucket, Key="größe/ü +%")["Body"].read() == BODY
    assert s3.head_object(Bucket=bucket, Key="größe/ü +%")["ContentLength"] == len(BODY)
    assert s3.list_objects_v2(Bucket=bucket)["Contents"][0]["Key"] == "größe/ü +%"
    s3.delete_object(Bucket=bucket, Key="größe/ü +%")
    assert ("DELETE", f"/{bucket}/größe/ü +%") in fault_proxy.seen


def test_the_proxy_breaks_what_it_was_told_to(seaweedfs: SeaweedFS, fault_proxy: FaultProxy) -> None:
    bucket = seaweedfs.new_bucket()
    s3 = client(fault_proxy.endpoint)
    s3.put_object(Bucket=bucket, Key="a", Body=BODY)

    fault_proxy.slow_down(key="/a")
    with pytest.raises(ClientError, match="SlowDown"):
        s3.get_object(Bucket=bucket, Key="a")
    fault_proxy.refuse_put(key="/b")
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.put_object(Bucket=bucket, Key="b", Body=b"x")
    fault_proxy.reset(key="/a")
    with pytest.raises(BotoCoreError):
        s3.get_object(Bucket=bucket, Key="a")
    fault_proxy.reset(key="/a", after=1000)
    with pytest.raises(BotoCoreError):
        s3.get_object(Bucket=bucket, Key="a")["Body"].read()
    fault_proxy.truncate(1000, key="/a")
    with pytest.raises(BotoCoreError):
        s3.get_object(Bucket=bucket, Key="a")["Body"].read()
    fault_proxy.truncate(1000, key="/a", with_length=False)
    assert s3.get_object(Bucket=bucket, Key="a")["Body"].read() == BODY[:1000]
    fault_proxy.flip(5000, key="/a")
    flipped = s3.get_object(Bucket=bucket, Key="a")["Body"].read()
    assert len(flipped) == len(BODY)
    assert hashlib.md5(flipped).digest() != hashlib.md5(BODY).digest()
    assert s3.get_object(Bucket=bucket, Key="a")["Body"].read() == BODY


def test_a_server_does_not_outlive_a_killed_test_run(tmp_path: Path) -> None:
    code = (
        "import pathlib, sys, time; from tests.servers.processes import ServerProcess; "
        f"here = pathlib.Path({str(tmp_path)!r}); "
        "server = ServerProcess(['sleep', '300'], cwd=here, log=here / 'log'); "
        "print(server.pid, flush=True); time.sleep(300)"
    )
    root = Path(__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", code], cwd=root, stdout=subprocess.PIPE) as run:
        assert run.stdout
        server = int(run.stdout.readline())
        os.kill(server, 0)
        run.kill()
        run.wait()

    def gone() -> bool:
        with suppress(ProcessLookupError):
            os.kill(server, 0)
            return "Z" in Path(f"/proc/{server}/stat").read_text().rpartition(")")[2][:3]
        return True

    wait_until(gone, seconds=60, what="the server gone")
