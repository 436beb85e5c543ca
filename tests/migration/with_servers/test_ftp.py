"""The same engine against FTP servers, which tell no checksums and cannot create without replacing."""

from __future__ import annotations

from pathlib import Path

import pytest

from dashboard.migration.types import Action, ObjectState, OnConflict, Spec, Verify
from dashboard.storage.drivers.local.driver import LocalDriver
from tests.migration.round_trip import migrate, round_trip
from tests.servers.drivers import ftp_on, new_folder
from tests.servers.ftp import FtpServer
from tests.storage.objects import get, keys_of


@pytest.mark.parametrize("name", ["ftp_server", "ftps_server"])
def test_there_and_back_again_over_ftp(tmp_path: Path, name: str, request: pytest.FixtureRequest) -> None:
    server: FtpServer = request.getfixturevalue(name)
    round_trip(tmp_path, ftp_on(server, new_folder(server.root)), Verify.CHECKSUM)


def test_both_are_kept_where_nothing_can_be_created_only(tmp_path: Path, ftp_server: FtpServer) -> None:
    here = tmp_path / "here"
    here.mkdir()
    for key in ("taken", "free"):
        (here / key).write_bytes(b"ours")
    place = ftp_on(ftp_server, new_folder(ftp_server.root))
    place.put("taken", b"theirs")
    spec = Spec(workers=2, on_conflict=OnConflict.KEEP_BOTH)
    ledgers = migrate(tmp_path / "ledgers", LocalDriver(str(here)), place, spec)
    rows = {row.key: row for row in ledgers.rows()}
    assert {row.state for row in rows.values()} == {ObjectState.VERIFIED}
    assert rows["taken"].action is Action.KEEP_BOTH
    ledgers.close()
    (beside,) = set(keys_of(place)) - {"taken", "free"}
    assert (get(place, "taken"), get(place, beside), get(place, "free")) == (b"theirs", b"ours", b"ours")
    place.close()
