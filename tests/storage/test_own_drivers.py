"""Drivers of other packages: found by their entry point, and harmless when they are broken."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dashboard.errors import InvalidInput
from dashboard.storage.driver_types import Location
from dashboard.storage.own_drivers import forget_plugins
from dashboard.storage.registry import (
    DRIVERS,
    PRESETS,
    build,
    check_options,
    find_preset,
    label_of,
    location,
    noun_of,
    options_of,
    summary,
)
from tests.storage import shelf

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path) -> Iterator[Install]:
    """Install packages for the length of a test."""
    installed: list[tuple[Path, str]] = []

    def add(name: str, module: str, source: str) -> None:
        folder = tmp_path / f"site-{len(installed)}"
        shelf.install(folder, name, module, source)
        installed.append((folder, module))

    yield add
    for folder, module in installed:
        shelf.uninstall(folder, module)


def test_a_package_brings_a_driver_and_a_preset(install: Install, tmp_path: Path) -> None:
    install("shelf", "stowage_shelf", shelf.SOURCE)
    assert list(PRESETS)[-1] == "shelf"
    assert "shelf" in DRIVERS
    assert {"file", "read_only"} <= {option.name for option in options_of(find_preset("shelf"))}
    options = check_options("shelf", {"file": str(tmp_path / "a.shelf"), "read_only": "true"})
    assert summary("shelf", options) == str(tmp_path / "a.shelf")
    driver = build("shelf", options)
    assert list(driver.list()) == []
    with pytest.raises(InvalidInput, match="absolute"):
        check_options("shelf", {"file": "a.shelf"})


def test_the_example_is_short() -> None:
    lines = [line for line in shelf.SOURCE.splitlines() if line.strip()]
    assert len(lines) < 110


MINIMAL = """
from dashboard.storage.driver_types import DriverType
from dashboard.storage.options import Option, Preset
from dashboard.storage.own_drivers import OwnDriver
def made(options, secrets):
    raise ValueError("secret-not-for-use")
OPTIONS = (Option("where", "Where"),)
DRIVER = OwnDriver(DriverType("odd", "odd_driver:made", OPTIONS), Preset("odd", "Odd", "odd"))
"""


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import not_there_at_all", "cannot be loaded (ModuleNotFoundError)"),
        ("raise RuntimeError('secret-not-for-use')", "cannot be loaded (RuntimeError)"),
        ("raise SystemExit(3)", "cannot be loaded (SystemExit)"),
        ("syntax error", "cannot be loaded (SyntaxError)"),
        ("", "cannot be loaded (AttributeError)"),
        ("DRIVER = object()", "does not lead to an OwnDriver"),
        (MINIMAL.replace('DriverType("odd"', 'DriverType("other"'), "do not have the same name"),
        (MINIMAL.replace('"Odd", "odd")', '"Odd", "s3")'), "do not have the same name"),
        (MINIMAL.replace("odd_driver:made", "made"), "factory"),
        (MINIMAL.replace('"odd_driver:made"', "made"), "not made as the documentation says"),
        (MINIMAL.replace("OPTIONS)", "None)"), "not made as the documentation says"),
        (MINIMAL.replace('Option("where"', 'Option("read_only"'), "one name, or that of a wrapper"),
        (MINIMAL.replace('Option("where"', 'Option("Where to"'), "an option of it"),
    ],
)
def test_one_that_cannot_be_used_says_why_and_stops_nothing(
    install: Install, source: str, words: str
) -> None:
    install("odd", "odd_driver", source)
    assert "cannot be used" in find_preset("odd").label
    assert words in find_preset("odd").help
    assert "odd" in PRESETS
    assert "s3" in PRESETS
    for call in (lambda: check_options("odd", {}), lambda: build("odd", {})):
        with pytest.raises(InvalidInput) as caught:
            call()
        assert words in caught.value.reason
        assert "odd-driver 1.0" in caught.value.reason
        assert "secret" not in str(caught.value.as_dict())
        assert caught.value.remedy


def test_a_factory_that_fails_says_so_in_one_sentence(install: Install) -> None:
    install("odd", "odd_driver", MINIMAL)
    with pytest.raises(InvalidInput, match="could not be made") as caught:
        build("odd", check_options("odd", {"where": "here"}))
    assert "secret" not in str(caught.value.as_dict())


def test_it_describes_its_backends_as_stowages_own_do(install: Install) -> None:
    describing = """, noun="crate", summary=lambda options: "in " + options["where"],
        location=lambda options: Location(options["where"], "a/")"""
    assert_described(install, describing, "in here", Location("here", "a/"))
    assert noun_of("odd") == "crate"


def test_what_it_fails_to_describe_is_described_without_its_help(install: Install) -> None:
    describing = """, summary=lambda options: options["gone"], location=lambda options: options["gone"]"""
    assert_described(install, describing, "", Location('[["where", "here"]]', "b/"))


def assert_described(install: Install, fields: str, line: str, place: Location) -> None:
    imports = MINIMAL.replace("import DriverType", "import DriverType, Location")
    install("odd", "odd_driver", imports.replace('made", OPTIONS', f'made", OPTIONS{fields}'))
    options = {"where": "here", "prefix": "b/", "read_only": "true"}
    assert summary("odd", options) == line
    assert location("odd", options) == place


def test_two_packages_with_one_name_are_both_refused(install: Install) -> None:
    install("odd", "odd_driver", MINIMAL)
    install("odd", "other_driver", MINIMAL)
    with pytest.raises(InvalidInput, match=r"odd-driver 1\.0 and other-driver 1\.0"):
        check_options("odd", {})


def test_stowages_own_drivers_cannot_be_replaced(install: Install) -> None:
    install("local", "odd_driver", MINIMAL.replace('"odd"', '"local"'))
    assert find_preset("local").label == "Local disk"
    assert list(PRESETS).count("local") == 1


def test_a_backend_whose_package_is_gone_is_still_shown() -> None:
    forget_plugins()
    assert label_of("gone") == "gone"
    assert summary("gone", {"file": "/srv/x", "read_only": "false"}) == ""
