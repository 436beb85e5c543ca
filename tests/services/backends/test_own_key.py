"""A backend whose provider encrypts with the customer's own key, as the services see it."""

from __future__ import annotations

import base64
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dashboard.errors import InvalidInput, StowageError
from dashboard.services.backends.values import Draft
from dashboard.services.services import Services
from dashboard.storage.checks.wrappers import new_encryption_key
from dashboard.storage.errors import StorageError
from dashboard.storage.types import Secret
from tests.servers.processes import free_ports
from tests.servers.seaweedfs import SeaweedFS
from tests.services.composed import composed
from tests.services.console import ADMIN
from tests.services.test_canary import assert_absent

KEY = new_encryption_key()


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    with composed(tmp_path / "instance") as services:
        yield services


def drafted(server: SeaweedFS, bucket: str, key: Secret | None = KEY, **more: str) -> Draft:
    options = {
        "endpoint": server.endpoint,
        "bucket": bucket,
        "access_key_id": server.admin.access_key,
        "sse": "SSE-C",
        **more,
    }
    secrets = {"secret_access_key": Secret(server.admin.secret_key)}
    return Draft("mine", "s3", options, secrets | ({"sse_customer_key": key} if key else {}))


def edit(services: Services, draft: Draft) -> None:
    services.backends.edit(ADMIN, Draft("mine", "s3", draft.options, draft.secrets, existing="mine"))


def test_the_key_is_kept_never_replaced_and_never_switched_off(
    services: Services, seaweedfs: SeaweedFS
) -> None:
    bucket = seaweedfs.new_bucket("own-key")
    services.backends.add(ADMIN, drafted(seaweedfs, bucket))
    services.backends.driver("mine").put("a", b"hello")
    edit(services, drafted(seaweedfs, bucket, None))
    edit(services, drafted(seaweedfs, bucket, KEY))
    with pytest.raises(InvalidInput, match="has another") as caught:
        edit(services, drafted(seaweedfs, bucket, new_encryption_key()))
    assert caught.value.subject == "sse_customer_key"
    with pytest.raises(InvalidInput, match="could not be read without it") as caught:
        edit(services, drafted(seaweedfs, bucket, None, sse="none"))
    assert caught.value.subject == "sse"
    forgetting = replace(
        drafted(seaweedfs, bucket, None), existing="mine", cleared=frozenset({"sse_customer_key"})
    )
    with pytest.raises(InvalidInput, match="that key is needed"):
        services.backends.edit(ADMIN, forgetting)
    with services.backends.driver("mine").read("a") as reading:
        assert reading.read_all() == b"hello"


def test_another_server_is_not_sent_the_key_unasked(services: Services, seaweedfs: SeaweedFS) -> None:
    bucket = seaweedfs.new_bucket("own-key")
    services.backends.add(ADMIN, drafted(seaweedfs, bucket))
    elsewhere = drafted(seaweedfs, bucket, None, endpoint="http://127.0.0.1:9")
    with pytest.raises(InvalidInput, match="decides where this secret is sent") as caught:
        edit(services, elsewhere)
    assert caught.value.subject == "sse_customer_key"


def test_the_key_is_found_nowhere(
    services: Services, seaweedfs: SeaweedFS, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for chatty in ("", "botocore", "urllib3"):
        caplog.set_level(logging.DEBUG, logger=chatty or None)
    bucket, key = seaweedfs.new_bucket("own-key"), KEY.reveal()
    draft = drafted(seaweedfs, bucket)
    shown = [repr(draft), repr(services.backends.add(ADMIN, draft))]
    steps = {step.name: step for step in services.probes.run(ADMIN, "mine")}
    assert {step.state for step in steps.values()} == {"passed", "skipped"}
    shown += [repr(steps), repr(services.backends.get("mine"))]
    with pytest.raises(StowageError) as caught:
        services.backends.add(ADMIN, drafted(seaweedfs, bucket, Secret(key + "x")))
    shown += [repr(caught.value), str(caught.value.as_dict())]
    shown += [repr(row) for row in services.audit.rows(limit=100)]
    raw = base64.b64decode(key)
    for path in (tmp_path / "instance").rglob("*"):
        if path.is_file():
            assert_absent(key, path.name, path.read_bytes())
            assert raw not in path.read_bytes()
    assert_absent(key, "the log", caplog.text.encode())
    assert_absent(key, "what was shown", "\n".join(shown).encode())


def test_nothing_of_it_waits_where_a_provider_could_read_it(
    services: Services, seaweedfs: SeaweedFS, tmp_path: Path
) -> None:
    (port,) = free_ports(1)
    away = drafted(seaweedfs, "bucket", endpoint=f"http://127.0.0.1:{port}", fallback="true")
    services.backends.add(ADMIN, away)
    for name, more in (("open", {}), ("vault", {"encrypt": "true"})):
        (tmp_path / name).mkdir()
        secrets = {"encryption_key": new_encryption_key()} if more else {}
        services.backends.add(ADMIN, Draft(name, "local", {"root": str(tmp_path / name), **more}, secrets))
    services.backends.fallback_order(ADMIN, ["open"])
    driver = services.backends.driver("mine")
    with pytest.raises(StorageError):
        driver.put("a", b"not for others")
    services.backends.fallback_order(ADMIN, ["open", "vault"])
    driver.put("a", b"not for others")
    assert not any(path.is_file() for path in (tmp_path / "open").rglob("*"))
    assert any(path.is_file() for path in (tmp_path / "vault").rglob("*"))
