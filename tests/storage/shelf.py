"""The driver on docs/own-driver.md, installed as its page says, without a package index."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from dashboard.storage.own_drivers import forget_plugins

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "own-driver.md").read_text(encoding="utf-8")
SOURCE = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)[0]


def install(folder: Path, name: str, module: str, source: str, *, package: str = "") -> None:
    """A package with one module and one entry point, in a folder that Python looks into."""
    package = package or module.replace("_", "-")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{module}.py").write_text(source, encoding="utf-8")
    info = folder / f"{package.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n", encoding="utf-8"
    )
    (info / "entry_points.txt").write_text(f"[stowage.drivers]\n{name} = {module}:DRIVER\n", encoding="utf-8")
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    forget_plugins()


def uninstall(folder: Path, module: str) -> None:
    """As it was before."""
    sys.path.remove(str(folder))
    sys.modules.pop(module, None)
    forget_plugins()
