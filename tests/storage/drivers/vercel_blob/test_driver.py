"""Vercel Blob beyond the contract: tokens, outdated responses, keys it cannot store, errors."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dashboard.errors import InvalidInput, Kind
from dashboard.storage.driver import SMALL, Driver
from dashboard.storage.drivers.vercel_blob.driver import VercelBlobDriver
from dashboard.storage.errors import Changed, ContainerMissing, Exists, InvalidKey, StorageError, Unsupported
from dashboard.storage.library.backend import Backend
from dashboard.storage.net.http_client import HttpClient
from dashboard.storage.registry import build, check_options, find_preset, guarding, summary
from dashboard.storage.types import Attributes, Secret
from tests.servers.drivers import vercel_at
from tests.servers.faults import FaultProxy
from tests.servers.processes import free_ports
from tests.servers.vercel_blob import SUFFIX, VercelBlob
from tests.storage.objects import content_of, get, keys_of, stream
from tests.storage.probing import failed_step, run, states

DATA = content_of(5000)
LARGE = content_of(2 * SMALL + 500_000)
TOKEN = f"vercel_blob_rw_AbC123_{SUFFIX}"


def folder_of(token: str) -> str:
    """The fake server serves all its stores from one host, so each test has its own folder."""
    return f"for-{token.split('_')[3]}/"


@pytest.fixture
def token(vercel: VercelBlob) -> Iterator[str]:
    made = vercel.new_store()
    yield made
    vercel.forget(made)


@pytest.fixture
def blobs(vercel: VercelBlob, token: str) -> Iterator[VercelBlobDriver]:
    driver = vercel_at(vercel.endpoint, token, folder_of(token))
    assert isinstance(driver, VercelBlobDriver)
    yield driver
    driver.close()


@pytest.fixture
def proxy(vercel: VercelBlob) -> Iterator[FaultProxy]:
    with FaultProxy(vercel.endpoint.removesuffix("/api/blob")) as proxy:
        yield proxy


@pytest.fixture
def broken(token: str, proxy: FaultProxy) -> Iterator[Driver]:
    """A driver that talks through the fault proxy."""
    driver = vercel_at(f"{proxy.endpoint}/api/blob", token, folder_of(token))
    yield driver
    driver.close()


@pytest.mark.parametrize(
    "token", ["", "secret", "vercel_blob_client_AbC_12345678", "vercel_blob_rw_Ab/C_12345678", TOKEN + "é"]
)
def test_what_is_no_read_write_token_is_refused_without_repeating_it(token: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_options("vercel_blob", {"store": "AbC123"}, {"token": Secret(token)})
    assert caught.value.subject == "token"
    if token:
        assert token not in str(caught.value.as_dict()).replace("“vercel_blob_rw_”", "")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("access", "shared"),
        ("store", "store_AbC 123"),
        ("store", "store_Other"),
        ("endpoint", "https://vercel.example/other"),
        ("endpoint", "http://169.254.169.254/api/blob"),
        ("prefix", "a/../b"),
    ],
)
def test_what_cannot_be_an_option_is_refused(field: str, value: str) -> None:
    options = {"store": "AbC123", field: value}
    with pytest.raises(InvalidInput) as caught:
        check_options("vercel_blob", options, {"token": Secret(TOKEN)})
    assert caught.value.subject == field


def test_vercel_itself_needs_no_endpoint() -> None:
    secrets = {"token": Secret(TOKEN)}
    options = check_options("vercel_blob", {"store": "store_AbC123", "prefix": "a"}, secrets)
    assert check_options("vercel_blob", options, secrets) == options
    assert summary("vercel_blob", options) == "AbC123/a"
    driver = build("vercel_blob", options, secrets)
    assert isinstance(driver, VercelBlobDriver)
    assert driver.address() == ("vercel.com", 443, True)
    assert driver.url("ä b") == "https://abc123.public.blob.vercel-storage.com/a/%C3%A4%20b"
    assert "endpoint" in guarding(find_preset("vercel_blob"))
    driver.close()


def test_what_vercel_cannot_do_is_unsupported_with_a_reason(
    vercel: VercelBlob, blobs: VercelBlobDriver
) -> None:
    missing = vercel_at(vercel.endpoint, TOKEN)
    assert isinstance(missing, VercelBlobDriver)
    assert not missing.bucket_exists()
    private = Backend("private", vercel_at(vercel.endpoint, vercel.new_store("private"), access="private"))
    for call in (
        missing.create_bucket,
        lambda: private.url("a"),
        lambda: private.temporary_url("a"),
        lambda: blobs.temporary_url("a", seconds=60),
    ):
        with pytest.raises(Unsupported) as caught:
            call()
        assert caught.value.reason


@pytest.mark.parametrize("access", ["public", "private"])
def test_a_good_connection_passes_every_step(vercel: VercelBlob, access: str) -> None:
    driver = vercel_at(vercel.endpoint, vercel.new_store(access), f"{access}-probe", access=access)
    result = run(driver)
    assert result.passed
    assert set(states(result).values()) == {"passed"}
    driver.close()


def test_a_wrong_token_a_wrong_port_a_missing_store_and_the_other_access(
    vercel: VercelBlob, token: str
) -> None:
    wrong = token.replace(SUFFIX, "0123456789abcdef")
    step = failed_step(run(vercel_at(vercel.endpoint, wrong)), "authenticate")
    assert "does not accept this token" in step.message
    (port,) = free_ports(1)
    failed_step(run(vercel_at(f"http://127.0.0.1:{port}/api/blob", token)), "connect")
    step = failed_step(run(vercel_at(vercel.endpoint, TOKEN)), "authenticate")
    assert "no Vercel Blob store" in step.message
    with pytest.raises(ContainerMissing):
        keys_of(vercel_at(vercel.endpoint, TOKEN))
    private = run(vercel_at(vercel.endpoint, token, access="private"))
    assert states(private)["write"] == "failed"
    assert not private.passed


def test_an_outdated_public_blob_is_never_mistaken_for_the_new_one(blobs: Driver, vercel: VercelBlob) -> None:
    blobs.put("a", DATA)
    blobs.put("a", DATA[::-1])
    vercel.late = True
    try:
        for call in (lambda: get(blobs, "a"), lambda: blobs.read_range("a", 0, 10)):  # type: ignore[attr-defined]
            with pytest.raises(Changed) as caught:
                call()
            assert caught.value.retryable
        private = vercel_at(vercel.endpoint, vercel.new_store("private"), "late/", access="private")
        private.put("a", DATA)
        private.put("a", DATA[::-1])
        assert get(private, "a") == DATA[::-1]
    finally:
        vercel.late = False
    assert get(blobs, "a") == DATA[::-1]


def test_a_custom_cache_lifetime_is_kept(blobs: Driver) -> None:
    for key, asked, kept in (
        ("a", None, None),
        ("b", "max-age=3600", "max-age=3600"),
        ("c", "public, max-age=3600, immutable", "max-age=3600"),
        ("d", "no-store", None),
        ("e", "max-age=5", None),
        ("f", "s-maxage=90", None),
    ):
        blobs.put(key, DATA, attributes=Attributes(cache_control=asked))
        assert blobs.stat(key).attributes.cache_control == kept


@pytest.mark.parametrize(
    "key", ["a//b", "/a", "a/", "a/../b", ".", "back\\slash", "a\x7f", "line\nbreak", "a ", "x" * 951]
)
def test_keys_that_could_not_be_read_again_are_refused(blobs: Driver, key: str) -> None:
    with pytest.raises(InvalidKey) as caught:
        blobs.put(key, DATA)
    assert caught.value.subject == key


def test_folders_made_in_the_dashboard_are_no_objects(blobs: Driver, vercel: VercelBlob, token: str) -> None:
    blobs.put("a/b", DATA)
    store = vercel.store(token)
    store.blobs[f"{folder_of(token)}a/"] = store.blobs[f"{folder_of(token)}a/b"]
    assert keys_of(blobs) == ["a/b"]


def test_create_only_holds_for_uploads_in_parts(blobs: Driver) -> None:
    with blobs.write("big", size=len(LARGE), create_only=True) as writing:
        writing.write(LARGE)
        blobs.put("big", b"first")
        with pytest.raises(Exists):
            writing.commit()
    assert get(blobs, "big") == b"first"


def test_blobs_on_another_server_are_not_requested(blobs: VercelBlobDriver, vercel: VercelBlob) -> None:
    """The API returns the URL of the content; the token must not go to another server."""
    blobs.put("a", DATA)
    there = vercel_at(vercel.endpoint.replace("127.0.0.1", "localhost"), vercel.new_store(), "x/")
    assert isinstance(there, VercelBlobDriver)
    there._client.api = HttpClient(vercel.endpoint)
    there.put("a", DATA)
    with pytest.raises(StorageError) as caught:
        get(there, "a")
    assert caught.value.kind is Kind.UNREACHABLE
    there.close()


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, Kind.BAD_CREDENTIALS),
        (412, Kind.CHANGED),
        (413, Kind.TOO_LARGE),
        (418, Kind.UNSUPPORTED),
        (302, Kind.UNREACHABLE),
        (429, Kind.THROTTLED),
        (500, Kind.UNREACHABLE),
    ],
)
def test_each_refusal_has_its_kind(broken: Driver, proxy: FaultProxy, status: int, kind: Kind) -> None:
    proxy.answer(status, "x", method="PUT", times=None)
    with pytest.raises(StorageError) as caught:
        broken.put("a", DATA)
    assert (caught.value.kind, caught.value.operation) == (kind, "write")
    proxy.clear()
    assert keys_of(broken) == []


def test_transient_errors_are_retried(broken: Driver, proxy: FaultProxy) -> None:
    proxy.answer(503, "x", method="PUT")
    broken.put("a", DATA)
    proxy.answer(429, "x", method="POST", key="mpu")
    proxy.reset(method="POST", key="mpu")
    stream(broken, "big", LARGE)
    proxy.reset(method="GET", times=2)
    assert get(broken, "a") == DATA
    assert get(broken, "big") == LARGE


@pytest.mark.parametrize("with_length", [True, False])
def test_a_truncated_response_is_never_a_complete_object(
    broken: Driver, proxy: FaultProxy, with_length: bool
) -> None:
    broken.put("a", DATA)
    proxy.truncate(1000, key="/a?", times=None, with_length=with_length)
    with pytest.raises(StorageError) as caught:
        get(broken, "a")
    assert caught.value.retryable


def test_a_suspended_store_is_named(blobs: Driver, vercel: VercelBlob, token: str) -> None:
    vercel.store(token).suspended = True
    with pytest.raises(StorageError) as caught:
        blobs.stat("a")
    assert caught.value.kind is Kind.DENIED
    assert "suspended" in caught.value.reason
