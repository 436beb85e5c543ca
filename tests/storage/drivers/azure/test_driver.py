"""Azure beyond the contract: signing in, block uploads, keys, copies, errors."""

from __future__ import annotations

import hashlib
import socket
import time
from collections.abc import Iterator

import pytest
from azure.storage.blob import ContentSettings

from dashboard.errors import InvalidInput, Kind
from dashboard.storage.driver import SMALL, Driver
from dashboard.storage.drivers.azure.driver import AzureDriver
from dashboard.storage.drivers.azure.options import parse_credential
from dashboard.storage.errors import (
    Changed,
    ContainerMissing,
    Exists,
    InvalidKey,
    NotFound,
    StorageError,
    Unsupported,
)
from dashboard.storage.net.retries import limit_attempts
from dashboard.storage.registry import build, check_options, summary
from dashboard.storage.types import Attributes, Secret
from tests.servers.azurite import ACCOUNT, Azurite
from tests.servers.drivers import azure_on
from tests.servers.faults import FaultProxy
from tests.servers.hostile.dialects import CONTENT, AzureDialect
from tests.servers.hostile.http import HostileHttpServer
from tests.servers.processes import free_ports
from tests.storage.objects import content_of, get, keys_of, stream
from tests.storage.probing import failed_step, run, states, step_of

DATA = content_of(5000)
LARGE = content_of(2 * SMALL + 500_000)
KEY = "c2VjcmV0LW5vdC1mb3ItdXNl" * 3


@pytest.fixture
def container(azurite: Azurite) -> str:
    return azurite.new_container()


@pytest.fixture
def blobs(azurite: Azurite, container: str) -> Iterator[AzureDriver]:
    driver = azure_on(azurite, container, azurite.key)
    assert isinstance(driver, AzureDriver)
    yield driver
    driver.close()


@pytest.fixture
def proxy(azurite: Azurite) -> Iterator[FaultProxy]:
    with FaultProxy(azurite.endpoint.removesuffix(f"/{ACCOUNT}")) as proxy:
        yield proxy


@pytest.fixture
def broken(azurite: Azurite, container: str, proxy: FaultProxy) -> Iterator[Driver]:
    """A driver that talks through the fault proxy."""
    driver = azure_on(azurite, container, azurite.key, endpoint=f"{proxy.endpoint}/{ACCOUNT}")
    yield driver
    driver.close()


def fails(call: object, *arguments: object) -> StorageError:
    with pytest.raises(StorageError) as caught:
        call(*arguments)  # type: ignore[operator]
    assert caught.value.reason.endswith(".")
    return caught.value


# Signing in


def test_a_key_a_token_and_a_connection_string_all_sign_in(azurite: Azurite, container: str) -> None:
    token = azurite.sas(container, "racwdl")
    for credential in (
        azurite.key,
        token,
        f"?{token}",
        f"{azurite.endpoint}/{container}?{token}",
        f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={azurite.key};"
        f"BlobEndpoint={azurite.endpoint};",
        f"BlobEndpoint={azurite.endpoint};SharedAccessSignature={token}",
    ):
        driver = azure_on(azurite, container, credential)
        driver.put("a", DATA)
        assert get(driver, "a") == DATA
        driver.close()


@pytest.mark.parametrize(
    ("credential", "field"),
    [
        ("not a key", "credential"),
        ("c2hvcnQ=", "credential"),
        ("AccountName=test1;EndpointSuffix=core.windows.net", "credential"),
        (f"AccountName=other;AccountKey={KEY}", "account"),
    ],
)
def test_what_cannot_be_a_credential_is_refused_without_repeating_it(credential: str, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_options("azure", {"account": "test1", "container": "media"}, {"credential": Secret(credential)})
    assert caught.value.subject == field
    assert credential not in str(caught.value.as_dict())


def test_the_kinds_of_credentials_are_distinguished() -> None:
    assert parse_credential("test1", Secret(KEY)).account_key == Secret(KEY)
    assert parse_credential("test1", Secret("sv=1&sig=x%3D")).sas_token == Secret("sv=1&sig=x%3D")
    assert KEY not in repr(parse_credential("test1", Secret(KEY)))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("account", "My-Account"),
        ("container", "a--b"),
        ("container", "x"),
        ("container", "a" * 64),
        ("endpoint", "https://evil.example/path"),
        ("endpoint", "http://169.254.169.254"),
        ("prefix", "a/../b"),
        ("access_tier", "Archive"),
    ],
)
def test_what_cannot_be_an_option_is_refused(field: str, value: str) -> None:
    options = {"account": "test1", "container": "media", field: value}
    with pytest.raises(InvalidInput) as caught:
        check_options("azure", options, {"credential": Secret(KEY)})
    assert caught.value.subject == field


def test_public_azure_needs_no_endpoint() -> None:
    secrets = {"credential": Secret(KEY)}
    options = check_options("azure", {"account": "test1", "container": "media"}, secrets)
    driver = build("azure", options, secrets)
    assert isinstance(driver, AzureDriver)
    assert driver.address() == ("test1.blob.core.windows.net", 443, True)
    assert summary("azure", options) == "media on test1"
    assert check_options("azure", options, secrets) == options
    driver.close()


# The connection test


def test_a_good_connection_passes_every_step(blobs: Driver) -> None:
    result = run(blobs)
    assert result.passed
    assert set(states(result).values()) == {"passed"}


def test_a_wrong_key_a_wrong_port_and_a_missing_container(azurite: Azurite, container: str) -> None:
    step = failed_step(run(azure_on(azurite, container, KEY)), "authenticate")
    assert "does not accept" in step.message
    (port,) = free_ports(1)
    elsewhere = azure_on(azurite, container, azurite.key, endpoint=f"http://127.0.0.1:{port}/{ACCOUNT}")
    failed_step(run(elsewhere), "connect")
    missing = azure_on(azurite, "not-there-yet", azurite.key)
    result = run(missing)
    failed_step(result, "bucket")
    assert result.can_create_bucket
    for call in (lambda: keys_of(missing), lambda: get(missing, "a"), lambda: missing.put("a", b"x")):
        with pytest.raises(ContainerMissing):
            call()
    assert isinstance(missing, AzureDriver)
    missing.create_bucket()
    assert run(missing).passed


def test_a_token_that_may_only_read_can_be_copied_from(
    azurite: Azurite, container: str, blobs: Driver
) -> None:
    blobs.put("a", DATA)
    result = run(azure_on(azurite, container, azurite.sas(container, "rl")))
    assert states(result)["write"] == "failed"
    assert "Create and Write" in step_of(result, "write").remedy
    assert "copied from" in step_of(result, "read").message


# Writing


def test_a_large_object_goes_in_blocks_and_keeps_its_md5(blobs: Driver) -> None:
    stream(blobs, "big", LARGE)
    info = blobs.stat("big")
    assert (info.size, info.md5) == (len(LARGE), hashlib.md5(LARGE).hexdigest())
    assert get(blobs, "big") == LARGE


def test_a_service_that_returns_the_md5_of_blocks_proves_a_large_write(
    blobs: AzureDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = blobs._client
    stage = client.stage

    def as_azure_does(key: str, block: str, data: memoryview, sent: bytes) -> str | None:
        stage(key, block, data, sent)
        return hashlib.md5(data).hexdigest()

    monkeypatch.setattr(client, "stage", as_azure_does)
    with blobs.write("big", size=len(LARGE)) as writing:
        writing.without_md5()
        writing.write(LARGE)
        written = writing.commit()
    assert written.proven
    assert written.md5 == ""
    monkeypatch.setattr(client, "stage", lambda *a: stage(*a) and None)
    with blobs.write("big", size=len(LARGE)) as writing:
        writing.write(LARGE)
        assert not writing.commit().proven


def test_the_service_refuses_a_damaged_block(blobs: AzureDriver) -> None:
    with pytest.raises(StorageError):
        blobs._client.stage("big", "x" * 40, memoryview(DATA), hashlib.md5(b"other").digest())


def test_an_interrupted_block_upload_leaves_no_object(blobs: Driver) -> None:
    with blobs.write("big", size=len(LARGE)) as writing:
        writing.write(LARGE)
    assert keys_of(blobs) == []
    assert blobs.sweep(["big"], since=time.time() - 60) == 0
    with pytest.raises(NotFound):
        blobs.stat("big")


def test_create_only_holds_for_block_uploads(blobs: Driver) -> None:
    with blobs.write("big", size=len(LARGE), create_only=True) as writing:
        writing.write(LARGE)
        blobs.put("big", b"first")
        with pytest.raises(Exists):
            writing.commit()
    assert get(blobs, "big") == b"first"


def test_the_access_tier_is_given_to_every_object(azurite: Azurite, container: str) -> None:
    driver = azure_on(azurite, container, azurite.key, access_tier="Cool")
    driver.put("small", DATA)
    stream(driver, "large", LARGE)
    for key in ("small", "large"):
        assert azurite.client(container).get_blob_client(key).get_blob_properties().blob_tier == "Cool"
    driver.close()


def test_metadata_of_any_name_comes_back(blobs: Driver) -> None:
    metadata = {"plain": "x y", "x-dash": "1", "1st": "2", "größe": "drei €", "empty": "", "stowage_x": "y"}
    for key, write in (("a", blobs.put), ("b", None)):
        wanted = Attributes(content_type="text/plain", content_encoding="gzip", metadata=metadata)
        if write:
            write(key, DATA, attributes=wanted)
        else:
            with blobs.write(key, attributes=wanted) as writing:
                writing.write(LARGE)
                writing.commit()
        held = blobs.stat(key).attributes
        assert dict(held.metadata) == metadata
        assert (held.content_type, held.content_encoding) == ("text/plain", "gzip")
    # Content that claims to be compressed is not decompressed in transit.
    assert get(blobs, "a") == DATA
    assert get(blobs, "b") == LARGE


def test_a_blob_others_wrote_without_md5_is_read(blobs: Driver, azurite: Azurite, container: str) -> None:
    other = azurite.client(container).get_blob_client("other")
    other.stage_block("one", DATA)
    other.commit_block_list(["one"], content_settings=ContentSettings(content_type="text/x-mine"))
    assert get(blobs, "other") == DATA
    assert blobs.stat("other").attributes.content_type == "text/x-mine"


# Keys and versions


@pytest.mark.parametrize(
    "key", ["back\\slash", "dot.", "a./b", "..", "x" * 1025, "a\x7f", "/".join("a" * 255)]
)
def test_names_azure_would_change_are_refused(blobs: Driver, key: str) -> None:
    with pytest.raises(InvalidKey) as caught:
        blobs.put(key, DATA)
    assert caught.value.subject == key


def test_an_object_replaced_while_it_is_read_has_changed(blobs: Driver) -> None:
    stream(blobs, "big", LARGE)
    with blobs.read("big") as reading:
        pieces = reading.chunks()
        next(pieces)
        stream(blobs, "big", LARGE[::-1])
        with pytest.raises(Changed):
            list(pieces)


def test_copies_need_the_same_account_and_its_key(azurite: Azurite, container: str, blobs: Driver) -> None:
    token = azure_on(azurite, container, azurite.sas(container, "racwdl"))
    assert isinstance(blobs, AzureDriver)
    assert isinstance(token, AzureDriver)
    other = azure_on(azurite, azurite.new_container(), azurite.key, "deep/")
    assert isinstance(other, AzureDriver)
    assert not token.can_copy_from(token)
    blobs.put("ä b", DATA, attributes=Attributes(content_type="text/x-mine"))
    written = other.copy_from(blobs, "ä b", "c", if_version=blobs.stat("ä b").version)
    assert written.proven
    assert get(other, "c") == DATA
    other.close()


def test_folders_of_a_hierarchical_account_are_no_objects(
    blobs: AzureDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Azurite has no such accounts, so the entry that Azure lists for a folder is written by the test."""
    blobs.put("a", b"", attributes=Attributes(metadata={"hdi_isfolder": "true"}))
    blobs.put("a/b", DATA, attributes=Attributes(metadata={"other": "1"}))
    assert keys_of(blobs) == ["a", "a/b"]
    monkeypatch.setattr(blobs._client, "_folders", True)
    assert keys_of(blobs) == ["a/b"]


# Errors


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (403, "AuthenticationFailed", Kind.BAD_CREDENTIALS),
        (403, "AuthorizationPermissionMismatch", Kind.DENIED),
        (403, "KeyBasedAuthenticationNotPermitted", Kind.DENIED),
        (409, "BlobImmutableDueToPolicy", Kind.DENIED),
        (400, "InvalidBlockList", Kind.CHANGED),
        (400, "Md5Mismatch", Kind.DAMAGED),
        (503, "ServerBusy", Kind.THROTTLED),
    ],
)
def test_each_refusal_has_its_kind(
    broken: Driver, proxy: FaultProxy, status: int, code: str, kind: Kind
) -> None:
    proxy.answer(status, code, method="PUT", times=None)
    error = fails(broken.put, "a", DATA)
    assert (error.kind, error.operation, error.subject) == (kind, "write", "a")
    proxy.clear()
    assert keys_of(broken) == []


def test_a_caller_that_retries_limits_the_requests(broken: Driver, proxy: FaultProxy) -> None:
    busy = proxy.answer(503, "ServerBusy", method="PUT", times=None)
    with limit_attempts(2):
        fails(lambda: broken.put("a", DATA))
    assert busy.hits == 2
    with limit_attempts(1):
        fails(stream, broken, "a", LARGE)
    # Some of the three blocks, each once.
    assert 3 <= busy.hits <= 5


def test_transient_errors_are_retried(broken: Driver, proxy: FaultProxy) -> None:
    proxy.answer(503, "ServerBusy", method="PUT")
    assert broken.put("a", DATA).proven
    proxy.answer(503, "ServerBusy", method="GET")
    assert get(broken, "a") == DATA


def test_a_truncated_response_is_never_a_complete_object(broken: Driver, proxy: FaultProxy) -> None:
    broken.put("a", DATA)
    proxy.truncate(1000, key="/a", times=None)
    error = fails(get, broken, "a")
    assert error.retryable


def test_a_name_that_leads_to_a_metadata_address_is_not_connected_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    secrets = {"credential": Secret(KEY)}
    driver = build(
        "azure", check_options("azure", {"account": "test1", "container": "media"}, secrets), secrets
    )
    found = [(2, 1, 6, "", ("169.254.169.254", 443))]
    monkeypatch.setattr("dashboard.storage.net.connecting.socket.getaddrinfo", lambda *a, **k: found)
    error = fails(driver.stat, "a")
    assert error.kind is Kind.DENIED
    assert "metadata" in error.reason
    driver.close()


def test_only_the_accounts_key_signs_addresses(azurite: Azurite) -> None:
    container = azurite.new_container()
    driver = azure_on(azurite, container, azurite.sas(container, "racwdl"))
    assert isinstance(driver, AzureDriver)
    with pytest.raises(Unsupported) as caught:
        driver.temporary_url("a", seconds=60)
    assert "account's key" in caught.value.reason
    with pytest.raises(Unsupported):
        driver.upload_url("a", seconds=60)


def test_a_blob_moves_to_another_tier(azurite: Azurite) -> None:
    driver = azure_on(azurite, azurite.new_container(), azurite.key)
    assert isinstance(driver, AzureDriver)
    driver.put("a", b"x", attributes=Attributes("text/plain"))
    driver.set_tier("a", "Cool")
    assert driver.tier("a") == "Cool"
    assert driver.stat("a").attributes.content_type == "text/plain"
    driver.set_tier("a", "Archive")
    with pytest.raises(StorageError) as caught, driver.read("a"):
        pass
    assert "archived" in caught.value.reason


@pytest.mark.parametrize(
    "tags", [{"": "x"}, {"a" * 129: "x"}, {"a": "x" * 257}, {str(n): "" for n in range(11)}, {"ü": "b"}]
)
def test_tags_that_azure_cannot_store_are_refused(azurite: Azurite, tags: dict[str, str]) -> None:
    driver = azure_on(azurite, azurite.new_container(), azurite.key)
    assert isinstance(driver, AzureDriver)
    driver.put("a", b"x")
    with pytest.raises(InvalidInput):
        driver.set_tags("a", tags)
    assert driver.tags("a") == {}


@pytest.mark.parametrize("host", ["LOCALHOST", "bücher.invalid"])
def test_the_server_is_the_same_in_every_spelling_of_its_name(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dialect, asked = AzureDialect(), []

    def connected(name: str, port: int, addresses: object) -> socket.socket:
        asked.append(name)
        return socket.create_connection(("127.0.0.1", port))

    monkeypatch.setattr("dashboard.storage.net.http1.resolve", lambda name, port: [])
    monkeypatch.setattr("dashboard.storage.net.http1.connect", connected)
    with HostileHttpServer(dialect.answer) as liar:
        driver = dialect.driver(f"http://{host}:{liar.port}")
        assert [entry.key for entry in driver.list()] == ["a"]
        assert driver.stat("a").size == len(CONTENT)
        driver.close()
    assert asked
