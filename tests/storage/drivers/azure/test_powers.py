"""Azure: settings of the account, batch deletion."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
import urllib3
from azure.storage.blob import (
    AccountSasPermissions,
    BlobServiceClient,
    CorsRule,
    ResourceTypes,
    generate_account_sas,
)

from dashboard.errors import InvalidInput, Kind
from dashboard.storage.driver import Driver
from dashboard.storage.drivers.azure.driver import AzureDriver
from dashboard.storage.errors import Changed, ContainerMissing, StorageError, Unsupported
from dashboard.storage.library.backend import Backend
from dashboard.storage.types import Attributes
from tests.servers.azurite import ACCOUNT, Azurite
from tests.servers.drivers import azure_on
from tests.servers.faults import FaultProxy
from tests.storage.objects import keys_of

HERE = "https://www.example.org"


@pytest.fixture
def container(azurite: Azurite) -> str:
    return azurite.new_container()


@pytest.fixture
def driver(azurite: Azurite, container: str) -> Iterator[AzureDriver]:
    driver = azure_driver(azure_on(azurite, container, azurite.key))
    yield driver
    driver.close()


@pytest.fixture
def service(azurite: Azurite) -> Iterator[BlobServiceClient]:
    """The SDK's client of the account, whose rules are removed afterwards."""
    credential = {"account_name": ACCOUNT, "account_key": azurite.key}
    with BlobServiceClient(azurite.endpoint, credential=credential) as client:
        client.set_service_properties(cors=[])
        yield client
        client.set_service_properties(cors=[])


@pytest.fixture
def proxy(azurite: Azurite) -> Iterator[FaultProxy]:
    with FaultProxy(azurite.endpoint.removesuffix(f"/{ACCOUNT}")) as proxy:
        yield proxy


@pytest.fixture
def watched(azurite: Azurite, container: str, proxy: FaultProxy) -> Iterator[AzureDriver]:
    """A driver that talks through the fault proxy."""
    driver = azure_driver(azure_on(azurite, container, azurite.key, endpoint=f"{proxy.endpoint}/{ACCOUNT}"))
    yield driver
    driver.close()


def azure_driver(driver: Driver) -> AzureDriver:
    assert isinstance(driver, AzureDriver)
    return driver


def rules(service: BlobServiceClient) -> list[tuple[str, str]]:
    return [(rule.allowed_origins, rule.allowed_methods) for rule in service.get_service_properties()["cors"]]


def account_token(azurite: Azurite, kinds: ResourceTypes, permission: str) -> str:
    return generate_account_sas(
        ACCOUNT,
        azurite.key,
        kinds,
        AccountSasPermissions.from_string(permission),
        datetime.now(UTC) + timedelta(hours=1),
    )


# Settings of the account


def test_a_browser_may_upload_once_it_is_fixed_and_not_before(
    driver: AzureDriver, service: BlobServiceClient
) -> None:
    upload = driver.upload_url("folder/a.txt", seconds=60, content_type="text/plain")
    asks = {
        "Origin": HERE,
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": ",".join(upload.headers),
    }
    assert urllib3.request("OPTIONS", upload.url, headers=asks, retries=False).status == 403
    cors, unfinished = driver.findings(HERE)
    assert cors.sentence == f"Browser uploads will fail: no CORS rule for {HERE}."
    assert f"all containers of the account “{ACCOUNT}”" in cors.remedy
    assert unfinished.good
    assert "Azure itself" in unfinished.sentence
    assert "lifecycle" in unfinished.remedy
    for _ in range(2):
        driver.fix("cors", HERE)
    assert rules(service) == [(HERE, "GET,HEAD,PUT")]
    allowed = urllib3.request("OPTIONS", upload.url, headers=asks, retries=False)
    assert (allowed.status, allowed.headers["Access-Control-Allow-Origin"]) == (200, HERE)
    assert all(each.good for each in driver.findings(HERE))
    assert not driver.findings("https://other.example.org")[0].good


def test_fixing_keeps_what_is_there(driver: AzureDriver, service: BlobServiceClient) -> None:
    theirs = CorsRule(["https://other.example.org"], ["GET", "PUT"], max_age_in_seconds=60)
    strict = CorsRule(["*"], ["PUT", "GET"], allowed_headers=["content-*", "x-theirs"])
    service.set_service_properties(cors=[theirs, strict], target_version="2023-11-03")
    assert driver.findings(HERE)[0].sentence == (
        f"Browser uploads that send x-ms-blob-type will fail: the CORS rule for {HERE} does not allow that."
    )
    driver.fix("cors", HERE)
    assert rules(service) == [("https://other.example.org", "GET,PUT"), (HERE, "PUT"), ("*", "PUT,GET")]
    after = service.get_service_properties()
    assert after["cors"][0].max_age_in_seconds == 60
    assert after["cors"][2].allowed_headers == "content-*,x-theirs"
    assert after["target_version"] == "2023-11-03"
    assert driver.findings(HERE)[0].good


def test_a_sixth_rule_is_not_offered(driver: AzureDriver, service: BlobServiceClient) -> None:
    service.set_service_properties(cors=[CorsRule([f"https://{n}.example.org"], ["GET"]) for n in range(5)])
    cors = driver.findings(HERE)[0]
    assert not cors.fixable
    assert "allows no more" in cors.remedy
    with pytest.raises(StorageError) as caught:
        driver.fix("cors", HERE)
    assert caught.value.kind is Kind.CONFLICT
    assert len(rules(service)) == 5


def test_a_token_for_a_container_cannot_read_the_account(azurite: Azurite, container: str) -> None:
    inner = ResourceTypes(container=True, object=True)
    for token in (azurite.sas(container, "racwdl"), account_token(azurite, inner, "rwl")):
        driver = azure_driver(azure_on(azurite, container, token))
        cors = driver.findings(HERE)[0]
        assert "could not be seen" in cors.sentence
        assert "whole account" in cors.sentence
        assert "account's key" in cors.remedy
        assert not cors.good
        assert not cors.fixable
        with pytest.raises(StorageError) as caught:
            driver.fix("cors", HERE)
        assert caught.value.kind is Kind.DENIED


def test_a_token_for_the_service_sees_it_and_changes_it_where_it_may(
    azurite: Azurite, container: str, service: BlobServiceClient
) -> None:
    everything = ResourceTypes(service=True, container=True, object=True)
    looks = azure_driver(azure_on(azurite, container, account_token(azurite, everything, "r")))
    assert looks.findings(HERE)[0].fixable
    with pytest.raises(StorageError) as caught:
        looks.fix("cors", HERE)
    assert caught.value.kind is Kind.DENIED
    assert "Write, on the service" in caught.value.remedy
    writes = azure_driver(azure_on(azurite, container, account_token(azurite, everything, "rw")))
    writes.fix("cors", HERE)
    assert looks.findings(HERE)[0].good


def test_a_check_without_response_is_an_error_and_an_unknown_finding_is_not_fixed(
    watched: AzureDriver, proxy: FaultProxy
) -> None:
    proxy.reset(key="comp=properties", times=None)
    with pytest.raises(StorageError) as caught:
        watched.findings(HERE)
    assert caught.value.kind is Kind.UNREACHABLE
    for name in ("weather", "unfinished-uploads"):
        with pytest.raises(InvalidInput):
            watched.fix(name, HERE)


# Batch deletion


def batches(proxy: FaultProxy) -> int:
    return sum("comp=batch" in target for _, target in proxy.seen)


def test_more_than_256_go_in_several_requests(watched: AzureDriver, proxy: FaultProxy) -> None:
    odd = ["ü & <x>.txt", "a//b", "a%2Fb", " spaces ", "#?", "+plus", "a\u2028b", "deep/er/x"]
    keys = [*odd, *(f"k{number:03}" for number in range(255))]
    for key in [*keys[:20], "kept"]:
        watched.put(key, b"x")
    proxy.clear()
    assert watched.delete_many(iter([*keys, odd[0]])) == {}
    assert [method for method, _ in proxy.seen] == ["POST", "POST"]
    assert batches(proxy) == 2
    assert keys_of(watched) == ["kept"]
    assert watched.delete_many([]) == {}


def test_a_token_for_the_container_deletes_many_and_a_weaker_one_is_refused(
    azurite: Azurite, container: str, driver: AzureDriver
) -> None:
    for key in ("a", "b"):
        driver.put(key, b"x")
    reads = azure_driver(azure_on(azurite, container, azurite.sas(container, "rl")))
    failed = reads.delete_many(["a", "b", "dot."])
    assert {key: error.kind for key, error in failed.items()} == {
        "a": Kind.DENIED,
        "b": Kind.DENIED,
        "dot.": Kind.INVALID_KEY,
    }
    assert "permission Delete" in failed["a"].remedy
    assert keys_of(driver) == ["a", "b"]
    deletes = azure_driver(azure_on(azurite, container, azurite.sas(container, "racwdl")))
    assert deletes.delete_many(["a", "b", "c"]) == {}
    assert keys_of(driver) == []


def test_what_cannot_be_deleted_is_reported_by_key(
    azurite: Azurite, container: str, driver: AzureDriver
) -> None:
    for key in ("a", "held", "b"):
        driver.put(key, b"x")
    lease = azurite.client(container).get_blob_client("held").acquire_lease(lease_duration=-1)
    failed = driver.delete_many(["a", "held", "b"])
    assert {key: error.kind for key, error in failed.items()} == {"held": Kind.CONFLICT}
    assert "“held”" in failed["held"].reason
    assert keys_of(driver) == ["held"]
    lease.break_lease(0)


def test_a_server_without_batches_deletes_one_by_one(watched: AzureDriver, proxy: FaultProxy) -> None:
    for status in (404, 403, 400):
        for key in ("a", "b"):
            watched.put(key, b"x")
        proxy.answer(status, "nonsense", key="comp=batch")
        assert watched.delete_many(["a", "b", "c"]) == {}
        assert keys_of(watched) == []


def test_a_response_that_is_not_a_batch_deletes_nothing(watched: AzureDriver, proxy: FaultProxy) -> None:
    watched.put("a", b"x")
    proxy.answer(202, "nonsense", key="comp=batch", times=None)
    failed = watched.delete_many(["a"])
    assert failed["a"].kind is Kind.UNREACHABLE
    assert keys_of(watched) == ["a"]


def test_no_container_is_not_many_failures(azurite: Azurite) -> None:
    with pytest.raises(ContainerMissing):
        azure_driver(azure_on(azurite, "no-such-container", azurite.key)).delete_many(["a", "b"])


def test_azure_may_keep_versions_that_this_driver_does_not_show(driver: AzureDriver) -> None:
    with pytest.raises(Unsupported) as caught:
        Backend("b", driver).versions()
    assert "portal" in caught.value.reason


# Headers and metadata

OLD = Attributes("text/html", "no-cache", metadata={"old": "1", "kept": "2"})
NEW = Attributes("text/plain", content_language="de", metadata={"kept": "zwei ü"})


@pytest.mark.parametrize("which", ["comp=metadata", "comp=properties"])
def test_attributes_change_once_even_if_an_answer_is_lost(
    driver: AzureDriver, watched: AzureDriver, proxy: FaultProxy, which: str
) -> None:
    driver.put("a", b"x", attributes=OLD)
    driver.set_tags("a", {"project": "x"})
    before = driver.stat("a")
    lost = proxy.lose_answer(method="PUT", key=which)
    with suppress(StorageError):
        watched.set_attributes("a", NEW, if_version=before.version)
    assert lost.hits == 1
    # Whatever was reported, repeating it completes it.
    watched.set_attributes("a", NEW)
    after = driver.stat("a")
    assert (after.attributes, after.md5, after.size) == (NEW, before.md5, before.size)
    assert driver.tags("a") == {"project": "x"}


def test_attributes_of_a_blob_that_somebody_else_writes_meanwhile_stay(
    driver: AzureDriver, watched: AzureDriver, proxy: FaultProxy
) -> None:
    driver.put("a", b"x", attributes=OLD)
    proxy.then(lambda: driver.put("a", b"theirs", attributes=OLD), method="HEAD")
    with pytest.raises(Changed):
        watched.set_attributes("a", NEW)
    assert driver.stat("a").attributes == OLD


def test_metadata_that_were_changed_before_the_headers_failed_are_named(
    driver: AzureDriver, watched: AzureDriver, proxy: FaultProxy
) -> None:
    driver.put("a", b"x", attributes=OLD)
    proxy.answer(403, "", method="PUT", key="comp=properties", times=None)
    with pytest.raises(StorageError) as caught:
        watched.set_attributes("a", NEW)
    assert caught.value.reason.startswith("The metadata were changed, but not the headers: ")
    found = driver.stat("a").attributes
    assert (found.content_type, found.metadata) == (OLD.content_type, NEW.metadata)


def test_headers_that_no_response_can_have_are_refused(driver: AzureDriver) -> None:
    driver.put("a", b"x", attributes=OLD)
    with pytest.raises(InvalidInput) as caught:
        driver.set_attributes("a", Attributes("text/plain\r\nx: y"))
    assert caught.value.subject == "content_type"
    assert driver.stat("a").attributes == OLD
