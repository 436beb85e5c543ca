"""What is installed is enough: ``make run`` has the packages of ``requirements.lock`` and no others."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import defaultdict
from importlib.metadata import Distribution, PackagePath, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
EVERYTHING = Path(__file__).with_name("everything.py")


def pinned(lock: Path) -> list[Requirement]:
    """What a lock file installs on this machine."""
    lines = [line.partition("\\")[0] for line in lock.read_text().splitlines() if line[:1].isalnum()]
    wanted = [Requirement(line) for line in lines]
    return [each for each in wanted if each.marker is None or each.marker.evaluate()]


def only(distributions: list[Distribution], folder: Path) -> None:
    """Make a folder of links to the files of these distributions and no others."""
    owners: dict[str, set[str]] = defaultdict(set)
    files = [(each.name, path) for each in distributions for path in each.files or ()]
    files = [(name, path) for name, path in files if path.parts[0] not in ("..", "__pycache__")]
    for name, path in files:
        owners[path.parts[0]].add(name)
    for _, path in files:
        # A folder that several packages share, as those of one vendor do, holds others that must stay out.
        shared = len(owners[path.parts[0]]) > 1
        link = folder / (path if shared else path.parts[0])
        if not link.is_symlink():
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(Path(str(path.locate())) if shared else _site(path) / path.parts[0])


def _site(path: PackagePath) -> Path:
    return Path(str(path.locate())).parents[len(path.parts) - 1]


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages of ``requirements.lock``. The development lock pins the same versions."""
    folder = tmp_path_factory.mktemp("locked")
    wanted = pinned(ROOT / "requirements.lock")
    assert len(wanted) > 30
    found = [distribution(each.name) for each in wanted]
    assert [
        each for each, have in zip(wanted, found, strict=True) if have.version not in each.specifier
    ] == []
    only(found, folder)
    return folder


def run(packages: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Python with these packages, this checkout and nothing else."""
    return subprocess.run(
        # -S leaves out the packages beside the interpreter.
        [sys.executable, "-S", "-W", "error", *command],
        cwd=ROOT,
        env={
            "PATH": os.defpath,
            "HOME": str(packages),
            "PYTHONPATH": f"{ROOT}{os.pathsep}{packages}",
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_packages_of_the_tests_are_out_of_reach(locked: Path) -> None:
    ran = run(locked, "-c", "import pytest")
    assert "No module named 'pytest'" in ran.stderr


def test_every_module_page_and_provider_works_with_what_the_lock_installs(locked: Path) -> None:
    ran = run(locked, str(EVERYTHING))
    assert ran.returncode == 0, ran.stderr[-4000:]
    assert "20 backends" in ran.stdout
