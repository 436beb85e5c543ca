"""Every provider, as a person uses it: its form filled in wrongly and rightly, tested, saved and used.

The browser does the same for one provider of each kind of server (tests/browser/test_every_backend.py).
"""

from __future__ import annotations

import hashlib
import html
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from dashboard.migration.types import Outcome, State
from dashboard.services.permissions import Actor, Role
from dashboard.storage.options import OptionType
from dashboard.storage.registry import PRESETS, options_of
from tests.servers.places import PLACES, TROUBLES, ProviderInput, WrongInput
from tests.servers.processes import wait_until
from tests.services.composed import add_local
from tests.web.conftest import ADMIN, Browser, WebConsole

ROWS = [pytest.param(name, id=name) for name in PRESETS]
SAME_FORM = {"wasabi", "spaces", "scaleway", "hetzner"}
"""Providers whose fields and driver are those of others, so that the long run is enough for them."""
ROWS_TO_FILL = [
    pytest.param(name, id=name, marks=[pytest.mark.torture] if name in SAME_FORM else []) for name in PRESETS
]
MAKING = {PRESETS[name].driver: name for name in reversed(list(PRESETS))}.values()
"""One provider of each driver: with these what is missing is made."""
RIGHT = WrongInput("", ())
SIZES = {"a photo.jpg": 70_000, "ä/ü.txt": 300, "deep/er/empty": 0}


@dataclass(frozen=True)
class ShownStep:
    """What the panel shows of one step."""

    state: str
    said: str


@pytest.fixture(scope="module")
def filled(console: WebConsole) -> Path:
    """The console's own disk with a few files."""
    folder, dice = console.services.settings.instance / "files", random.Random(20261121)
    for key, size in SIZES.items():
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(dice.randbytes(size))
    return folder


def test_no_provider_is_left_out() -> None:
    assert set(PLACES) == set(PRESETS), "tests/servers/places.py says what is typed for each provider"


@pytest.mark.parametrize("preset", ROWS_TO_FILL)
def test_a_provider_is_tested_saved_filled_and_read(
    preset: str,
    admin: Browser,
    console: WebConsole,
    filled: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place = PLACES[preset](request)
    assert set(place.troubles) == set(TROUBLES)
    form = FilledForm(admin, console, place, monkeypatch)
    for name in TROUBLES:
        if name != "read-only":
            form.probe_with(place.troubles[name])

    assert "Everything works" in form.tested()
    assert form.saved().status_code == 303
    assert [
        shown for shown in place.secrets.values() if shown in admin.get(f"/backend/{form.name}").text
    ] == []

    back = add_local(console.services, f"back-{form.name}", tmp_path / "back")
    migrated(admin, console, "local-disk", form.name)
    migrated(admin, console, form.name, f"back-{form.name}")
    assert digests(back) == digests(filled)

    # Last, for there has to be something to read.
    read_only = place.troubles["read-only"]
    steps = form.probe_with(read_only)
    if steps:
        assert [step.state for step in steps.values()].count("failed") == 1
        assert "may read but not write: this backend can be copied from, not to" in steps["Read it back"].said


@dataclass(frozen=True)
class FilledForm:
    """A provider's form, filled in by somebody."""

    browser: Browser
    console: WebConsole
    place: ProviderInput
    monkeypatch: pytest.MonkeyPatch

    @property
    def name(self) -> str:
        """What the backend is called."""
        return self.place.preset.replace("_", "-")

    def probe_with(self, trouble: WrongInput | str) -> Mapping[str, ShownStep]:
        """Test the connection with something wrong: the panel says at which step, why, and what to do; and
        makes what is missing where it offers to. Nothing where there is no such trouble."""
        if isinstance(trouble, str):
            assert trouble
            return {}
        panel = self.tested(trouble)
        assert "Does not work yet" in panel or "May only read" in panel
        steps = steps_of(panel)
        first = next(label for label, step in steps.items() if step.state == "failed")
        said = steps[first].said
        assert first == trouble.step, said
        assert all(words in said for words in trouble.says), said
        assert not re.search(r"Errno|Error\b|Traceback|Exception|<|\{", said), said
        assert ('id="create-bucket"' in panel) == trouble.offered
        if trouble.offered and self.place.preset in MAKING:
            made = self._watched(self.browser.htmx("/backends/create-bucket", **self._fields(trouble)).text)
            assert "Everything works" in made
        return steps

    def tested(self, trouble: WrongInput = RIGHT) -> str:
        """The panel after “Test connection”."""
        draft = {**self._fields(trouble), "name": f"draft-of-{self.name}"}
        return self._watched(self.browser.htmx("/backends/test", **draft).text)

    def saved(self) -> object:
        """After “Save”."""
        return self.browser.post("/backends/new", **self._fields(RIGHT))

    def _watched(self, panel: str) -> str:
        """The panel at the end, asked for once: rendering it again and again only slows the test down."""
        match = re.search(r'hx-get="([^"]+/([^/"?]+))(?:\?[^"]*)?"', panel)
        if not match:
            return panel
        probes, who = self.console.services.probes, Actor(ADMIN, Role.ADMIN, "web")
        wait_until(lambda: probes.get(who, match[2]).finished, seconds=60, what="test of the connection over")
        return self.browser.htmx(match[1]).text

    def _fields(self, trouble: WrongInput) -> dict[str, str]:
        """As the page sends them: what stands in the form from the beginning, and what is typed over it."""
        place = self.place
        if place.served_at:
            # What a provider's own address is made of leads out of here; nothing else of it is changed.
            address = trouble.served_at or place.served_at
            self.monkeypatch.setitem(PRESETS[place.preset].defaults, "endpoint", address)
        typed = {**place.options, **trouble.options}
        fields = {"preset": place.preset, "name": self.name}
        for option in options_of(PRESETS[place.preset]):
            value = typed.pop(option.name, option.default)
            if not option.secret and not (option.type is OptionType.BOOLEAN and value != "true"):
                fields[f"option.{option.name}"] = value
        assert not typed, "there are no such fields"
        secrets = {**place.secrets, **trouble.secrets}
        return fields | {f"secret.{name}": value for name, value in secrets.items() if value}


def steps_of(panel: str) -> dict[str, ShownStep]:
    """The steps by their labels, in order."""
    found = {}
    for item in re.findall(r"<li>(.*?)</li>", panel, re.DOTALL):
        label = re.search(r'([A-Z][^<]*)(?:</b>)?<span class="sr">: (\w+)', item)
        said = re.search(r'<div class="why[^>]*>(.*?)</div>', item, re.DOTALL)
        assert label, item
        plain = re.sub(r"<[^>]+>", "", said[1]) if said else ""
        found[label[1]] = ShownStep(label[2], html.unescape(plain))
    return found


def migrated(admin: Browser, console: WebConsole, source: str, destination: str) -> None:
    """Copy everything through the pages, verified."""
    wish = {"source": source, "destination": destination, "on_conflict": "skip-same", "verify": "checksum"}
    created = admin.post("/migrations/new", **wish)
    number = int(created.headers["Location"].rpartition("/")[2])
    assert admin.post(f"/migrations/{number}/start").status_code == 303
    ended = console.services.runner.run_job_until_final(number, lambda _: None)
    assert (ended.state, ended.outcome) == (State.FINISHED, Outcome.CLEAN)
    assert ended.counters.verified == len(SIZES)
    assert (
        f"objects are in {destination}, each compared by checksum." in admin.get(f"/migrations/{number}").text
    )


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file by its key."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and ".stowage-tmp" not in path.parts
    }
