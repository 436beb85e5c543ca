"""Files at their address: who may read them, which backend answers, and what a browser is told about them."""

from __future__ import annotations

import hashlib
import re
from types import SimpleNamespace
from urllib.parse import quote

import pytest

from dashboard.services.permissions import Role
from dashboard.settings import Settings, SettingsError
from dashboard.storage.errors import StorageError
from dashboard.web.files import offloading
from tests.web.conftest import PASSWORD
from tests.web.files.conftest import HOME, MARIA, SPARE, FilesConsole

CONTENT = b"0123456789" * 100


def address(backend: str, key: str) -> str:
    return f"/files/{backend}/{quote(key.encode('utf-8', 'surrogateescape'), safe='')}"


def test_a_file_and_a_part_of_it(served: FilesConsole) -> None:
    served.put(HOME, "a/b.bin", CONTENT)
    whole = served.browser.client.get(address(HOME, "a/b.bin"))
    assert (whole.status_code, whole.data) == (200, CONTENT)
    assert whole.headers["X-Stowage-Backend"] == HOME
    assert whole.headers["Cache-Control"] == "private, no-cache"
    part = served.browser.client.get(address(HOME, "a/b.bin"), headers={"Range": "bytes=5-14"})
    assert (part.status_code, part.data) == (206, CONTENT[5:15])
    assert part.headers["Content-Range"] == "bytes 5-14/1000"
    beyond = served.browser.client.get(address(HOME, "a/b.bin"), headers={"Range": "bytes=1000-"})
    assert (beyond.status_code, beyond.headers["Content-Range"]) == (416, "bytes */1000")
    head = served.browser.client.head(address(HOME, "a/b.bin"), headers={"Range": "bytes=5-14"})
    assert (head.status_code, head.headers["Content-Length"], head.data) == (200, "1000", b"")
    tag = {"If-None-Match": whole.headers["ETag"]}
    same = served.browser.client.get(address(HOME, "a/b.bin"), headers=tag)
    assert (same.status_code, same.data, same.headers["ETag"]) == (304, b"", whole.headers["ETag"])


def test_an_empty_file(served: FilesConsole) -> None:
    served.put(HOME, "empty", b"")
    found = served.browser.client.get(address(HOME, "empty"), headers={"Range": "bytes=-5"})
    assert (found.status_code, found.data, found.headers["Content-Length"]) == (200, b"", "0")


def test_the_active_backend_has_an_address_of_its_own(served: FilesConsole) -> None:
    active = next(each.name for each in served.console.services.backends.list() if each.active)
    served.put(active, "of-the-active", CONTENT)
    found = served.browser.client.get(address("-", "of-the-active"))
    assert (found.data, found.headers["X-Stowage-Backend"]) == (CONTENT, active)


def test_who_may_read_a_file(served: FilesConsole) -> None:
    served.put(HOME, "secret.txt", CONTENT)
    visitor = served.console.browser()
    assert visitor.client.get(address(HOME, "secret.txt")).status_code == 303
    assert visitor.client.head(address(HOME, "nothing")).status_code == 303
    viewer = served.console.browser()
    served.console.services.accounts.add(MARIA, "walter", PASSWORD, Role.VIEWER)
    viewer.sign_in("walter")
    assert viewer.client.get(address(HOME, "secret.txt")).data == CONTENT


def test_what_one_backend_lacks_the_fallback_order_has(served: FilesConsole) -> None:
    served.put(SPARE, "moved.txt", CONTENT)
    found = served.browser.client.get(address(HOME, "moved.txt"))
    assert (found.data, found.headers["X-Stowage-Backend"]) == (CONTENT, f"{SPARE}; fallback")
    assert served.browser.client.get(address(SPARE, "a/b.bin")).status_code == 404
    assert re.search(
        rf"{SPARE} answered [0-9]+ reads? of {HOME} since yesterday", served.browser.get("/").text
    )


def test_a_copy_that_contradicts_the_catalogue_is_never_served(served: FilesConsole) -> None:
    digest = hashlib.sha256(CONTENT).hexdigest()
    for key, known in (
        ("wrong-digest", {"sha256": "0" * 64}),
        ("only-a-size", {}),
        ("other-md5", {"md5": "0" * 32, "etag": "0" * 32}),
    ):
        served.put(SPARE, key, CONTENT)
        served.catalogue(HOME, key, len(CONTENT), **known)
        for _ in range(2):
            refused = served.browser.client.get(address(HOME, key))
            assert refused.status_code == 409
            assert "nothing proves that it is the same" in refused.text
            assert CONTENT not in refused.data
    served.put(SPARE, "wrong-size", CONTENT)
    served.catalogue(HOME, "wrong-size", 999, sha256=digest)
    assert served.browser.client.get(address(HOME, "wrong-size")).status_code == 409
    served.put(SPARE, "right", CONTENT)
    served.catalogue(HOME, "right", len(CONTENT), sha256=digest)
    found = served.browser.client.get(address(HOME, "right"))
    assert (found.status_code, found.data) == (200, CONTENT)
    assert found.headers["ETag"] == f'"sha256-{digest}"'


def test_a_copy_that_changed_since_it_was_compared_is_compared_again(served: FilesConsole) -> None:
    served.put(SPARE, "swapped", CONTENT)
    served.catalogue(HOME, "swapped", len(CONTENT), sha256=hashlib.sha256(CONTENT).hexdigest())
    assert served.browser.client.get(address(HOME, "swapped")).status_code == 200
    served.put(SPARE, "swapped", CONTENT[::-1])
    assert served.browser.client.get(address(HOME, "swapped")).status_code == 409


KEYS = [
    "ünï cödé/ключ 日本.txt",
    "%2e%2e/100%25",
    "a b+c&d=e?f#g;h",
    'quote"back\\slash',
    "line\nbreak\r.txt",
    "bytes-\udcff-\udcfe",
    "." * 3 + "/x",
    "x" * 200 + "/" + "y" * 250,
]


@pytest.mark.parametrize("key", KEYS)
def test_odd_keys(served: FilesConsole, key: str) -> None:
    served.put(HOME, key, CONTENT)
    # The test client loses bytes that are not UTF-8; a server does not.
    path = f"/files/{HOME}/".encode() + key.encode("utf-8", "surrogateescape")
    found = served.browser.client.get("/", environ_overrides={"PATH_INFO": path.decode("latin-1")})
    assert (found.status_code, found.data) == (200, CONTENT)
    disposition = found.headers["Content-Disposition"]
    assert disposition.isascii()
    assert "\n" not in disposition


@pytest.mark.parametrize(
    ("key", "status"),
    [
        ("../home/a/b.bin", 400),
        ("a/../../etc/passwd", 400),
        ("a//b.bin", 400),
        ("/a/b.bin", 400),
        ("a/b.bin/", 400),
        ("nul\0", 400),
        ("x" * 300, 400),
        ("x" * 5000, 404),
        ("missing-\udcff", 404),
        ("a", 404),
    ],
)
def test_keys_that_lead_nowhere(served: FilesConsole, key: str, status: int) -> None:
    for method in ("GET", "HEAD"):
        refused = served.browser.client.open(address(HOME, key), method=method)
        assert refused.status_code == status
        assert "X-Stowage-Backend" not in refused.headers


@pytest.mark.parametrize(
    ("key", "kind", "inline"),
    [
        ("p.png", "image/png", True),
        ("m.mp4", "video/mp4", True),
        ("d.pdf", "application/pdf", True),
        ("t.txt", "text/plain", False),
        ("page.html", "application/octet-stream", False),
        ("page.xhtml", "application/octet-stream", False),
        ("i.svg", "application/octet-stream", False),
        ("s.js", "application/octet-stream", False),
        ("s.css", "application/octet-stream", False),
        ("f.xml", "application/octet-stream", False),
        ("none", "application/octet-stream", False),
    ],
)
def test_nothing_of_a_user_runs_in_the_consoles_origin(
    served: FilesConsole, key: str, kind: str, inline: bool
) -> None:
    served.put(HOME, key, b"<script>alert(1)</script>")
    found = served.browser.client.get(address(HOME, key))
    assert found.headers["Content-Type"].partition(";")[0] == kind
    assert found.headers["Content-Disposition"].startswith("inline" if inline else "attachment")
    assert found.headers["Content-Security-Policy"].startswith("sandbox;")
    assert found.headers["X-Content-Type-Options"] == "nosniff"
    saved = served.browser.client.get(address(HOME, key) + "?download=1")
    assert saved.headers["Content-Disposition"].startswith("attachment")


def test_a_file_that_changes_while_it_is_sent_is_not_sent_to_its_end(served: FilesConsole) -> None:
    served.put(HOME, "changing", CONTENT * 1000)
    response = served.browser.client.get(address(HOME, "changing"))
    chunks, sent = response.iter_encoded(), []
    sent.append(next(chunks))
    served.put(HOME, "changing", CONTENT[::-1] * 1000)
    with pytest.raises(StorageError):
        sent.extend(chunks)
    assert sum(map(len, sent)) < len(CONTENT) * 1000


def test_a_program_reads_a_file_with_a_token(served: FilesConsole) -> None:
    served.put(HOME, "for-programs", CONTENT)
    tokens, client = served.console.services.tokens, served.console.app.test_client()
    for scopes, status in (["read_files"], 200), (["view"], 403):
        made = tokens.create(MARIA, f"scope {scopes[0]}", scopes)
        found = client.get(
            address(HOME, "for-programs"), headers={"Authorization": f"Bearer {made.secret.reveal()}"}
        )
        assert found.status_code == status
        assert (CONTENT in found.data) == (status == 200)
    wrong = client.get(address(HOME, "for-programs"), headers={"Authorization": "Bearer stw_wrong"})
    assert wrong.status_code == 401


def test_a_file_by_its_number_in_the_catalogue(served: FilesConsole) -> None:
    served.put(SPARE, "numbered", CONTENT)
    number = served.catalogue(SPARE, "numbered", len(CONTENT))
    found = served.browser.client.get(f"/api/v1/files/{number}/content", headers={"Range": "bytes=-3"})
    assert (found.status_code, found.data) == (206, CONTENT[-3:])
    assert found.headers["X-Stowage-Backend"] == SPARE
    missing = served.browser.client.get("/api/v1/files/987654321/content")
    assert (missing.status_code, missing.json["error"]["kind"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("name", "setting", "header", "value"),
    [
        ("ACCEL_REDIRECTS", "{root}=/internal/files", "X-Accel-Redirect", "/internal/files/a%20%2541/%C3%BC"),
        ("SENDFILE_ROOTS", "{root}", "X-Sendfile", "{root}/a %41/\xc3\xbc"),
        ("SENDFILE_ROOTS", "/srv/elsewhere", "X-Sendfile", None),
    ],
)
def test_the_server_in_front_sends_local_files(
    served: FilesConsole,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    setting: str,
    header: str,
    value: str | None,
) -> None:
    root, instance = served.folder / HOME, served.console.services.settings.instance
    settings = Settings.from_env({f"STOWAGE_{name}": setting.format(root=root)}, instance=instance)
    monkeypatch.setattr(offloading, "services", lambda: SimpleNamespace(settings=settings))
    served.put(HOME, "a %41/ü", CONTENT)
    found = served.browser.client.get(address(HOME, "a %41/ü"), headers={"Range": "bytes=0-1"})
    if value is None:
        assert (found.status_code, found.data) == (206, CONTENT[:2])
        assert header not in found.headers
    else:
        assert (found.status_code, found.data, found.headers[header]) == (200, b"", value.format(root=root))
        assert "Content-Range" not in found.headers
        assert found.headers["Content-Disposition"].startswith("attachment")


@pytest.mark.parametrize("setting", ["relative=/x", "/srv/files", "/srv/files=x", "/srv/files=/a b", "=/x"])
def test_a_folder_for_nginx_that_makes_no_sense(setting: str) -> None:
    with pytest.raises(SettingsError, match="STOWAGE_ACCEL_REDIRECTS"):
        Settings.from_env({"STOWAGE_ACCEL_REDIRECTS": setting})
