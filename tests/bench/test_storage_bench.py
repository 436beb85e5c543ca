"""The storage bench runs, checks what it measured and keeps a report. How fast anything is, is not tested."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("psutil", reason="the bench extra is not installed")

from bench.sites import SERVERS, site_of
from bench.storage import arguments, main
from bench.storage_report import Result, summarise
from bench.storage_work import CASES, PEERS, ClientError, Load, Timed, Worker, clients_of


def test_drivers_are_measured_beside_their_peers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--quick", "--driver", "local", "--driver", "ftp", "--results", str(tmp_path)]) == 0

    (kept,) = tmp_path.glob("*.json")
    summary = json.loads(kept.read_text())["summary"]
    for driver, peer in (("local", "open()"), ("ftp", "ftplib")):
        lines = [line for line in summary if line["driver"] == driver]
        assert {(line["case"], line["client"]) for line in lines} == {
            (case, client) for case in CASES for client in ("stowage", peer)
        }
        assert all(line["speed"] > 0 for line in lines if line["client"] == peer)
    assert kept.with_suffix(".md").read_text() == capsys.readouterr().out


def test_a_client_that_reads_something_else_ends_the_session() -> None:
    ours, _ = clients_of("local")
    with site_of("local") as site, Worker(ours, site, Load(3, 1 << 20, 1)) as worker:
        worker.prepare("folder")
        worker.do("put small", "folder")
        worker.do("put large", "folder")
        worker.check("folder")
        Path(site.options["root"], "folder", "object-000001").write_bytes(b"something else")

        with pytest.raises(ClientError, match="object-000001"):
            worker.check("folder")
        with pytest.raises(ClientError, match="get small"):
            worker.do("get small", "folder")


def test_every_driver_has_a_server_and_a_peer() -> None:
    assert set(PEERS) == set(SERVERS)


def test_a_peer_that_takes_twice_as_long_is_a_ratio_of_two() -> None:
    results = [
        Result("s3", "list", client, number, Timed(wall, wall / 4, 10, 100, number))
        for client, walls in (("stowage", (1.0, 1.5, 9.0)), ("boto3", (3.0, 2.0, 4.0)))
        for number, wall in enumerate(walls)
    ]

    ours, theirs = summarise(results)

    assert (ours.speed, ours.work, ours.growth) == (None, None, 2)
    assert (theirs.speed, theirs.work, theirs.median) == (2.0, 2.0, 3.0)


def test_quick_is_little_of_everything() -> None:
    options = arguments(["--quick"])

    assert (options.rounds, options.objects, options.large_mib, options.keys) == (1, 40, 4, 300)
