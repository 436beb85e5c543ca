"""The registry: everything a person types is checked before a driver is built from it."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
import trustme

from dashboard.errors import InvalidInput
from dashboard.storage.checks.typed import check_secret
from dashboard.storage.net.addresses import address_refusal, host_refusal
from dashboard.storage.options import Option, OptionType, SecretForm
from dashboard.storage.registry import PRESETS, all_options, build, check_options, summary
from dashboard.storage.types import Secret

SECRETS = {"secret_access_key": Secret("s3cr3t")}


def s3(**changes: str) -> dict[str, str]:
    return {"endpoint": "https://s3.example.com", "bucket": "my-bucket", "access_key_id": "AK", **changes}


def check_s3(**changes: str) -> dict[str, str]:
    return dict(check_options("s3", s3(**changes), SECRETS))


def refused(field: str, **changes: str) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        check_s3(**changes)
    assert caught.value.subject == field
    assert caught.value.reason.endswith(".")
    return caught.value


METADATA_IN_DISGUISE = [
    "169.254.169.254",
    "169.254.0.7",
    "0xa9fea9fe",
    "0xa9.0xfe.0xa9.0xfe",
    "2852039166",
    "0251.0376.0251.0376",
    "169.254.43518",
    "[::ffff:169.254.169.254]",
    "[::ffff:a9fe:a9fe]",
    "[::ffff:0:a9fe:a9fe]",
    "[2002:a9fe:a9fe::]",
    "[2002:a9fe:a9fe::1]",
    "[64:ff9b::a9fe:a9fe]",
    "[64:ff9b:1::a9fe:a9fe]",
    "[::a9fe:a9fe]",
    "[2001:0:a9fe:a9fe::]",
    "[2001:db8::5efe:a9fe:a9fe]",
    "[fe80::1]",
    "[fd00:ec2::254]",
    "[fd00:ec2::253]",
    "[fd20:ce:1::1]",
    "[fd00:c1::a9fe:a9fe]",
    "[fd00:42::42]",
    "[fec0::1]",
    "[feff:1::1]",
    "[64:ff9b:1::a9fe:a9fe]",
    "[64:ff9b:1:a9fe:a9:fe00::]",
    "[64:ff9b:1::808:808]",
    "192.0.0.171",
    "[::ffff:192.0.0.171]",
    "[fd20:ce::254]",
    "100.100.100.200",
    "metadata.google.internal",
    "METADATA.google.internal.",
    "0.0.0.0",
    "0",
    "[::]",
    "224.0.0.1",
    "255.255.255.255",
]


@pytest.mark.parametrize("host", METADATA_IN_DISGUISE)
def test_metadata_and_link_local_addresses_are_refused_in_every_disguise(host: str) -> None:
    for scheme in ("http", "https"):
        refused("endpoint", endpoint=f"{scheme}://{host}:8333")


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "10.1.2.3", "192.168.0.9", "172.16.5.4", "[::1]", "[fd12::5]", "nas"]
)
def test_private_and_local_addresses_are_allowed(host: str) -> None:
    assert check_s3(endpoint=f"http://{host}:9000")["endpoint"] == f"http://{host}:9000"


def test_a_disguised_private_address_is_stored_plainly() -> None:
    assert check_s3(endpoint="http://0x7f.1:9000")["endpoint"] == "http://127.0.0.1:9000"


def test_resolved_addresses_meet_the_same_policy() -> None:
    assert address_refusal("169.254.169.254")
    assert address_refusal("fe80::1%eth0")
    assert not address_refusal("10.0.0.1")
    assert not address_refusal("2606:4700::1111")
    assert host_refusal("höst.example")


@pytest.mark.parametrize(
    "endpoint",
    [
        "s3.example.com",
        "ftp://s3.example.com",
        "file:///etc/passwd",
        "https://",
        "https:///bucket",
        "https://user:pw@s3.example.com",
        "https://user@s3.example.com",
        "https://s3.example.com/bucket",
        "https://s3.example.com?x=1",
        "https://s3.example.com?",
        "https://s3.example.com#x",
        "https://s3.example.com:99999",
        "https://s3.example.com:",
        "https://s3.example.com:0",
        "https://s3 example.com",
        "https://s3.exa\nmple.com",
        "https://[::1",
        "https://-bad-.example.com",
        "https://a..b",
        "https://" + "a" * 300 + ".com",
    ],
)
def test_an_endpoint_is_a_plain_http_address(endpoint: str) -> None:
    refused("endpoint", endpoint=endpoint)


@pytest.mark.parametrize(
    "bucket", ["", "ab", "a/b", "my bucket", "-x-", "a..b", "192.168.0.1", "b\0ket", "s3://bucket"]
)
def test_bucket_names_that_no_server_has_are_refused(bucket: str) -> None:
    refused("bucket", bucket=bucket)


def test_the_stricter_bucket_rule_holds_where_the_name_becomes_a_host() -> None:
    assert check_s3(bucket="My_Bucket")["bucket"] == "My_Bucket"
    refused("bucket", bucket="My_Bucket", path_style="false")
    assert check_s3(bucket="media.example.com", path_style="false")["path_style"] == "true"


@pytest.mark.parametrize("host", ["127.0.0.1:9000", "[::1]:9000", "192.0.2.1"])
def test_a_bucket_is_not_looked_for_below_an_ip_address(host: str) -> None:
    assert check_s3(endpoint=f"http://{host}", path_style="false")["path_style"] == "true"
    assert check_s3(endpoint="http://minio.example", path_style="false")["path_style"] == "false"


def test_a_folder_inside_the_bucket_gets_one_slash() -> None:
    assert check_s3(prefix="/media//")["prefix"] == "media/"
    assert check_s3(prefix="/")["prefix"] == ""
    for bad in ("a//b", "a/../b", ".", "a/ b", "x" * 600):
        refused("prefix", prefix=bad)


def test_booleans_choices_and_classes_are_checked() -> None:
    assert check_s3(tls_verify="off")["tls_verify"] == "false"
    assert check_s3(path_style="YES")["path_style"] == "true"
    refused("tls_verify", tls_verify="maybe")
    refused("sse", sse="rot13")
    refused("storage_class", storage_class="cold stuff")
    refused("sse_kms_key_id", sse_kms_key_id="abc")
    assert check_s3(sse="aws:kms", sse_kms_key_id="arn:aws:kms:eu:1:key/ab-c")["sse"] == "aws:kms"
    assert check_s3(cdn_domain="https://CDN.example.com/")["cdn_domain"] == "cdn.example.com"
    refused("cdn_domain", cdn_domain="cdn.example.com/path")
    refused("region", region="eu central")
    refused("access_key_id", access_key_id="A K")


def test_a_certificate_authority_is_parsed_and_a_private_key_refused() -> None:
    authority = trustme.CA()
    pem = authority.cert_pem.bytes().decode()
    assert check_s3(ca_certificate=pem.replace("\n", "\r\n"))["ca_certificate"] == pem.strip() + "\n"
    refused("ca_certificate", ca_certificate="hello")
    refused("ca_certificate", ca_certificate=pem.replace("MII", "???", 1))
    assert (
        "private key"
        in refused("ca_certificate", ca_certificate=authority.private_key_pem.bytes().decode()).reason
    )


def test_secrets_are_required_trimmed_and_never_shown() -> None:
    for value in ("", " padded", "two\nlines", "schlüssel"):
        with pytest.raises(InvalidInput) as caught:
            check_options("s3", s3(), {"secret_access_key": Secret(value)})
        assert caught.value.subject == "secret_access_key"
        if value:
            assert value not in str(caught.value.as_dict())
    with pytest.raises(InvalidInput, match="missing"):
        check_options("s3", s3())
    with pytest.raises(InvalidInput, match="is a secret"):
        check_options("s3", s3(secret_access_key="open"), SECRETS)
    with pytest.raises(InvalidInput, match="is not a secret"):
        check_options("s3", s3(), {**SECRETS, "bucket": Secret("x")})


def test_each_form_of_secret_has_its_own_check() -> None:
    def accepts(form: SecretForm, value: str) -> bool:
        try:
            check_secret(Option("key", "Key", OptionType.SECRET, form=form), Secret(value))
        except InvalidInput:
            return False
        return True

    pem = "-----BEGIN KEY-----\r\nabc\n\tdef\n-----END KEY-----\n"
    assert [accepts(form, pem) for form in SecretForm] == [False, False, True, False]
    assert [accepts(form, " pass wörd ") for form in SecretForm] == [False, True, True, False]
    assert [accepts(form, "s3cr3t") for form in SecretForm] == [True, True, True, True]
    for value in ("a\0b", "a\x7fb", "\ud800", "x" * 20_000):
        assert [accepts(form, value) for form in SecretForm] == [False, False, False, False]


def test_unknown_options_are_refused() -> None:
    assert "bucket" in refused("colour", colour="red").remedy


def test_a_local_root_is_an_absolute_folder_of_its_own(tmp_path: Path) -> None:
    files = tmp_path / "files"
    assert check_options("local", {"root": f"{files}//x/./"})["root"] == f"{files}/x"
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to("/")
    for bad in (
        "files",
        "",
        "/",
        "//",
        "/.",
        f"{tmp_path}/../x",
        f"{tmp_path}/a\nb",
        "/proc/1",
        "/dev/shm/x",
    ):
        with pytest.raises(InvalidInput) as caught:
            check_options("local", {"root": bad})
        assert caught.value.subject == "root"
    for bad in ("file", "link", "link/proc"):
        with pytest.raises(InvalidInput):
            check_options("local", {"root": str(tmp_path / bad)})


def test_a_root_that_the_system_will_not_show_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def realpath(path: str) -> str:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    # As Python 3.11 does for /proc/1/root, unless one may look through it.
    monkeypatch.setattr("dashboard.storage.drivers.local.options.os.path.realpath", realpath)
    with pytest.raises(InvalidInput, match="cannot be read: Permission denied"):
        check_options("local", {"root": "/proc/1/root"})


def test_a_local_root_never_holds_the_consoles_own_files(tmp_path: Path) -> None:
    own = [str(tmp_path / "instance" / "stowage.db"), str(tmp_path / "instance" / "stowage.key")]
    (tmp_path / "instance").mkdir()
    (tmp_path / "alias").symlink_to("instance")
    for bad in ("", "instance", "alias", "instance/stowage.db", "instance/stowage.key/x"):
        with pytest.raises(InvalidInput, match="Stowage's own"):
            check_options("local", {"root": str(tmp_path / bad)}, forbidden_roots=own)
    good = str(tmp_path / "instance" / "files")
    assert check_options("local", {"root": good}, forbidden_roots=own)["root"] == good


def test_a_driver_is_built_from_checked_options(tmp_path: Path) -> None:
    driver = build("local", check_options("local", {"root": str(tmp_path)}))
    assert driver.name == "local"
    driver.put("a", b"1")
    assert [e.key for e in driver.list()] == ["a"]
    driver.close()
    with pytest.raises(InvalidInput, match="no driver"):
        build("gopher", {})


def test_a_summary_tells_backends_apart() -> None:
    assert summary("local", {"root": "/srv/files"}) == "/srv/files"
    assert summary("s3", check_s3(prefix="media")) == "my-bucket/media on s3.example.com"
    assert summary("sftp", {"root": "", "user": "ada", "host": "h.test"}) == "home folder of ada on h.test"


def test_options_of_a_preset_have_unique_names() -> None:
    for preset in PRESETS.values():
        names = [o.name for o in all_options(preset)]
        assert len(names) == len(set(names))


def test_importing_storage_loads_no_vendor_sdk_and_no_web() -> None:
    script = (
        "import sys; import dashboard.storage, dashboard.storage.registry, dashboard.storage.probe;"
        "bad = {'boto3', 'botocore', 'paramiko', 'flask', 'sqlalchemy', 'urllib3'};"
        "bad &= set(sys.modules);"
        "assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)
