"""What we aim at, beside what was measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.report import Line

MAX_OVER_LOOP = 1.25
"""A whole migration beside the bare loop, wall and CPU time."""
MIN_SMALL_SPEED = 1.8
"""Beside rclone, small objects to S3 and between buckets."""
MIN_SPEED = 1.0
"""Beside rclone, everything else; beside s5cmd, small objects a round trip away."""
MAX_PEAK_MIB = 250
OURS = "stowage"


@dataclass(frozen=True)
class Aim:
    """One number of one case. ``most``: the aim is not to exceed it."""

    case: tuple[str, str, str]
    what: str
    measured: float
    aim: float
    most: bool = False

    @property
    def met(self) -> bool:
        """Whether it is reached."""
        return self.measured <= self.aim if self.most else self.measured >= self.aim


def judge(lines: Sequence[Line]) -> list[Aim]:
    """Every aim that these measurements say something about."""
    cases: dict[tuple[str, str, str], dict[str, Line]] = {}
    for line in lines:
        cases.setdefault((line.corpus, line.route, line.link), {})[line.tool] = line
    return [aim for case, tools in cases.items() if OURS in tools for aim in _of_case(case, tools)]


def _of_case(case: tuple[str, str, str], tools: dict[str, Line]) -> Iterator[Aim]:
    corpus, route, link = case
    ours = tools[OURS]
    if ours.floor_wall is not None and ours.floor_cpu is not None:
        yield Aim(case, "wall over loop", ours.floor_wall, MAX_OVER_LOOP, most=True)
        yield Aim(case, "CPU over loop", ours.floor_cpu, MAX_OVER_LOOP, most=True)
    if ours.speed is not None:
        fast = corpus == "small" and route != "s3-local"
        yield Aim(case, "speed against rclone", ours.speed, MIN_SMALL_SPEED if fast else MIN_SPEED)
    if (corpus, link) == ("small", "20ms") and "s5cmd" in tools:
        yield Aim(case, "speed against s5cmd", tools["s5cmd"].median / ours.median, MIN_SPEED)
    yield Aim(case, "peak MiB", ours.peak / 2**20, MAX_PEAK_MIB, most=True)


WHAT = ("speed against rclone", "speed against s5cmd", "wall over loop", "CPU over loop", "peak MiB")


def table(aims: Sequence[Aim]) -> list[str]:
    """One row for each case: each number with its aim; what is missed is in bold."""
    if not aims:
        return []
    rows: dict[tuple[str, str, str], dict[str, Aim]] = {}
    for aim in aims:
        rows.setdefault(aim.case, {})[aim.what] = aim
    met = sum(aim.met for aim in aims)
    text = [f"## Aims: {met} of {len(aims)} met", "", "What is missed is in bold, with its aim.", ""]
    text += ["| objects | route | link | " + " | ".join(WHAT) + " |", "|---" * (3 + len(WHAT)) + "|"]
    for case, found in rows.items():
        cells = [_cell(found[what]) if what in found else "-" for what in WHAT]
        text.append(f"| {' | '.join((*case, *cells))} |")
    return [*text, ""]


def _cell(aim: Aim) -> str:
    number = f"{aim.measured:.0f}" if aim.what.endswith("MiB") else f"{aim.measured:.2f}x"
    if aim.met:
        return number
    return f"**{number}** ({'at most' if aim.most else 'at least'} {aim.aim:g})"
