"""``make``: what happens before any of our own Python runs."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PATH = "/usr/bin:/bin"


def copied(folder: Path) -> Path:
    """A checkout with locks that pin nothing, so that environments cost no network."""
    for name in ("Makefile", ".ci"):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
    for name in ("requirements.lock", "requirements-dev.lock"):
        (folder / name).write_text("# nothing\n")
    return folder


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Without an environment."""
    return copied(tmp_path)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment made by ``make`` itself, under a strict umask."""
    folder = copied(tmp_path_factory.mktemp("made"))
    before = os.umask(0o077)
    try:
        made = ensure(folder)
    finally:
        os.umask(before)
    assert made.returncode == 0, made.stderr
    assert "Making the environment" in made.stderr
    return folder


@pytest.fixture
def ready(environment: Path, checkout: Path) -> Path:
    """A checkout with a moved copy of that environment: making one takes seconds."""
    shutil.copytree(environment / ".venv", checkout / ".venv", symlinks=True)
    return checkout


def ensure(
    checkout: Path, lock: str = "requirements.lock", **environ: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", ".ci/ensure-env", lock],
        cwd=checkout,
        env={"HOME": str(checkout), "PATH": PATH, **environ},
        capture_output=True,
        text=True,
        check=False,
    )


def python_that_says(folder: Path, version: str, *, has_venv: bool = True) -> Path:
    """A stand-in for an interpreter of another version: a real one is not on every machine."""
    folder.mkdir(exist_ok=True)
    path = folder / "python3"
    too_old = tuple(map(int, version.split("."))) < (3, 11)
    path.write_text(
        "#!/bin/sh\n"
        'case "$2" in\n'
        f"  *version_info*) exit {int(too_old)} ;;\n"
        f"  *platform*) echo {version} ;;\n"
        f"  *ensurepip*) exit {int(not has_venv)} ;;\n"
        "esac\n"
    )
    path.chmod(0o755)
    return path


def test_plain_make_prints_help_for_every_target(checkout: Path) -> None:
    said = subprocess.run(["make"], cwd=checkout, capture_output=True, text=True, check=True).stdout
    targets = re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for target in targets:
        assert f"make {target} " in said
    assert not (checkout / ".venv").exists()


def test_an_environment_that_is_up_to_date_is_left_alone(environment: Path) -> None:
    before = [(path, path.stat().st_mtime_ns) for path in sorted(environment.rglob("*"))]
    again = ensure(environment)
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    assert [(path, path.stat().st_mtime_ns) for path in sorted(environment.rglob("*"))] == before


def test_a_moved_checkout_and_a_changed_lock_are_installed_again(ready: Path) -> None:
    kept = ready / ".venv" / "kept"
    kept.touch()
    assert "Installing requirements.lock" in ensure(ready).stderr
    (ready / "requirements.lock").write_text("# something else\n")
    again = ensure(ready)
    assert "Installing requirements.lock" in again.stderr
    assert "Making" not in again.stderr
    assert kept.exists()
    assert ensure(ready).stderr == ""


def test_the_development_environment_serves_both(ready: Path) -> None:
    assert ensure(ready, "requirements-dev.lock").returncode == 0
    assert ensure(ready, "requirements.lock").stderr == ""


def test_an_install_that_fails_is_a_sentence_and_is_tried_again(ready: Path) -> None:
    (ready / "requirements.lock").write_text("no-such-package-anywhere==1 --hash=sha256:" + "0" * 64 + "\n")
    nowhere = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(ready)}
    for _ in range(2):
        failed = ensure(ready, **nowhere)
        assert failed.returncode == 1
        assert "Run make again" in failed.stderr


def test_an_unhashed_lock_line_is_refused(ready: Path) -> None:
    (ready / "requirements.lock").write_text("click==8.2.0\n")
    assert ensure(ready, PIP_NO_INDEX="1").returncode == 1


def test_too_old_a_python_is_a_sentence(checkout: Path) -> None:
    old = python_that_says(checkout / "old", "3.9.2")
    for name in ("python3.11", "python3.12", "python3.13", "python3.14"):
        shutil.copy(old, old.with_name(name))
    answer = ensure(checkout, PATH=f"{old.parent}:{PATH}")
    assert answer.returncode == 1
    assert "needs Python 3.11 or newer; python3 here is 3.9.2" in answer.stderr
    named = ensure(checkout, PYTHON=str(old))
    assert named.returncode == 1
    assert "is not Python 3.11 or newer" in named.stderr


def test_a_missing_venv_module_is_a_sentence(checkout: Path) -> None:
    bare = python_that_says(checkout / "bare", "3.12.1", has_venv=False)
    answer = ensure(checkout, PYTHON=str(bare))
    assert answer.returncode == 1
    assert "python3-venv" in answer.stderr


def test_make_run_starts_the_console_and_passes_its_end_on(ready: Path) -> None:
    package = ready / "dashboard"
    package.mkdir()
    (package / "__main__.py").write_text("import sys; print(sys.argv[1:]); sys.exit(3)\n")
    environ = {"HOME": str(ready), "PATH": PATH}
    ran = subprocess.run(["make", "run"], cwd=ready, env=environ, capture_output=True, text=True, check=False)
    assert "['run']" in ran.stdout
    assert ran.returncode == 2


def test_the_build_server_runs_the_documented_command() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    assert script.startswith("#!/usr/bin/env bash\nset -euo pipefail") or "set -euo pipefail" in script
    assert re.search(r"make (--no-print-directory )?test\b", script)
    assert os.stat(ROOT / ".ci" / "run").st_mode & stat.S_IXUSR


def test_the_locks_pin_everything_with_hashes_and_name_no_index() -> None:
    for name in ("requirements.lock", "requirements-dev.lock", "requirements-oldest.lock"):
        text = (ROOT / name).read_text()
        assert "://" not in text
        assert "--index" not in text
        logical = text.replace("\\\n", " ").splitlines()
        pins = [line for line in logical if line and not line.lstrip().startswith("#")]
        assert pins
        for pin in pins:
            assert re.match(r"[a-z0-9._-]+(\[[a-z0-9,]+\])?==\S+ ", pin), pin
            assert "--hash=sha256:" in pin, pin


def test_both_locks_agree_with_each_other_and_with_the_project() -> None:
    import tomllib

    def pins(name: str) -> dict[str, str]:
        return dict(re.findall(r"^([a-z0-9._-]+)==([^\s;]+)", (ROOT / name).read_text(), re.MULTILINE))

    run, dev = pins("requirements.lock"), pins("requirements-dev.lock")
    assert {name: dev.get(name) for name in run} == run
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    def names(requirements: list[str]) -> set[str]:
        return {re.split(r"[^A-Za-z0-9._-]", r)[0].lower().replace("_", "-") for r in requirements}

    assert names(project["dependencies"]) <= run.keys()
    for extra in project["optional-dependencies"].values():
        assert names(extra) <= dev.keys()
