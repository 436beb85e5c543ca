"""A known secret goes through the whole product and must turn up nowhere."""

from __future__ import annotations

import base64
import html
import http.cookiejar
import re
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from pathlib import Path

from tests.servers.console import ConsoleProcess
from tests.servers.faults import FaultProxy
from tests.servers.processes import wait_until
from tests.servers.seaweedfs import SeaweedFS

PASSWORD = "a few unrelated words"


class RecordingBrowser:
    """A browser without scripts that remembers every byte it was sent."""

    def __init__(self, address: str) -> None:
        self._address = address
        jar = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self._opener = urllib.request.build_opener(jar)
        self.received: list[bytes] = []
        self.places: set[str] = set()

    def get(self, place: str) -> str:
        """Open a page; error pages are pages too."""
        return self._send(urllib.request.Request(self._address + place))

    def post(self, place: str, form_on: str, **fields: str) -> str:
        """Send a form with the token of the page it stands on."""
        token = re.search(r'name="csrf_token" value="([^"]+)"', self.get(form_on))
        assert token, form_on
        body = urllib.parse.urlencode({"csrf_token": token[1], **fields}).encode()
        return self._send(urllib.request.Request(self._address + place, data=body))

    def _send(self, request: urllib.request.Request) -> str:
        try:
            with self._opener.open(request, timeout=60) as answer:
                return self._keep(answer.headers.as_bytes(), answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return self._keep(error.headers.as_bytes(), error.read())

    def _keep(self, headers: bytes, body: bytes) -> str:
        self.received += [headers, body]
        text = body.decode("utf-8", "replace")
        self.places.update(html.unescape(link) for link in re.findall(r'href="(/[^"]*)"', text))
        return text


def test_a_secret_typed_in_appears_nowhere_again(
    tmp_path: Path, seaweedfs: SeaweedFS, fault_proxy: FaultProxy
) -> None:
    canary = seaweedfs.add_identity("canary", "Admin")
    secret = canary.secret_key
    wrong = "Canary/wrong+secret=of-no-use%20at all"
    bucket = seaweedfs.new_bucket("canary")
    (tmp_path / "instance" / "files").mkdir(parents=True)
    (tmp_path / "instance" / "files" / "photo.jpg").write_bytes(b"photo")
    (tmp_path / "instance").chmod(0o700)

    with ConsoleProcess(tmp_path / "instance", environ={"STOWAGE_LOG_LEVEL": "debug"}) as console:
        visitor = RecordingBrowser(console.address)
        fields = {"code": console.setup_code, "username": "maria"}
        visitor.post("/setup", "/setup", **fields, password=PASSWORD, password_again=PASSWORD)
        arguments = _process_arguments(console.pid)
        media = {
            "preset": "s3",
            "name": "media",
            "option.endpoint": fault_proxy.endpoint,
            "option.region": "us-east-1",
            "option.bucket": bucket,
            "option.access_key_id": canary.access_key,
            "option.path_style": "true",
        }
        new = "/backends/new?preset=s3"
        for typed in (wrong, secret):
            page = visitor.post("/backends/test", new, **media, **{"secret.secret_access_key": typed})
            # It goes on in the background, and would meet the faults that are meant for others.
            probe = re.search(r'hx-get="(/probe/[^"]+)"', page)
            wait_until(
                lambda probe=probe: probe is None or ">Testing<" not in visitor.get(probe[1]),
                seconds=60,
                what="test over",
            )
        refused = media | {"option.endpoint": "not an address"}
        visitor.post("/backends/new", new, **refused, **{"secret.secret_access_key": secret})
        visitor.post("/backends/new", new, **media, **{"secret.secret_access_key": secret})
        assert "media" in visitor.get("/backends")

        # Everything that can go wrong with it in use, and what the command line says of it.
        fault_proxy.answer(403, "SignatureDoesNotMatch", method="PUT", times=None)
        fault_proxy.reset(times=2)
        outputs = [
            console.command("backend", "test", "media", "--json"),
            console.command("backend", "show", "media", "--json"),
            console.command("migrate", "local-disk", "media", "--yes", "--json"),
        ]
        # The console checks the new backend at the same time, so faults cannot be counted out.
        fault_proxy.clear()
        outputs += [
            console.command("migrate", "local-disk", "media", "--yes"),
            console.command("backend", "list"),
            console.command(
                *("backend", "add", "again", "--preset", "s3", "--secret", "secret_access_key=env:CANARY"),
                *("--option", f"endpoint={fault_proxy.endpoint}", "--option", f"bucket={bucket}"),
                *("--option", f"access_key_id={canary.access_key}", "--test", "--json"),
                CANARY=secret,
            ),
            console.command("--debug", "backend", "count", "media", "--json"),
            console.command("migrations", "list", "--json"),
            console.command("keys", "rotate", "--yes"),
        ]
        refused, passed = [1, 0, 1], [0] * 6
        assert [each.returncode for each in outputs] == refused + passed, [each.stderr for each in outputs]
        arguments += _process_arguments(console.pid)
        _visit_everything(visitor)
        assert "media" in visitor.get("/api/v1/migrations")

    evidence = {
        **{f"answer {n}": each for n, each in enumerate(visitor.received)},
        **{f"command {n}": (each.stdout + each.stderr).encode() for n, each in enumerate(outputs)},
        **{str(each): each.read_bytes() for each in tmp_path.rglob("*") if each.is_file()},
        "process arguments": arguments,
        "console's output": "\n".join(console.lines).encode(),
    }
    assert any(name.endswith("stowage.db") for name in evidence)
    assert len(visitor.received) > 40
    assert any(canary.access_key.encode() in each for each in evidence.values()), "the search finds nothing"
    for value in (secret, wrong):
        for form, needle in _disguises(value).items():
            found = [name for name, content in evidence.items() if needle in content]
            assert found == [], f"the secret appears, {form}, in: {found}"


def _visit_everything(visitor: RecordingBrowser) -> None:
    """Follow every link there is, one page at a time, but for signing out."""
    seen, visits = set[str](), Counter[str]()
    while todo := sorted(visitor.places - seen):
        place = todo[0]
        seen.add(place)
        path = place.partition("?")[0]
        visits[path] += 1
        # Filters and orders of one page can be combined without end.
        if visits[path] > 2:
            continue
        assert len(visits) < 400, "the console has no end of pages"
        visitor.get(place)
    for place in ("/api/v1/backends", "/api/v1/migrations", "/api/v1/migrations/1", "/no/such/page"):
        visitor.get(place)


def _process_arguments(pid: int) -> bytes:
    """The command lines of a process and all below it, as any user of the machine can see them."""
    below = [pid]
    for each in below:
        for thread in Path(f"/proc/{each}/task").iterdir():
            below += map(int, (thread / "children").read_text().split())
    return b"\n".join(Path(f"/proc/{each}/cmdline").read_bytes() for each in below)


def _disguises(value: str) -> dict[str, bytes]:
    raw = value.encode()
    standard = base64.b64encode(raw).rstrip(b"=")
    # In the middle of other base64 the same bytes look different: three alignments.
    shifted = {
        f"base64 at {n}": base64.b64encode(b"x" * n + raw)[4 : -(4 if n else 0) or None] for n in (1, 2)
    }
    return {
        "raw": raw,
        "base64": standard[: len(standard) // 4 * 4 - 4],
        **shifted,
        "URL-encoded": urllib.parse.quote(value, safe="").encode(),
        "form-encoded": urllib.parse.quote_plus(value).encode(),
        "hexadecimal": raw.hex().encode(),
        "HTML-escaped": html.escape(value).encode(),
    }
