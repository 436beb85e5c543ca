"""Moving away from servers that tell no more than size and time: nothing goes unless both sides agree."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dashboard.migration.types import Outcome, Spec, State
from dashboard.storage.driver import Driver
from tests.migration.ledgers import MemoryLedgers
from tests.migration.scenario import LARGE, Scenario, contents
from tests.migration.test_changing import rewrite
from tests.servers.drivers import ftp_on, new_folder, sftp_on, webdav_at
from tests.servers.ftp import FtpServer
from tests.servers.sftp import SftpServer
from tests.servers.webdav import WebDAV

Place = tuple[Driver, Path]


def on_sftp(request: pytest.FixtureRequest) -> Place:
    server: SftpServer = request.getfixturevalue("sftp_server")
    root = new_folder(server.root)
    return sftp_on(server, root), server.root / root.strip("/")


def on_ftp(request: pytest.FixtureRequest) -> Place:
    server: FtpServer = request.getfixturevalue("ftp_server")
    root = new_folder(server.root)
    return ftp_on(server, root), server.root / root.strip("/")


def on_webdav(request: pytest.FixtureRequest) -> Place:
    server: WebDAV = request.getfixturevalue("webdav_server")
    root = server.new_folder()
    return webdav_at(server.endpoint, root), server.files / root


@pytest.mark.parametrize("place", [on_sftp, on_ftp, on_webdav])
def test_a_file_rewritten_in_place_on_a_server_is_kept(
    tmp_path: Path, request: pytest.FixtureRequest, place: Callable[[pytest.FixtureRequest], Place]
) -> None:
    scenario = Scenario(tmp_path, MemoryLedgers())
    source, folder = place(request)
    for key in ("quiet", "rewritten", "in/a folder"):
        source.put(key, b"a" * 5000)
    source.put("large", b"a" * LARGE)
    scenario.source = source  # type: ignore[assignment]

    def interfere(verb: str, key: str) -> None:
        if verb == "list" and scenario.states[-1] is State.VERIFYING:
            rewrite(folder / "rewritten", b"b" * 5000)

    scenario.destination.hook = interfere
    assert scenario.run(Spec(workers=3, delete_source=True)).outcome is Outcome.WITH_SKIPS
    assert set(contents(folder)) == {"rewritten"}
    assert (folder / "rewritten").read_bytes() == b"b" * 5000
    assert set(contents(scenario.there)) == {"quiet", "rewritten", "in/a folder", "large"}
    row = scenario.rows()["rewritten"]
    assert (row.kind, row.deleted) == ("changed", False)
    source.close()
