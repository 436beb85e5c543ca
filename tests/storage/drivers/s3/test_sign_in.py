"""How to sign in, as a person says it, and to whom the credentials of this machine may be shown."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from dashboard.errors import InvalidInput, Kind
from dashboard.storage.drivers.s3.config import S3Config
from dashboard.storage.drivers.s3.credentials import boto
from dashboard.storage.drivers.s3.credentials.boto import CallerIdentity
from dashboard.storage.drivers.s3.credentials.options import is_amazon_s3
from dashboard.storage.drivers.s3.credentials.sign_in import AccessKey, AssumedRole, MachineCredentials, Sts
from dashboard.storage.drivers.s3.driver import S3Driver
from dashboard.storage.errors import StorageError
from dashboard.storage.probe import ProbeRun
from dashboard.storage.probe_steps import Probe, Skip
from dashboard.storage.recipients import is_unused, required
from dashboard.storage.registry import MachinePolicy, build, check_options, find_preset, options_of
from dashboard.storage.types import Secret
from dashboard.storage.wrappers.read_only import ReadOnly

ROLE = "arn:aws:iam::123456789012:role/stowage"
SECRET = {"secret_access_key": Secret("typed-secret")}
AWS = {"region": "eu-central-1", "bucket": "media"}
OTHER = {"endpoint": "https://s3.example.com:9000", "bucket": "media"}


def signed_in(options: Mapping[str, str], secrets: Mapping[str, Secret] = {}, preset: str = "aws") -> object:
    checked = check_options(preset, options, secrets)
    return S3Config.from_options(checked, secrets).sign_in


def test_each_way_to_sign_in() -> None:
    typed = AccessKey("AKIATYPED", SECRET["secret_access_key"])
    key = {"access_key_id": "AKIATYPED"}
    role = {"sign_in": "role", "role_arn": ROLE}
    assert signed_in({**AWS, **key}, SECRET) == typed
    assert signed_in({**AWS, "sign_in": "machine"}) == MachineCredentials()
    assert signed_in({**AWS, "sign_in": "machine", "profile": "media"}) == MachineCredentials("media")
    amazons = Sts("eu-central-1")
    assert signed_in({**AWS, **role}) == AssumedRole(amazons, MachineCredentials(), ROLE)
    assert signed_in({**AWS, **role, "profile": "media"}) == AssumedRole(
        amazons, MachineCredentials("media"), ROLE
    )
    more = {"external_id": "shared-word", "session_name": "media"}
    assert signed_in({**AWS, **role, **key, **more}, SECRET) == AssumedRole(
        amazons, typed, ROLE, "shared-word", "media"
    )
    # Other servers have an STS of their own, at the same address.
    own = Sts("us-east-1", "https://s3.example.com:9000")
    assert signed_in({**OTHER, **role, **key}, SECRET, "s3") == AssumedRole(own, typed, ROLE)
    assert signed_in({**OTHER, **role, **key}, SECRET, "minio") == AssumedRole(own, typed, ROLE)


@pytest.mark.parametrize(
    ("preset", "options", "secrets", "field"),
    [
        ("aws", {}, SECRET, "access_key_id"),
        ("aws", {"access_key_id": "AK"}, {}, "secret_access_key"),
        ("aws", {"sign_in": "role"}, {}, "role_arn"),
        ("aws", {"sign_in": "role", "role_arn": ROLE, "access_key_id": "AK"}, {}, "secret_access_key"),
        ("aws", {"sign_in": "machine", "access_key_id": "AK"}, SECRET, "access_key_id"),
        ("aws", {"sign_in": "machine", "role_arn": ROLE}, {}, "role_arn"),
        ("aws", {"sign_in": "machine", "profile": "x; rm -rf"}, {}, "profile"),
        ("aws", {"access_key_id": "AK", "profile": "media"}, SECRET, "profile"),
        ("aws", {"access_key_id": "AK", "external_id": "word"}, SECRET, "external_id"),
        ("aws", {"sign_in": "role", "role_arn": "stowage"}, {}, "role_arn"),
        ("aws", {"sign_in": "role", "role_arn": ROLE, "external_id": "a b"}, {}, "external_id"),
        ("aws", {"sign_in": "role", "role_arn": ROLE, "session_name": "é"}, {}, "session_name"),
        ("minio", {"sign_in": "machine", "endpoint": "http://127.0.0.1:9000"}, {}, "sign_in"),
        ("b2", {"sign_in": "machine", "access_key_id": "AK"}, SECRET, "sign_in"),
    ],
)
def test_what_belongs_to_another_way_or_is_missing_is_named(
    preset: str, options: dict[str, str], secrets: dict[str, Secret], field: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_options(preset, {**AWS, **options}, secrets)
    assert refused.value.subject == field


def test_the_form_asks_for_keys_where_there_is_no_other_way() -> None:
    def needed(preset: str) -> set[str]:
        return {option.name for option in options_of(find_preset(preset)) if option.required}

    keys = {"access_key_id", "secret_access_key"}
    assert keys <= needed("b2")
    assert not keys & needed("aws")
    assert "sign_in" not in {option.name for option in options_of(find_preset("b2"))}


def test_secrets_that_a_choice_does_not_use_are_neither_demanded_nor_opened() -> None:
    machine, key = {"sign_in": "machine"}, {"sign_in": "key"}
    assert [option.name for option in required("s3", {})] == ["secret_access_key"]
    assert [option.name for option in required("s3", key)] == ["secret_access_key"]
    assert required("s3", machine) == ()
    for secret in ("secret_access_key", "session_token"):
        assert is_unused("s3", machine, secret)
        assert not is_unused("s3", key, secret)
        assert not is_unused("s3", {}, secret)
    assert not is_unused("s3", machine, "sse_customer_key")


# ---- to whom the credentials of this machine are shown

AMAZONS = [
    "https://s3.amazonaws.com",
    "https://s3.eu-central-1.amazonaws.com",
    "https://s3.us-gov-west-1.amazonaws.com",
    "https://s3.dualstack.eu-west-1.amazonaws.com",
    "https://s3-fips.dualstack.us-east-1.amazonaws.com",
    "https://s3-accelerate.amazonaws.com",
    "https://s3-eu-west-1.amazonaws.com",
    "https://s3.cn-north-1.amazonaws.com.cn",
    "https://bucket.vpce-0e25b8cd-argc85vg.s3.us-east-1.vpce.amazonaws.com",
]
FOREIGN = [
    "https://s3.example.com",
    "https://s3.eu-central-1.amazonaws.com.example.com",
    "https://amazonaws.com",
    "https://abc.execute-api.eu-central-1.amazonaws.com",
    "https://ec2-1-2-3-4.eu-central-1.compute.amazonaws.com",
    "https://s3.elb.amazonaws.com",
    "https://vpce-1.vpce-svc-2.us-east-1.vpce.amazonaws.com",
    "https://evils3.amazonaws.com",
    "http://s3.eu-central-1.amazonaws.com",
]
FROM_MACHINE = [{"sign_in": "machine"}, {"sign_in": "role", "role_arn": ROLE}]


@pytest.mark.parametrize("endpoint", AMAZONS)
@pytest.mark.parametrize("way", FROM_MACHINE)
def test_amazons_own_servers_may_see_them(endpoint: str, way: dict[str, str]) -> None:
    assert is_amazon_s3(endpoint)
    options = check_options("s3", {**OTHER, **way, "endpoint": endpoint})
    MachinePolicy().check_credentials("s3", options)
    build("s3", options).close()
    for policy, changed in (
        (MachinePolicy(credentials=frozenset()), {}),
        (MachinePolicy(credentials=frozenset({"google"})), {}),
        (MachinePolicy(), {"tls_verify": "false"}),
    ):
        with pytest.raises(InvalidInput, match="may not be shown"):
            build("s3", {**options, **changed}, machine=policy)


@pytest.mark.parametrize("endpoint", FOREIGN)
@pytest.mark.parametrize("way", FROM_MACHINE)
def test_no_other_server_may(endpoint: str, way: dict[str, str]) -> None:
    options = check_options("s3", {**OTHER, **way, "endpoint": endpoint})
    with pytest.raises(InvalidInput, match="may not be shown") as refused:
        build("s3", options)
    assert refused.value.subject == "sign_in"
    typed = check_options("s3", {**OTHER, "endpoint": endpoint, "access_key_id": "AK"}, SECRET)
    build("s3", typed, SECRET, machine=MachinePolicy(credentials=frozenset())).close()


def test_a_server_that_was_named_may() -> None:
    options = check_options("s3", {**OTHER, "sign_in": "machine"})
    for named in ("s3.example.com", "s3.example.com:9000"):
        MachinePolicy(credentials=frozenset({named})).check_credentials("s3", options)
    for named in ("s3.example.com:9001", "example.com", "aws"):
        with pytest.raises(InvalidInput):
            MachinePolicy(credentials=frozenset({named})).check_credentials("s3", options)


# ---- the connection test


def test_the_connection_test_says_who_signs_in_or_why_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = AccessKey("AK", Secret("s"))
    driver = S3Driver(S3Config("https://s3.eu-central-1.amazonaws.com", "media", keys, region="eu-central-1"))
    wrapped = ReadOnly(driver)
    assert "who" in {step.name for step in ProbeRun.of(wrapped).steps}
    elsewhere = S3Driver(S3Config("https://s3.example.com", "media", keys))
    assert "who" not in {step.name for step in ProbeRun.of(elsewhere).steps}
    (stage,) = [stage for stage in Probe(wrapped).stages() if stage.name == "who"]
    asked: list[Sts] = []

    def who(whose: AccessKey, sts: Sts) -> CallerIdentity:
        asked.append(sts)
        return CallerIdentity("123456789012", "arn:aws:iam::123456789012:user/me")

    monkeypatch.setattr(boto, "get_caller_identity", who)
    assert stage.act() == "arn:aws:iam::123456789012:user/me of account 123456789012."
    assert asked == [Sts("eu-central-1")]

    def refuse(whose: AccessKey, sts: Sts) -> CallerIdentity:
        raise StorageError(Kind.UNREACHABLE, "There is no host called sts.")

    monkeypatch.setattr(boto, "get_caller_identity", refuse)
    with pytest.raises(Skip, match="The identity is not available: there is no host"):
        stage.act()
