"""What a session prints and keeps."""

from __future__ import annotations

import json
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from bench.corpus import Corpus
from bench.network.links import LINKS
from bench.session import ROUTES, Result
from bench.tools import Tool

REFERENCE = "rclone"
FLOOR = "loop"


@dataclass(frozen=True)
class Line:
    """All rounds of one tool on one case. Times in seconds, ``peak`` in bytes: the largest of all rounds.

    The ratios compare medians with the reference's: ``speed`` above 1 is faster, ``work`` below 1 is
    less CPU time; ``floor_wall`` and ``floor_cpu`` are medians over those of the bare loop, above 1 is more.
    None where the other did not run.
    """

    corpus: str
    route: str
    link: str
    tool: str
    rounds: int
    fastest: float
    median: float
    slowest: float
    cpu: float
    switches: int
    server_cpu: float
    elsewhere: float
    flush: float
    peak: int
    speed: float | None
    work: float | None
    floor_wall: float | None
    floor_cpu: float | None


def summarise(results: Sequence[Result]) -> list[Line]:
    """One line for each case and tool, in the order they ran first."""
    groups: dict[tuple[str, str, str, str], list[Result]] = {}
    for result in results:
        groups.setdefault((result.corpus, result.route, result.link, result.tool), []).append(result)
    order = {key: place for place, key in enumerate(dict.fromkeys(key[:3] for key in groups))}
    lines = []
    for *case, tool in sorted(groups, key=lambda key: order[key[:3]]):
        corpus, route, link = case
        reference = groups.get((corpus, route, link, REFERENCE))
        floor = groups.get((corpus, route, link, FLOOR))
        lines.append(_line(groups[corpus, route, link, tool], reference, floor))
    return lines


def _line(runs: Sequence[Result], reference: Sequence[Result] | None, floor: Sequence[Result] | None) -> Line:
    wall, cpu = _median(runs, "wall"), _median(runs, "cpu")
    walls = [run.measured.wall for run in runs]
    return Line(
        corpus=runs[0].corpus,
        route=runs[0].route,
        link=runs[0].link,
        tool=runs[0].tool,
        rounds=len(runs),
        fastest=min(walls),
        median=wall,
        slowest=max(walls),
        cpu=cpu,
        switches=round(_median(runs, "switches")),
        server_cpu=_median(runs, "server_cpu"),
        elsewhere=_median(runs, "elsewhere"),
        flush=_median(runs, "flush"),
        peak=max(run.measured.peak for run in runs),
        speed=_median(reference, "wall") / wall if reference else None,
        # A server-side copy costs the client hundredths of a second: a ratio of those says nothing.
        work=cpu / _median(reference, "cpu") if reference and _median(reference, "cpu") > 0.2 else None,
        floor_wall=wall / _median(floor, "wall") if floor else None,
        floor_cpu=cpu / _median(floor, "cpu") if floor else None,
    )


def _median(runs: Sequence[Result], name: str) -> float:
    return float(statistics.median(getattr(run.measured, name) for run in runs))


def machine() -> str:
    """The machine in a few words."""
    memory = psutil.virtual_memory().total / 2**30
    return f"{psutil.cpu_count()} cores, {memory:.0f} GiB, {platform.system()} {platform.release()}"


def markdown(
    lines: Sequence[Line],
    corpora: Sequence[Corpus],
    tools: Sequence[Tool],
    at: str,
    notes: Sequence[str] = (),
) -> str:
    """The tables with everything needed to read them."""
    sizes = {corpus.name: corpus for corpus in corpora}
    text = [f"# Stowage, rclone and s5cmd, {at}", "", f"{machine()}, shared by client and server. ", ""]
    text += [f"- **{tool.name}** ({tool.version()}): {tool.note}" for tool in tools]
    text += [f"- {note}" for note in notes]
    text += ["", _LEGEND, ""]
    for case in dict.fromkeys((line.corpus, line.route, line.link) for line in lines):
        corpus, route, link = case
        text += [f"## {sizes[corpus].label}: {ROUTES[route]}, {LINKS[link]}", "", *_HEAD]
        rows = [line for line in lines if (line.corpus, line.route, line.link) == case]
        text += [_row(line, sizes[corpus]) for line in rows]
        text.append("")
    return "\n".join(text)


_LEGEND = (
    "Wall time is the whole process, start to end; CPU is user and system time of the client's process "
    "tree, peak its largest resident memory; the server is excluded and has its own column. Switches are "
    "voluntary context switches. “Elsewhere” is CPU time of everything else on the machine meanwhile, “to "
    "disk” how long a sync took afterwards. All but min and max are medians; peak is the largest seen."
)
_HEAD = (
    "| tool | wall min / median / max (s) | rate | CPU (s) | switches (k) | peak (MiB) | server CPU (s) "
    "| elsewhere (s) "
    "| to disk (s) | speed against rclone | CPU against rclone | wall over loop | CPU over loop |",
    "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
)


def _row(line: Line, corpus: Corpus) -> str:
    count = len(corpus.sizes) / line.median
    rate = (
        f"{count:,.0f} objects/s"
        if corpus.name == "small"
        else f"{corpus.total / line.median / 2**20:,.0f} MiB/s"
    )
    speed = f"{line.speed:.2f}x" if line.speed else "-"
    work = f"{line.work:.2f}x" if line.work else "-"
    floor = f"{line.floor_wall:.2f}x | {line.floor_cpu:.2f}x" if line.floor_wall else "- | -"
    walls = f"{line.fastest:.2f} / {line.median:.2f} / {line.slowest:.2f}"
    seconds = f"{line.server_cpu:.2f} | {line.elsewhere:.2f} | {line.flush:.2f}"
    peak = f"{line.peak / 2**20:.0f}"
    switches = f"{line.switches / 1000:.1f}"
    return (
        f"| {line.tool} | {walls} | {rate} | {line.cpu:.2f} | {switches} | {peak} | {seconds} "
        f"| {speed} | {work} | {floor} |"
    )


def save(folder: Path, stem: str, text: str, lines: Sequence[Line], results: Sequence[Result]) -> Path:
    """Keep a session as markdown for people and JSON for programs; returns the markdown's path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stem}.md"
    path.write_text(text + "\n", encoding="utf-8")
    runs = [_bare(result) for result in results]
    document = {"machine": machine(), "summary": [asdict(line) for line in lines], "runs": runs}
    path.with_suffix(".json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return path


def _bare(result: Result) -> dict[str, Any]:
    bare = asdict(result)
    for output in ("stdout", "stderr"):
        del bare["measured"][output]
    return bare
