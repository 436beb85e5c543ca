"""The same engine against Azure's emulator, with a key and with a SAS token."""

from __future__ import annotations

from pathlib import Path

import pytest

from dashboard.migration.types import Verify
from tests.migration.round_trip import round_trip
from tests.servers.azurite import Azurite
from tests.servers.drivers import azure_on


@pytest.mark.parametrize("signed", ["key", "sas"])
def test_there_and_back_again_with_checksums(tmp_path: Path, azurite: Azurite, signed: str) -> None:
    container = azurite.new_container()
    credential = azurite.key if signed == "key" else azurite.sas(container, "racwdl")
    round_trip(tmp_path, azure_on(azurite, container, credential), Verify.CHECKSUM)
