"""File systems made for one test, seen only by the process that a test starts in them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

_ENTER = (("unshare", "--user", "--map-root-user", "--mount"), ("unshare", "--mount"))


def run_on(options: str, folder: Path, script: str) -> str:
    """Run a Python script where ``folder``, its argument, is a new tmpfs; what it printed. Skips, with the
    reason, where this machine has no such file system or lets nobody mount it."""
    if shutil.which("unshare") is None:
        pytest.skip("unshare, with which a disk of a test's own is mounted, is not on this machine")
    mount = f'mount -t tmpfs -o {options} tmpfs "$1"'
    why = ""
    for enter in _ENTER:
        tried = subprocess.run(
            [*enter, "sh", "-c", f"{mount}", "sh", str(folder)], capture_output=True, text=True, check=False
        )
        if tried.returncode == 0:
            there = f'{mount} && exec "$2" -c "$3" "$1"'
            words = [*enter, "sh", "-c", there, "sh", str(folder), sys.executable, script]
            return subprocess.run(words, capture_output=True, text=True, check=True).stdout
        why = why or tried.stderr.strip().partition("\n")[0]
    pytest.skip(f"no tmpfs with {options} on this machine: {why}")
