"""What ``python -m bench.storage`` prints and keeps."""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.report import machine
from bench.sites import SERVERS
from bench.storage_work import CASES, Timed, clients_of

OURS = "stowage"


@dataclass(frozen=True)
class Result:
    """One timed run of one client."""

    driver: str
    case: str
    client: str
    round: int
    timed: Timed


@dataclass(frozen=True)
class Line:
    """All rounds of one client on one case: medians, ``growth`` the largest.

    ``speed`` and ``work`` say how many times as fast, and with how many times less CPU time, our driver did
    the same: above 1 is ours ahead. None on our own line.
    """

    driver: str
    case: str
    client: str
    rounds: int
    fastest: float
    median: float
    slowest: float
    cpu: float
    objects: int
    size: int
    growth: int
    speed: float | None
    work: float | None


def summarise(results: Sequence[Result]) -> list[Line]:
    """One line for each driver, case and client."""
    groups: dict[tuple[str, str, str], list[Timed]] = {}
    for result in results:
        groups.setdefault((result.driver, result.case, result.client), []).append(result.timed)
    return [_line(key, runs, groups[key[0], key[1], OURS]) for key, runs in groups.items()]


def _line(key: tuple[str, str, str], runs: Sequence[Timed], ours: Sequence[Timed]) -> Line:
    driver, case, client = key
    walls = [run.wall for run in runs]
    peer = client != OURS
    return Line(
        driver=driver,
        case=case,
        client=client,
        rounds=len(runs),
        fastest=min(walls),
        median=_wall(runs),
        slowest=max(walls),
        cpu=_cpu(runs),
        objects=runs[0].objects,
        size=runs[0].size,
        growth=max(run.growth for run in runs),
        speed=_wall(runs) / _wall(ours) if peer else None,
        work=_cpu(runs) / max(_cpu(ours), 1e-6) if peer else None,
    )


def _wall(runs: Sequence[Timed]) -> float:
    return statistics.median(run.wall for run in runs)


def _cpu(runs: Sequence[Timed]) -> float:
    return statistics.median(run.cpu for run in runs)


def markdown(results: Sequence[Result], options: argparse.Namespace, at: str) -> str:
    """The table with everything needed to read it."""
    lines = summarise(results)
    drivers = list(dict.fromkeys(line.driver for line in lines))
    text = [f"# Every driver beside its peers, {at}", "", f"{machine()}, shared by client and server.", ""]
    text += [_LEGEND.format(options.objects, options.large_mib), ""]
    for driver in drivers:
        notes = [f"`{client.name}`: {client.note}" for client in clients_of(driver)[1:]]
        text += [f"- **{driver}** on {SERVERS[driver]}, beside {'; '.join(notes)}."]
    text += ["", *_HEAD]
    order = {(driver, case): place for place, (driver, case) in enumerate(_cells(drivers))}
    text += [_row(line) for line in sorted(lines, key=lambda line: order[line.driver, line.case])]
    return "\n".join(text)


def _cells(drivers: Sequence[str]) -> list[tuple[str, str]]:
    return [(driver, case) for driver in drivers for case in CASES]


_LEGEND = (
    "Small: {:,} objects of 16 KiB from 16 threads; large: one object of {:,} MiB; list: everything in "
    "folders of 1,000. CPU is user and system time of the client's process. The ratios are the peer's median "
    "over ours: **above 1 our driver is ahead**. “Memory” is how much resident memory came in between the "
    "first thousand keys of a listing and its end, in a fresh process, the most of all rounds."
)
_HEAD = (
    "| driver | case | client | wall min / median / max (s) | rate | CPU (s) | memory (MiB) "
    "| ours: speed | ours: CPU |",
    "|---|---|---|---|---|---|---|---|---|",
)


def _row(line: Line) -> str:
    if line.case.endswith("large"):
        rate = f"{line.size / line.median / 2**20:,.0f} MiB/s"
    else:
        rate = f"{line.objects / line.median:,.0f} {'keys' if line.case == 'list' else 'objects'}/s"
    walls = f"{line.fastest:.3f} / {line.median:.3f} / {line.slowest:.3f}"
    growth = f"{line.growth / 2**20:.1f}" if line.case == "list" else "-"
    ratios = [f"{ratio:.2f}x" if ratio else "-" for ratio in (line.speed, line.work)]
    cells = [line.driver, line.case, line.client, walls, rate, f"{line.cpu:.3f}", growth, *ratios]
    return f"| {' | '.join(cells)} |"


def save(folder: Path, stem: str, text: str, results: Sequence[Result]) -> Path:
    """Keep a session as markdown for people and JSON for programs; returns the markdown's path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stem}.md"
    path.write_text(text + "\n", encoding="utf-8")
    document = {
        "machine": machine(),
        "summary": [asdict(line) for line in summarise(results)],
        "runs": [asdict(result) for result in results],
    }
    path.with_suffix(".json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return path
