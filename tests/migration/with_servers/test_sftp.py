"""The same engine against an SFTP server, which tells no checksums and takes a few connections."""

from __future__ import annotations

from pathlib import Path

from dashboard.migration.types import Verify
from tests.migration.round_trip import round_trip
from tests.servers.drivers import new_folder, sftp_on
from tests.servers.sftp import SftpServer


def test_there_and_back_again_over_sftp(tmp_path: Path, sftp_server: SftpServer) -> None:
    place = sftp_on(sftp_server, new_folder(sftp_server.root), connections="3")
    round_trip(tmp_path, place, Verify.CHECKSUM)
