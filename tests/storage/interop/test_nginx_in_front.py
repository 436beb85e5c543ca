"""nginx in front of a console sends local files itself, as docs/serving.md says how."""

from __future__ import annotations

import http.client
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

import pytest

from dashboard.app import create_app
from dashboard.services.backends.values import Draft
from dashboard.services.permissions import Actor, Role
from dashboard.services.services import Services
from dashboard.settings import Settings
from dashboard.storage.paths import key_bytes
from dashboard.web.context import EXTENSION
from tests.servers.foreign.packaged_web import Nginx
from tests.services.console import ADMIN
from tests.storage.interop.odd_names import ODD_NAMES
from tests.web.conftest import WebConsole, set_up
from tests.web.test_server import serving

pytestmark = pytest.mark.interop

SERVING = Path(__file__).parents[3] / "docs" / "serving.md"
CONTENT = random.Random(7).randbytes(300_000)


class NginxInFront(Nginx):
    """Passes everything on to the console, and sends what the console names."""

    needs = ("usr/sbin/nginx",)
    package = "nginx"
    upstream = 0

    @property
    def configuration(self) -> str:  # type: ignore[override]
        """The documented location, in a server of ours."""
        found = re.search(r"^```nginx\n(.*?)^```", SERVING.read_text("utf-8"), re.MULTILINE | re.DOTALL)
        assert found
        location = found[1].replace("/srv/files/", "@FILES@/")
        before = super().configuration.replace("load_module @MODULES@/ngx_http_dav_ext_module.so;\n", "")
        head = before[: before.index("    root @FILES@;")]
        pass_on = "location / { proxy_pass http://127.0.0.1:@UPSTREAM@; proxy_set_header Host localhost; }"
        return f"{head}    {pass_on}\n{location}  }}\n}}\n"

    def values(self) -> Mapping[str, str]:
        """Where the console is."""
        return {"UPSTREAM": str(self.upstream)}


@pytest.fixture
def nginx() -> Iterator[NginxInFront]:
    if reason := NginxInFront.why_not():
        pytest.skip(reason)
    server = NginxInFront()
    yield server
    server.close()


@pytest.fixture
def console(tmp_path: Path, nginx: NginxInFront) -> Iterator[WebConsole]:
    environ = {"STOWAGE_ACCEL_REDIRECTS": f"{nginx.files}=/stowage-files"}
    app = create_app(Settings.from_env(environ, instance=tmp_path / "instance"))
    services: Services = app.extensions[EXTENSION]
    opened = WebConsole(app, services)
    set_up(opened)
    yield opened
    services.close()


def test_nginx_sends_files_with_odd_names_and_parts_of_them(
    console: WebConsole, nginx: NginxInFront, monkeypatch: pytest.MonkeyPatch
) -> None:
    maria = Actor("maria", Role.ADMIN, "web")
    made = console.services.tokens.create(maria, "nginx", ["read_files"])
    headers = {"Authorization": f"Bearer {made.secret.reveal()}"}
    with serving(console.app, monkeypatch) as (_, port):
        nginx.upstream = port
        nginx.start()
        console.services.backends.add(ADMIN, Draft("disk", "local", {"root": str(nginx.files)}, {}))
        driver = console.services.backends.driver("disk")
        names = ["large.bin", *_storable()]
        for number, name in enumerate(names):
            driver.put(name, CONTENT if name == "large.bin" else f"{number}".encode())
        for path in nginx.files.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)

        def get(name: str, **more: str) -> tuple[http.client.HTTPResponse, bytes]:
            connection = http.client.HTTPConnection("127.0.0.1", nginx.port, timeout=20)
            connection.request("GET", f"/files/disk/{quote(key_bytes(name))}", headers={**headers, **more})
            response = connection.getresponse()
            body = response.read()
            connection.close()
            return response, body

        whole, body = get("large.bin")
        assert (whole.status, body) == (200, CONTENT)
        assert "X-Accel-Redirect" not in whole.headers
        assert whole.headers["Content-Security-Policy"].startswith("sandbox")
        assert whole.headers["X-Content-Type-Options"] == "nosniff"
        assert whole.headers["Content-Disposition"].startswith("attachment")
        part, body = get("large.bin", Range="bytes=1000-1999")
        assert (part.status, body) == (206, CONTENT[1000:2000])
        assert part.headers["Content-Range"] == f"bytes 1000-1999/{len(CONTENT)}"
        assert get("large.bin", Range="bytes=-5")[1] == CONTENT[-5:]
        assert get("large.bin", Range=f"bytes={len(CONTENT)}-")[0].status == 416
        wrong = [name for number, name in enumerate(names) if number and get(name)[1] != f"{number}".encode()]
        assert wrong == []
        assert len(names) > 100
        log = (nginx.folder / "error.log").read_text() if (nginx.folder / "error.log").exists() else ""
        assert "[emerg]" not in log

        # Nobody reaches the files without the console.
        connection = http.client.HTTPConnection("127.0.0.1", nginx.port, timeout=20)
        connection.request("GET", "/stowage-files/large.bin", headers=headers)
        assert connection.getresponse().status == 404
        connection.close()
        headers["Authorization"] = "Bearer stw_" + "c" * 43
        assert get("large.bin")[0].status == 401


def _storable() -> Sequence[str]:
    """The odd names that can be a path in an address, each in a folder of its own."""
    kept = list[str]()
    for name in ODD_NAMES:
        if not {"", ".", ".."} & set(name.split("/")):
            kept.append(f"odd/{len(kept)}/{name}")
    return kept
