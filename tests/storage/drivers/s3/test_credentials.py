"""Keys that are not typed: those of this machine, and those of a role, found and renewed by boto3."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from botocore.utils import ContainerMetadataFetcher

from dashboard.errors import Kind
from dashboard.storage.drivers.s3.config import S3Config
from dashboard.storage.drivers.s3.credentials import boto
from dashboard.storage.drivers.s3.credentials.sign_in import AccessKey, AssumedRole, MachineCredentials, Sts
from dashboard.storage.drivers.s3.driver import S3Driver
from dashboard.storage.errors import StorageError
from dashboard.storage.net.http_client import HttpClient, Response
from dashboard.storage.types import Secret
from tests.servers.moto import MotoS3

ROLE = "arn:aws:iam::123456789012:role/stowage"
TYPED = AccessKey("AKIATYPED", Secret("typed-secret"))


@pytest.fixture(autouse=True)
def bare_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine that has no credentials, whatever those are of the one that runs the tests."""
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


class Container:
    """Gives keys as the agent of a container does, each good for as many seconds as the test says next."""

    def __init__(self) -> None:
        self.good_for: list[float] = []
        self.given = 0
        container = self

        class Answers(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                container.given += 1
                if not container.good_for:
                    self.send_error(500)
                    return
                expires = datetime.fromtimestamp(time.time() + container.good_for.pop(0), UTC)
                body = json.dumps(
                    {
                        "AccessKeyId": f"ASIA{container.given}",
                        "SecretAccessKey": f"secret-of-the-container-{container.given}",
                        "Token": f"token-of-the-container-{container.given}",
                        "Expiration": expires.isoformat(),
                    }
                ).encode()
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self.address = f"http://127.0.0.1:{self.server.server_port}/keys"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def container(monkeypatch: pytest.MonkeyPatch) -> Iterator[Container]:
    made = Container()
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", made.address)
    yield made
    made.close()


def test_keys_are_renewed_before_they_end_and_by_one_thread(container: Container) -> None:
    # Keys that end within ten minutes must be renewed before the next use.
    container.good_for = [300, 3600]
    mine = boto.shared_keys(MachineCredentials())
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: mine.keys().access_key_id, range(64)))
    assert container.given == 2
    assert found == {"ASIA2"}
    assert mine.keys().session_token.reveal() == "token-of-the-container-2"
    assert mine.keys().expires == pytest.approx(time.time() + 3600, abs=60)
    # A second backend of this machine sends no request.
    assert boto.shared_keys(MachineCredentials()).keys() is mine.keys()
    assert boto.shared_keys(MachineCredentials("another")) is not mine
    assert container.given == 2


def test_requests_and_links_are_signed_with_what_the_machine_has(
    container: Container, moto_s3: MotoS3
) -> None:
    container.good_for = [3600]
    driver = S3Driver(S3Config(moto_s3.endpoint, moto_s3.new_bucket("machine"), MachineCredentials()))
    driver.put("a", b"content")
    with driver.read("a") as reading:
        assert reading.read_all() == b"content"
    link = driver.temporary_url("a", seconds=60)
    assert "ASIA1" in link
    assert "X-Amz-Security-Token=token-of-the-container-1" in link
    # No link is promised for longer than its keys last.
    upload = driver.upload_url("b", seconds=7 * 24 * 3600)
    assert upload.expires_at <= time.time() + 3600
    assert container.given == 1
    driver.close()


def test_a_role_is_assumed_once_for_all_backends(moto_s3: MotoS3, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bytes] = []
    send = boto._send

    def counting(request: object, **more: object) -> object:
        asked.append(request.body.encode())  # type: ignore[attr-defined]
        return send(request, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(boto, "_send", counting)
    sts = Sts("eu-central-1", moto_s3.endpoint)
    role = AssumedRole(sts, TYPED, ROLE, external_id="shared-word", session_name="media")
    driver = S3Driver(S3Config(moto_s3.endpoint, moto_s3.new_bucket("role"), role))
    driver.put("a", b"content")
    other = S3Driver(S3Config(moto_s3.endpoint, moto_s3.new_bucket("role"), role))
    other.put("a", b"content")
    assert other.can_copy_from(driver)
    (body,) = asked
    assert b"ExternalId=shared-word" in body
    assert b"RoleSessionName=media" in body
    lent = driver._client.key_source.keys()
    assert lent.access_key_id != TYPED.access_key_id
    assert lent.expires is not None
    identity = boto.get_caller_identity(lent, sts)
    assert identity.arn.endswith("assumed-role/stowage/media")
    assert identity.account == "123456789012"
    for each in (driver, other):
        each.close()


def test_nothing_secret_is_logged(
    container: Container, moto_s3: MotoS3, caplog: pytest.LogCaptureFixture
) -> None:
    container.good_for = [300, 3600]
    for chatty in ("", "botocore", "boto3", "urllib3"):
        caplog.set_level(logging.DEBUG, logger=chatty or None)
    role = boto.shared_keys(AssumedRole(Sts("us-east-1", moto_s3.endpoint), MachineCredentials(), ROLE))
    lent = role.keys()
    secrets = ["of-the-container-", lent.secret_access_key.reveal(), lent.session_token.reveal()]
    boto.get_caller_identity(lent, Sts("us-east-1", moto_s3.endpoint))
    assert [each for each in secrets if each in caplog.text] == []
    assert [each for each in secrets if each in repr(lent) + repr(vars(role))] == []


def config(tmp_path: Path, text: str) -> None:
    (tmp_path / "config").write_text(text)


def sso(tmp_path: Path) -> None:
    config(
        tmp_path,
        "[profile media]\nsso_account_id=123456789012\nsso_role_name=media\nsso_region=eu-central-1\n"
        "sso_start_url=https://example.awsapps.com/start\n",
    )


def program(tmp_path: Path) -> None:
    config(tmp_path, "[profile media]\ncredential_process = false\n")


def second_factor(tmp_path: Path) -> None:
    config(
        tmp_path,
        f"[profile media]\nrole_arn={ROLE}\nsource_profile=keys\n"
        "mfa_serial=arn:aws:iam::123456789012:mfa/me\n"
        "[profile keys]\naws_access_key_id=AK\naws_secret_access_key=s\n",
    )


def half(tmp_path: Path) -> None:
    config(tmp_path, "[profile media]\naws_access_key_id=AK\n")


def circle(tmp_path: Path) -> None:
    config(
        tmp_path,
        f"[profile media]\nrole_arn={ROLE}\nsource_profile=other\n"
        f"[profile other]\nrole_arn={ROLE}\nsource_profile=media\n",
    )


def garbage(tmp_path: Path) -> None:
    config(tmp_path, "what is this\n")


@pytest.mark.parametrize(
    ("prepare", "reason", "remedy"),
    [
        (lambda tmp_path: None, "no profile “media”", "aws configure"),
        (lambda tmp_path: config(tmp_path, "[profile media]\n"), "No AWS credentials", "instance's role"),
        (sso, "(SSO) has ended", "aws sso login --profile media"),
        (program, "from the program that its profile names", "aws sts get-caller-identity --profile media"),
        (second_factor, "MFA code", "mfa_serial"),
        (half, "other half is missing", "both"),
        (circle, "cannot be understood", "get-caller-identity"),
        (garbage, "cannot be understood", "get-caller-identity"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_why_the_machine_has_no_keys_is_reported(
    prepare: Callable[[Path], None], reason: str, remedy: str, tmp_path: Path
) -> None:
    prepare(tmp_path)
    with pytest.raises(StorageError) as refused:
        boto.shared_keys(MachineCredentials("media")).keys()
    assert refused.value.kind is Kind.BAD_CREDENTIALS
    assert reason in refused.value.reason
    assert remedy in refused.value.remedy


def test_a_container_that_gives_nothing_is_named_and_asked_again(
    container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ContainerMetadataFetcher, "SLEEP_TIME", 0)
    container.good_for = []
    with pytest.raises(StorageError, match="the container's role") as refused:
        boto.shared_keys(MachineCredentials()).keys()
    assert refused.value.kind is Kind.BAD_CREDENTIALS
    container.good_for = [3600]
    assert boto.shared_keys(MachineCredentials()).keys().expires


def answer_with(monkeypatch: pytest.MonkeyPatch, status: int, body: str) -> None:
    """What STS says to whatever it is asked."""
    answer = Response(status, {"content-type": "text/xml"}, body.encode())
    monkeypatch.setattr(HttpClient, "request", lambda *args, **more: answer)


REFUSALS = [
    ("AccessDenied", "", Kind.DENIED, "require no external ID"),
    ("AccessDenied", "shared-word", Kind.DENIED, "require this external ID"),
    ("InvalidClientTokenId", "", Kind.BAD_CREDENTIALS, "access key ID"),
    ("SignatureDoesNotMatch", "", Kind.BAD_CREDENTIALS, "secret"),
    ("ExpiredToken", "", Kind.BAD_CREDENTIALS, "Renew"),
    ("Made<Up>", "", Kind.BAD_CREDENTIALS, "role"),
]


@pytest.mark.parametrize(("code", "external_id", "kind", "remedy"), REFUSALS)
def test_a_refusal_by_sts_is_explained(
    code: str, external_id: str, kind: Kind, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = code.replace("<", "&lt;").replace(">", "&gt;")
    body = (
        '<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>'
        f"<Code>{shown}</Code><Message>secret words</Message></Error></ErrorResponse>"
    )
    answer_with(monkeypatch, 400 if "<" in code else 403, body)
    with pytest.raises(StorageError) as refused:
        boto.shared_keys(AssumedRole(Sts("us-east-1", "http://127.0.0.1"), TYPED, ROLE, external_id)).keys()
    assert refused.value.kind is kind
    assert remedy in refused.value.remedy
    assert "secret words" not in str(refused.value) + refused.value.remedy
    assert "Made" not in str(refused.value)


def test_an_answer_of_sts_that_would_forge_a_header_gives_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    body = (
        '<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>'
        "<AccessKeyId>AS&#13;&#10;x: y</AccessKeyId><SecretAccessKey>s</SecretAccessKey>"
        "<SessionToken>t</SessionToken><Expiration>2999-01-01T00:00:00Z</Expiration>"
        "</Credentials></AssumeRoleResult></AssumeRoleResponse>"
    )
    answer_with(monkeypatch, 200, body)
    with pytest.raises(StorageError, match="malformed"):
        boto.shared_keys(AssumedRole(Sts("us-east-1", "http://127.0.0.1"), TYPED, ROLE)).keys()


def test_amazons_sts_is_asked_whatever_this_machine_is_set_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_PROFILE", "missing")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    asked: list[str] = []

    def resolve(host: str, *args: object, **more: object) -> list[object]:
        asked.append(host)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    for region, host in (
        ("eu-central-1", "sts.eu-central-1.amazonaws.com"),
        ("cn-north-1", "sts.cn-north-1.amazonaws.com.cn"),
    ):
        with pytest.raises(StorageError) as refused:
            boto.shared_keys(AssumedRole(Sts(region), TYPED, ROLE)).keys()
        assert refused.value.kind is Kind.UNREACHABLE
        assert asked.pop() == host


def test_sts_is_not_looked_for_at_a_forbidden_address() -> None:
    role = AssumedRole(Sts("us-east-1", "http://169.254.169.254"), TYPED, ROLE)
    with pytest.raises(StorageError) as refused:
        boto.shared_keys(role).keys()
    assert refused.value.kind is Kind.DENIED
