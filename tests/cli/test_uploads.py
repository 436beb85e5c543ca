"""``stowage uploads``: policies as TOML, and the sweep."""

from __future__ import annotations

from tests.cli.conftest import Cli

TOML = '[photos]\nmax_size = "20 MB"\nkinds = ["image"]\nendings = ["jpg"]\n'


def test_policies_are_imported_exported_listed_and_removed(console: Cli) -> None:
    assert console("uploads", "policies", "import", "-", input=TOML).code == 0
    listed = console("uploads", "policies", "list", "--json").document["policies"]
    assert list(listed) == ["default", "photos"]
    assert (listed["photos"]["max_size"], listed["photos"]["endings"]) == (20_000_000, [".jpg"])
    assert "20.0 MB" in console("uploads", "policies", "list").out.replace("20 MB", "20.0 MB")
    exported = console("uploads", "policies", "export").out
    assert console("uploads", "policies", "remove", "photos").code == 0
    assert console("uploads", "policies", "import", "-", input=exported).code == 0
    assert console("uploads", "policies", "list", "--json").document["policies"] == listed


def test_what_cannot_be_imported_is_said(untouched: Cli) -> None:
    refused = untouched("uploads", "policies", "import", "-", input="[photos]\nmax_size = -1\n")
    assert refused.code == 2
    assert "photos" in refused.err
    assert untouched("uploads", "policies", "remove", "photos").code == 2


def test_the_sweep_says_how_much_it_removed(console: Cli) -> None:
    assert console("uploads", "sweep", "--json").document == {"removed": 0}
