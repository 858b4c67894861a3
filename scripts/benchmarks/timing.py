"""The sections on time and memory: speed, memory and scaling."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks import photos
from benchmarks.plan import Plan
from benchmarks.processes import BenchError, Usage
from benchmarks.tables import Report, format_spread
from benchmarks.tools import WORKERS, Tool, curates, defaces

_SPEED = """\
Whole commands in fresh processes, start-up included, on two cores; curate with two workers. \
Every round runs each tool once on the same photos, in turning order, after one discarded run \
each; figures are medians over {rounds}. *CPU* is user and system time of all \
processes (`wait4`) per photo; *memory* is the peak resident size of the largest process, and \
of all processes together with shared pages counted for each (`/proc`, ten times a second). \
*Times deface* is the ratio of photos per second in the same round, with the least and the \
greatest over the rounds."""

_MEMORY = """\
Peak resident memory (`VmHWM`) of the largest worker and of the command's own process, \
`curate blur` with two workers at the default profile, on {small} and on {large} small JPEGs \
of 250 different sizes (96 to 216 px a side). One run each."""

_SCALING = """\
Whole `curate blur` commands at the default profile in fresh processes, with one worker and with \
two, on the same {count} photos on two cores, in turn; medians over {rounds}, ratios with their \
least and greatest. *Once started* leaves the start-up out, which no worker shortens: the time \
of the same command on {few} photos is taken off both times and both counts."""

_SHORT, _FEW = 60, 24


@dataclass(frozen=True, slots=True)
class Case:
    """Some photos, and the tools that are timed on them."""

    name: str
    photos: Sequence[Path]
    tools: Sequence[Tool]


def speed(plan: Plan) -> Report:
    """Photos per second, CPU time and memory, against deface, on photos like ImageNet's."""
    plain, *others = defaces()
    usual = curates("fast", "balanced", against=plan.against)
    thorough = curates("thorough", against=plan.against)
    everything = photos.find(plan.data, *photos.MIXED)
    few = photos.thin(everything, _FEW if plan.quick else _SHORT)
    cases = [Case("of all sets", few, [plain, *others, *usual, *thorough])]
    if not plan.quick:
        like = photos.find(plan.data, "imagenet", "animals", "coco/images", "imagenette/val")
        cases.insert(0, Case("like ImageNet's", like, [plain, *usual]))
    return _compare(plan, "Speed and memory against deface", cases)


def crowds(plan: Plan) -> Report:
    """The same on photos of crowds."""
    found = plan.few(photos.find(plan.data, "facemask/images", "wider/images"))
    tools = [defaces()[0], *curates("fast", "balanced", against=plan.against)]
    case = Case("of crowds (`wider`, `facemask`)", found, tools)
    return _compare(plan, "Speed against deface on crowds", [case])


def _compare(plan: Plan, title: str, cases: Sequence[Case]) -> Report:
    report = Report(title, _SPEED.format(rounds=_rounds(plan)))
    for case in cases:
        count = len(case.photos)
        runs = _time(case.photos, plan, case.tools, report)
        rows = [_speed_row(tool, usages, runs, count) for tool, usages in runs]
        report.tables.append((f"{count} photos {case.name}:", _SPEED_HEAD, rows))
        report.figures += [
            {**_figures(tool, count, usages), "photos": case.name} for tool, usages in runs
        ]
    return report


def memory(plan: Plan) -> Report:
    """Peak memory per worker, at two sizes of the dataset."""
    small, large = (50, 200) if plan.quick else (1_000, 10_000)
    report = Report(
        "Memory does not grow with the dataset",
        _MEMORY.format(small=f"{small:,}", large=f"{large:,}"),
    )
    rows: list[Sequence[str]] = []
    with TemporaryDirectory(prefix="curate-bench-") as folder:
        kinds = photos.make_small(plan.data, Path(folder) / "kinds")
        for count in (small, large):
            photos.multiply(kinds, count, Path(folder) / str(count))
        for tool in curates("balanced"):
            runs: dict[int, Usage] = {}
            for count in (small, large):
                _say(tool, count)
                try:
                    runs[count] = tool.run(Path(folder) / str(count))
                except BenchError as error:
                    report.missing.append(f"{_full_name(tool)}, {count} photos: {error}.")
                    continue
                report.figures.append(_figures(tool, count, [runs[count]]))
            if len(runs) == 2:
                rows.append(_memory_row(tool, runs[small], runs[large], large))
    head = (
        "install", f"worker at {small:,}, MB", f"worker at {large:,}, MB", "growth, MB",
        f"own process at {small:,}, MB", f"own process at {large:,}, MB", "photos/s",
    )  # fmt: skip
    report.tables = [("", head, rows)]
    return report


def scaling(plan: Plan) -> Report:
    """Photos per second with one worker and with two."""
    everything = photos.find(plan.data, *photos.MIXED)
    many, few = (_FEW, 6) if plan.quick else (len(everything), _FEW)
    report = Report(
        "Two workers against one", _SCALING.format(count=many, few=few, rounds=_rounds(plan))
    )
    (tool,) = curates("balanced")
    tools = [replace(tool, workers=1), tool]
    long, short = (
        _time(photos.thin(everything, count), plan, tools, report) for count in (many, few)
    )
    rows: list[Sequence[str]] = []
    if len(long) == len(short) == 2:
        whole = [[usage.seconds for usage in usages] for _, usages in long]
        began = [median(usage.seconds for usage in usages) for _, usages in short]
        started = [
            [s - start for s in seconds] for seconds, start in zip(whole, began, strict=True)
        ]
        rows.append(_scaling_row("whole command", many, whole))
        rows.append(_scaling_row("once started", many - few, started))
    for runs, count in ((long, many), (short, few)):
        report.figures += [
            {**_figures(used, count, usages), "workers": workers}
            for (used, usages), workers in zip(runs, (1, WORKERS), strict=False)
        ]
    head = ("", "1 worker, photos/s", "2 workers, photos/s", "ratio")
    report.tables = [("", head, rows)]
    return report


def _time(
    chosen: Sequence[Path], plan: Plan, tools: Sequence[Tool], report: Report
) -> list[tuple[Tool, list[Usage]]]:
    """Run tools in turn, as many rounds as planned; one that fails once is left out."""
    usages: dict[int, list[Usage]] = {number: [] for number in range(len(tools))}
    with TemporaryDirectory(prefix="curate-bench-") as folder:
        source, few = Path(folder) / "photos", Path(folder) / "few"
        photos.copy(chosen, plan.data, source)
        photos.copy(chosen[:4], plan.data, few)
        for number in range(-1, plan.repeats):
            if number < 0 and plan.quick:
                continue
            for which in _turned(sorted(usages), number):
                _say(tools[which], len(chosen), number + 1)
                try:
                    usage = tools[which].run(source if number >= 0 else few)
                except BenchError as error:
                    del usages[which]
                    report.missing.append(f"{_full_name(tools[which])}: {error}.")
                    continue
                if number >= 0:
                    usages[which].append(usage)
    return [(tools[number], usages[number]) for number in sorted(usages)]


def _turned(values: Sequence[int], by: int) -> list[int]:
    """The same values, begun at another one each round, so that no tool is always first."""
    start = by % len(values) if values else 0
    return [*values[start:], *values[:start]]


_SPEED_HEAD = (
    "tool", "install", "photos/s", "CPU ms per photo", "largest process, MB", "together, MB",
    "times deface (OpenCV)", "times deface (ONNX Runtime)",
)  # fmt: skip


def _speed_row(
    tool: Tool, usages: list[Usage], runs: list[tuple[Tool, list[Usage]]], count: int
) -> Sequence[str]:
    ratios = []
    for rival in defaces():
        theirs = next((used for other, used in runs if other == rival), [])
        pairs = zip(theirs, usages, strict=True) if theirs else ()
        ratios.append(format_spread([a.seconds / b.seconds for a, b in pairs]))
    return (
        tool.name,
        "its own" if tool in defaces() else tool.environment.name,
        f"{count / median(usage.seconds for usage in usages):.1f}",
        f"{1000 * median(usage.cpu_seconds for usage in usages) / count:.0f}",
        f"{max(usage.peak_mb for usage in usages):.0f}",
        f"{max(usage.together_mb for usage in usages):.0f}",
        *ratios,
    )


def _scaling_row(name: str, count: int, seconds: Sequence[Sequence[float]]) -> Sequence[str]:
    one, two = seconds
    ratios = [a / b for a, b in zip(one, two, strict=True)]
    return (name, *(f"{count / median(s):.1f}" for s in seconds), format_spread(ratios))


def _memory_row(tool: Tool, small: Usage, large: Usage, count: int) -> Sequence[str]:
    return (
        tool.environment.name,
        f"{small.worker_mb:.0f}",
        f"{large.worker_mb:.0f}",
        f"{large.worker_mb - small.worker_mb:+.0f}".replace("-", "−"),
        f"{small.main_mb:.0f}",
        f"{large.main_mb:.0f}",
        f"{count / large.seconds:.1f}",
    )


def _figures(tool: Tool, count: int, usages: Sequence[Usage]) -> dict[str, Any]:
    runs = [{key: round(value, 4) for key, value in asdict(usage).items()} for usage in usages]
    return {
        "tool": tool.name, "install": tool.environment.name, "photos": count, "runs": runs,
    }  # fmt: skip


def _full_name(tool: Tool) -> str:
    return f"{tool.name}, {tool.environment.name}"


def _rounds(plan: Plan) -> str:
    return "1 round" if plan.repeats == 1 else f"{plan.repeats} rounds"


def _say(tool: Tool, count: int, number: int | None = None) -> None:
    turn = "" if number is None else f", round {number}" if number else ", warming up"
    print(f"  {_full_name(tool)}, {count} photos{turn}", file=sys.stderr)
