"""The page of one backend: its past, its last test, its snippets, and what it never says."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dashboard.services.backends.snippets import environment_snippet, python_snippet, rclone_snippet
from dashboard.services.backends.status import Badge
from dashboard.services.backends.values import Draft
from dashboard.services.permissions import Actor, Role
from dashboard.storage.library.environment import parse_environment
from dashboard.storage.types import Secret
from tests.web.conftest import ADMIN, SECRET, Browser, WebConsole, add_bucket

ACTOR = Actor(ADMIN, Role.ADMIN, "web")


def text(browser: Browser, path: str) -> str:
    response = browser.get(path)
    assert response.status_code == 200
    return response.get_data(as_text=True)


@pytest.fixture(scope="module")
def bucket(console: WebConsole, admin: Browser) -> str:
    assert add_bucket(admin).status_code == 303
    return "bucket-one"


def test_a_test_survives_a_reload_with_its_steps(console: WebConsole, admin: Browser) -> None:
    list(console.services.probes.run(ACTOR, "local-disk"))
    page = text(admin, "/backend/local-disk")
    for sentence in ("Last test", "Write a test object", "Everything works", "by maria"):
        assert sentence in page
    list(console.services.probes.run(ACTOR, "local-disk"))
    assert "Earlier tests" in text(admin, "/backend/local-disk")


def test_a_failed_check_shows_why_since_when_and_what_changed(
    console: WebConsole, admin: Browser, bucket: str
) -> None:
    backend = console.services.backends.get(bucket)
    console.services.status.record_check(backend.id, Badge.DOWN, None, "<b>Refused</b>", "Start the server.")
    page = text(admin, f"/backend/{bucket}")
    for sentence in (
        "Down since",
        "&lt;b&gt;Refused&lt;/b&gt;",
        "Start the server.",
        "What changed",
        "0 % reachable",
    ):
        assert sentence in page
    assert "<b>Refused</b>" not in page
    for window in ("24h", "30d", "90d", "nonsense"):
        assert "1 check" in text(admin, f"/backend/{bucket}?window={window}")


def test_a_key_that_cannot_write_is_called_read_only(
    console: WebConsole, admin: Browser, bucket: str
) -> None:
    backend = console.services.backends.get(bucket)
    console.services.status.record_check(backend.id, Badge.READ_ONLY, 4.0, "The key may not write.")
    page = text(admin, f"/backend/{bucket}")
    assert "Read-only" in page
    assert "Healthy" not in page
    assert "Read_only" not in page + text(admin, "/backends") + text(admin, "/")


def test_a_first_check_that_never_comes_is_not_announced_for_ever(
    console: WebConsole, admin: Browser, tmp_path: Path
) -> None:
    draft = Draft("waiting", "local", {"root": str(tmp_path)}, {})
    console.services.backends.add(ACTOR, draft)
    page = text(admin, "/backend/waiting")
    # No runner is running in this test.
    assert "Not checked yet: no runner is running." in page
    assert "first check is" not in page


def test_a_shared_folder_is_told_on_the_page(console: WebConsole, admin: Browser, tmp_path: Path) -> None:
    for name in ("first", "second"):
        console.services.backends.add(ACTOR, Draft(name, "local", {"root": str(tmp_path)}, {}))
    assert "first holds the same files as second" in text(admin, "/backend/first")


def test_no_snippet_has_a_secret(console: WebConsole, admin: Browser, bucket: str) -> None:
    for use in ("Python", "Command line", "rclone", "Environment", "nonsense"):
        page = text(admin, f"/backend/{bucket}?use={use}")
        assert SECRET not in page
    assert "force_path_style = true" in text(admin, f"/backend/{bucket}?use=rclone")


def test_snippets_say_what_the_backend_is(console: WebConsole, bucket: str, tmp_path: Path) -> None:
    backend = console.services.backends.get(bucket)
    lines = environment_snippet(backend).splitlines()
    environ = dict(line.split("=", 1) for line in lines if "=" in line and line[0] != "#")
    secret = next(line for line in lines if line.startswith("# ")).partition("=")[0].removeprefix("# ")
    described = parse_environment({**environ, secret: "s3cr3t"}).described
    assert described.options["bucket"] == "some-bucket"
    assert described.options["endpoint"] == "http://127.0.0.1:9"
    assert described.options["access_key_id"] == "AKIDEXAMPLE"
    folder = tmp_path / 'a "strange" $folder'
    folder.mkdir()
    draft = Draft("strange", "local", {"root": str(folder)}, {})
    local = console.services.backends.add(ACTOR, draft)
    program = python_snippet(local)
    names: dict[str, object] = {}
    exec(program, names)  # the program that the page shows
    assert (folder / "hello.txt").read_bytes() == b"Hello"


def test_rclone_reads_with_the_snippet(console: WebConsole, tmp_path: Path) -> None:
    rclone = shutil.which("rclone") or shutil.which("rclone", path=str(Path(sys.executable).parent))
    if rclone is None:
        pytest.skip("rclone is not installed here: whether it accepts the snippet is not known")
    folder = tmp_path / "files of ours"
    folder.mkdir()
    (folder / "a.txt").write_bytes(b"a")
    draft = Draft("rc", "local", {"root": str(folder)}, {})
    snippet = rclone_snippet(console.services.backends.add(ACTOR, draft))
    config = tmp_path / "rclone.conf"
    config.write_text(snippet, encoding="utf-8")

    def run(*words: str) -> str:
        command = [rclone, "--config", str(config), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout

    assert run("lsf", "rc:") == "a.txt\n"
    servers = {
        "minio": {"endpoint": "http://127.0.0.1:9", "bucket": "some-bucket", "access_key_id": "k"},
        "sftp": {"host": "127.0.0.1", "user": "u", "root": "/srv"},
        "ftp": {"host": "127.0.0.1", "user": "u", "tls": "explicit"},
        "webdav": {"endpoint": "http://127.0.0.1:9/dav", "username": "u"},
    }
    for preset, options in servers.items():
        secrets = {"secret_access_key" if preset == "minio" else "password": Secret("a secret that stays")}
        backend = console.services.backends.add(ACTOR, Draft(f"rc-{preset}", preset, options, secrets))
        config.write_text(rclone_snippet(backend), encoding="utf-8")
        shown = run("config", "show")
        assert f"[rc-{preset}]" in shown
        assert "a secret that stays" not in shown
