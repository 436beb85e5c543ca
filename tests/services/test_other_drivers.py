"""Backends on other protocols than S3, saved and used through the services, on real servers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dashboard.errors import InvalidInput
from dashboard.services.backends import Draft
from dashboard.storage.types import Secret
from tests.servers.azurite import ACCOUNT, Azurite
from tests.servers.webdav import PASSWORD, USER, WebDAV
from tests.services.console import ADMIN, Console


def used(console: Console, draft: Draft, moved: dict[str, str]) -> None:
    """Save, test, use; then the secret is demanded again by whoever points it somewhere else."""
    backends = console.services.backends
    info = backends.add(ADMIN, draft)
    (name,) = draft.secrets
    secret = draft.secrets[name].reveal()
    assert secret not in repr(info)
    assert [step.state for step in console.services.probes.run(ADMIN, draft.name)][-1] == "passed"
    driver = backends.driver(draft.name)
    driver.put("a", b"x")
    assert [entry.key for entry in driver.list()] == ["a"]
    driver.close()
    blank = {name: Secret("")}
    edit = replace(draft, secrets=blank, existing=draft.name)
    assert backends.edit(ADMIN, edit).options == info.options
    with pytest.raises(InvalidInput) as caught:
        backends.edit(ADMIN, replace(edit, options={**draft.options, **moved}))
    assert caught.value.subject == name


def test_nextcloud(console: Console, webdav_server: WebDAV) -> None:
    options = {
        "endpoint": webdav_server.cloud_endpoint,
        "username": USER,
        "prefix": webdav_server.new_folder(),
    }
    draft = Draft("cloud", "nextcloud", options, {"password": Secret(PASSWORD)})
    used(console, draft, {"endpoint": "https://evil.example/remote.php/dav"})


def test_azure(console: Console, azurite: Azurite) -> None:
    options = {"account": ACCOUNT, "container": azurite.new_container(), "endpoint": azurite.endpoint}
    draft = Draft("blobs", "azure", options, {"credential": Secret(azurite.key)})
    used(console, draft, {"endpoint": "https://evil.example"})
