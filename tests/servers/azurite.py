"""Azurite, Microsoft's emulator of Azure Blob Storage, where Node and its package are there.

``make test`` installs it (see ``.ci/install-azurite``); without it the tests that need it are skipped and
say why.
"""

from __future__ import annotations

import base64
import secrets
import shutil
import sys
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import urllib3
from azure.storage.blob import ContainerClient, ContainerSasPermissions, generate_container_sas

from tests.servers.processes import TemporaryServer

ACCOUNT = "stowagetests"
SCRIPT = Path(sys.prefix) / "azurite" / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"

_numbers = count(1)


def why_not() -> str:
    """Why Azurite cannot be had here; empty when it can."""
    if shutil.which("node") is None:
        return "Azurite needs Node, which is not installed here"
    if not SCRIPT.exists():
        return "Azurite is not installed; `make test` does it where npm is there"
    return ""


class Azurite(TemporaryServer):
    """A blob service in its own process, for as long as a ``with`` block lasts."""

    name = "azurite"

    def command(self, port: int) -> list[str]:
        """See ``TemporaryServer``."""
        # Made to look like the secret that no test may ever find printed.
        self.key = base64.b64encode(b"secret-not-for-use" + secrets.token_bytes(46)).decode()
        self.endpoint = f"http://127.0.0.1:{port}/{ACCOUNT}"
        node = shutil.which("node")
        assert node
        options = ["--blobHost", "127.0.0.1", "--blobPort", str(port), "--location", str(self.folder)]
        flags = ["--skipApiVersionCheck", "--loose", "--silent", "--disableTelemetry"]
        return ["env", f"AZURITE_ACCOUNTS={ACCOUNT}:{self.key}", node, str(SCRIPT), *options, *flags]

    def new_container(self) -> str:
        """Make an empty container under a fresh name."""
        name = f"container-{next(_numbers)}"
        self.client(name).create_container()
        return name

    def client(self, container: str) -> ContainerClient:
        """The vendor's own client."""
        credential = {"account_name": ACCOUNT, "account_key": self.key}
        return ContainerClient(self.endpoint, container, credential=credential)

    def sas(self, container: str, permission: str) -> str:
        """A token for one container, good for an hour."""
        return generate_container_sas(
            ACCOUNT,
            container,
            account_key=self.key,
            permission=ContainerSasPermissions.from_string(permission),
            expiry=datetime.now(UTC) + timedelta(hours=1),
        )

    def answers(self) -> bool:
        """See ``TemporaryServer``."""
        try:
            return urllib3.request("GET", self.endpoint, retries=False, timeout=2).status < 500
        except urllib3.exceptions.HTTPError:
            return False
