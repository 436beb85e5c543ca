"""Which places are certainly apart: all others are not, however far from each other they look."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from dashboard.storage.driver import Driver
from dashboard.storage.drivers.azure.driver import AzureDriver
from dashboard.storage.drivers.ftp.driver import FtpDriver
from dashboard.storage.drivers.gcs.driver import GcsDriver
from dashboard.storage.drivers.local.driver import LocalDriver
from dashboard.storage.drivers.memory import MemoryDriver
from dashboard.storage.drivers.s3.driver import S3Driver
from dashboard.storage.drivers.sftp.driver import SftpDriver
from dashboard.storage.drivers.vercel_blob.driver import VercelBlobDriver
from dashboard.storage.drivers.webdav.driver import WebDavDriver
from dashboard.storage.inspection import places
from dashboard.storage.inspection.places import Bucket, Folder, certainly_apart
from dashboard.storage.registry import check_options
from dashboard.storage.types import Secret
from dashboard.storage.wrappers.compressed.driver import Compressed
from dashboard.storage.wrappers.counted.driver import Counted
from dashboard.storage.wrappers.read_only import ReadOnly
from dashboard.storage.wrapping import place_of

ROOT = Path(__file__).resolve().parents[3]


def file_system_of(path: Path) -> str:
    found = subprocess.run(
        ["stat", "-f", "-c", "%T", str(path)], capture_output=True, text=True, check=True
    ).stdout.strip()
    return "ext4" if found == "ext2/ext3" else found


needs_own_disk = pytest.mark.skipif(
    not Path("/proc/self/mountinfo").exists() or file_system_of(ROOT) not in places.FILE_SYSTEMS,
    reason="the folders of tests must be on a local disk of Linux",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("one", "one/inner", "other", "one-longer"):
        (tmp_path / name).mkdir()
    return tmp_path


def local(path: Path | str) -> LocalDriver:
    return LocalDriver(str(path))


def s3(
    bucket: str = "photos", endpoint: str = "https://s3.eu-central-1.amazonaws.com", **more: str
) -> Driver:
    options = {"endpoint": endpoint, "bucket": bucket, "access_key_id": "AKIA", **more}
    return S3Driver.from_options(options, {"secret_access_key": Secret("x")})


def azure(container: str = "photos", account: str = "mine", **more: str) -> Driver:
    options = {"account": account, "container": container, **more}
    return AzureDriver.from_options(options, {"credential": Secret("A" * 24)})


def gcs(bucket: str = "photos", **more: str) -> Driver:
    return GcsDriver.from_options({"bucket": bucket, "sign_in": "ambient", **more}, {})


def judged(one: Driver, other: Driver) -> bool:
    """The judgement, which is the same both ways."""
    found = certainly_apart(place_of(one), place_of(other))
    assert certainly_apart(place_of(other), place_of(one)) is found
    return found


@needs_own_disk
@pytest.mark.parametrize(
    ("one", "other", "apart"),
    [
        ("one", "other", True),
        ("one", "one-longer", True),
        ("one/inner", "other", True),
        ("one", "one", False),
        ("one", "one/", False),
        ("one", "one/inner", False),
        (".", "one", False),
        ("one/../other", "one", True),
        ("one/../other", "other", False),
        ("one/inner/..", "one/inner", False),
        ("one", "missing", False),
        ("one", "one/missing", False),
    ],
)
def test_folders_of_one_disk(folder: Path, one: str, other: str, apart: bool) -> None:
    assert judged(local(f"{folder}/{one}"), local(f"{folder}/{other}")) is apart


@needs_own_disk
def test_symbolic_links_are_what_they_lead_to(folder: Path) -> None:
    (folder / "to one").symlink_to("one")
    (folder / "to to inner").symlink_to(folder / "to one" / "inner")
    (folder / "to nowhere").symlink_to("nowhere")
    assert not judged(local(folder / "to one"), local(folder / "one"))
    assert not judged(local(folder / "to one"), local(folder / "to to inner"))
    assert not judged(local(folder / "to one" / "inner"), local(folder / "one"))
    assert not judged(local(folder / "to nowhere"), local(folder / "one"))
    assert judged(local(folder / "to one"), local(folder / "other"))
    # A link below a folder is no part of it.
    (folder / "other" / "link").symlink_to(folder / "one")
    assert judged(local(folder / "one"), local(folder / "other"))
    assert not judged(local(folder / "other" / "link"), local(folder / "one"))


@needs_own_disk
def test_other_programs_do_not_choose_the_answer(folder: Path) -> None:
    (folder / "a file").write_bytes(b"")
    assert not judged(local(folder / "a file"), local(folder / "other"))
    assert not judged(local("/proc"), local(folder / "other"))
    assert not judged(local("/sys"), local(folder / "other"))
    assert not judged(local("/"), local(folder / "other"))


@pytest.fixture
def mount(folder: Path) -> Iterator[Callable[..., None]]:
    if os.geteuid() != 0 or subprocess.run(["mount", "--bind", folder / "one", folder / "one"]).returncode:
        pytest.skip("only root can mount")
    mounted = [folder / "one"]

    def bind(*arguments: str | Path) -> None:
        subprocess.run(["mount", *arguments], check=True)
        mounted.append(Path(arguments[-1]))

    subprocess.run(["umount", mounted.pop()], check=True)
    yield bind
    for path in reversed(mounted):
        subprocess.run(["umount", path], check=True)


@needs_own_disk
def test_a_folder_that_is_mounted_twice(folder: Path, mount: Callable[..., None]) -> None:
    mount("--bind", folder / "one", folder / "other")
    assert not judged(local(folder / "one"), local(folder / "other"))
    assert not judged(local(folder / "one" / "inner"), local(folder / "other"))
    # Apart, but of a disk that is mounted twice paths say nothing.
    assert not judged(local(folder / "one-longer"), local(folder / "other"))


@needs_own_disk
def test_a_mount_below_a_folder(folder: Path, mount: Callable[..., None]) -> None:
    (folder / "other" / "a b").mkdir()
    assert judged(local(folder / "one"), local(folder / "other"))
    mount("--bind", folder / "one", folder / "other" / "a b")
    assert not judged(local(folder / "one"), local(folder / "other"))
    assert not judged(local(folder / "other"), s3())


@needs_own_disk
def test_a_disk_in_memory_is_a_disk_of_its_own(folder: Path, mount: Callable[..., None]) -> None:
    mount("-t", "tmpfs", "none", folder / "other")
    assert judged(local(folder / "one"), local(folder / "other"))
    (folder / "other" / "a").mkdir()
    (folder / "other" / "b").mkdir()
    assert judged(local(folder / "other" / "a"), local(folder / "other" / "b"))
    assert not judged(local(folder), local(folder / "other"))


@needs_own_disk
def test_a_mount_over_a_folder_and_a_deleted_one(folder: Path, mount: Callable[..., None]) -> None:
    mount("-t", "tmpfs", "none", folder / "one")
    mount("-t", "tmpfs", "none", folder / "one")
    # Something else is mounted at the same point.
    assert not judged(local(folder / "one"), local(folder / "other"))


@needs_own_disk
def test_a_file_system_of_another_kind_is_never_apart(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "FILE_SYSTEMS", frozenset({"none of these"}))
    assert not judged(local(folder / "one"), local(folder / "other"))
    assert not judged(local(folder / "one"), s3())


def test_elsewhere_nothing_is_certain(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_proc(path: object, *more: object, **others: object) -> None:
        raise FileNotFoundError(path)

    monkeypatch.setattr("builtins.open", no_proc)
    assert not judged(local(folder / "one"), local(folder / "other"))
    assert not judged(local(folder / "one"), s3())


@pytest.mark.parametrize(
    ("one", "other", "apart"),
    [
        (s3(), s3("videos"), True),
        (s3(), s3("videos", "https://s3.us-east-1.amazonaws.com"), True),
        (s3(prefix="a/"), s3("videos", prefix="a/"), True),
        (s3(), azure(), True),
        (s3(), gcs(), True),
        (azure(), azure("videos"), True),
        (azure(), azure(account="yours"), True),
        (gcs(), gcs("videos"), True),
        # The same bucket, perhaps by another way.
        (s3(), s3(), False),
        (s3(prefix="a/"), s3(prefix="b/"), False),
        (s3(), s3(endpoint="https://s3.dualstack.eu-central-1.amazonaws.com"), False),
        (s3(), s3(endpoint="https://s3.us-east-1.amazonaws.com"), False),
        (gcs(), s3(endpoint="https://storage.googleapis.com"), False),
        (azure(), azure(), False),
        # Aliases.
        (s3(), s3("my-point-hrzrlukc5m36ft7okagglf3gmwluquse1b-s3alias"), False),
        (s3(), s3("my-lambda--ol-s3"), False),
        (s3(), s3("photos--use1-az4--x-s3"), False),
        (s3(), s3("arn:aws:s3:eu-central-1:1:accesspoint/x"), False),
        (s3(), s3("mrap.accesspoint.s3-global.amazonaws.com:x"), False),
        # Whatever answers there.
        (s3(), s3("videos", "http://s3.eu-central-1.amazonaws.com"), False),
        (s3(), s3("videos", "https://s3.eu-central-1.amazonaws.com:8443"), False),
        (s3(), s3("videos", "https://s3.eu-central-1.amazonaws.com.example.com"), False),
        (s3(), s3("videos", "https://bucket.s3.eu-central-1.amazonaws.com"), False),
        (s3(), s3("videos", "https://me@s3.eu-central-1.amazonaws.com"), False),
        (s3(), s3("videos", tls_verify="false"), False),
        (s3(), s3("videos", ca_certificate="-----BEGIN CERTIFICATE-----"), False),
        (s3(), s3("videos", "http://127.0.0.1:9000"), False),
        (s3("a-one", "http://127.0.0.1:9000"), s3("another", "http://127.0.0.1:9000"), False),
        (s3(), azure(endpoint="http://127.0.0.1:10000/mine"), False),
        (s3(), azure(endpoint="https://mine-secondary.blob.core.windows.net"), False),
        (s3(), azure(tls_verify="false"), False),
        (s3(), gcs(endpoint="http://localhost:4443"), False),
        (s3(), gcs(endpoint="https://storage-x.p.googleapis.com"), False),
        (s3(), MemoryDriver(), False),
        (MemoryDriver(), MemoryDriver(), False),
    ],
)
def test_buckets(one: Driver, other: Driver, apart: bool) -> None:
    assert judged(one, other) is apart


@pytest.mark.parametrize("kind", [SftpDriver, FtpDriver, WebDavDriver, VercelBlobDriver])
def test_what_a_server_of_anybody_serves_is_never_certain(kind: type) -> None:
    assert not hasattr(kind, "place")


@needs_own_disk
def test_a_folder_and_a_bucket(folder: Path) -> None:
    assert judged(local(folder / "one"), s3())
    assert judged(local(folder / "one"), azure())
    assert judged(local(folder / "one"), gcs())
    # A server of this machine, or of its network, may serve that folder.
    for endpoint in (
        "http://127.0.0.1:9000",
        "https://127.0.0.1",
        "https://10.0.0.4",
        "https://s3.example.com",
    ):
        assert not judged(local(folder / "one"), s3(endpoint=endpoint))
    assert not judged(local(folder / "one"), MemoryDriver())
    assert not judged(local(folder / "missing"), s3())


PUBLIC: Mapping[str, Mapping[str, str]] = {
    "aws": {"region": "eu-central-1"},
    "b2": {"region": "us-west-004"},
    "r2": {"account_id": "0123456789abcdef0123456789abcdef"},
    "spaces": {"region": "nyc3"},
    "wasabi": {"region": "eu-central-1"},
    "hetzner": {"region": "fsn1"},
    "scaleway": {"region": "fr-par"},
    "gcs_interop": {},
}


@pytest.mark.parametrize("preset", PUBLIC)
def test_presets_of_public_providers_are_known(preset: str) -> None:
    secrets = {"secret_access_key": Secret("x" * 40)}
    typed = {"bucket": "photos", "access_key_id": "AKIAIOSFODNN7EXAMPLE", **PUBLIC[preset]}
    options = check_options(preset, typed, secrets)
    found = place_of(S3Driver.from_options(options, secrets))
    assert isinstance(found, Bucket)
    assert found.name == "photos"


def test_only_wrappers_that_store_nothing_elsewhere_keep_the_place(folder: Path) -> None:
    inner = local(folder / "one")
    assert place_of(ReadOnly(inner)) == place_of(inner) == Folder(os.fsencode(folder / "one"))
    assert place_of(Counted(ReadOnly(inner), lambda *counted: None)) == place_of(inner)  # type: ignore[arg-type]
    assert place_of(Compressed(inner, frozenset())) is None
