"""The section on what the default detector was to reach, held against the other sections."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.plan import Plan
from benchmarks.processes import BenchError
from benchmarks.results import load_sections
from benchmarks.tables import Report

_METHOD = """\
What the detector `fusion` was to reach, and the figures of the sections above and below. Those of \
faces are of held-out photos. An interval that contains the aim proves neither."""

_TRIED = """\
What was tried where an aim is not reached:

- *Speed.* Weights and maps in 8-bit integers, a coarse pass at half the size, crops instead of a \
full pass where candidates are few and large, one decoding of all crops, no pandas in workers. A \
smaller coarse pass, a higher threshold for candidates, or full passes for fewer images lose faces \
that the full pass finds. Scoring the second crop only where the first is promising saves little \
time and loses faces. A gate trained from scratch passed more images than the \
coarse pass.
- *`thorough` on WIDER FACE.* More passes (a mirrored one, twice the size), RetinaFace as a second \
network, and a second stage for more candidates. The labels from 32 px high that remain were \
looked at: see [`curate/detectors/README.md`](../../curate/detectors/README.md).
- *Photos at camera resolution.* Finer passes and tiles. At 36 megapixels `thorough` does not find \
one face, 24 px high, masked and in half profile, and hides too little of another.
- *What the coarse pass skips.* A loss of at most 0.2 % cannot be shown on the held-out photos \
with a face: even without any loss the interval reaches further."""

Cells = Sequence[str]


@dataclass(frozen=True, slots=True)
class Aim:
    """One aim: a text, the section that measures it, and what is read there.

    Args:
        text: for the table.
        section: name of the section.
        read: from the section's rows to the figure for the table and whether it is reached.
    """

    text: str
    section: str
    read: Callable[[Sequence[Cells]], tuple[str, bool | str]]


def aims(plan: Plan) -> Report:
    """Every aim beside the figure that was measured last."""
    sections = load_sections()
    report = Report("Aims of the detector", _METHOD)
    rows: list[Cells] = []
    for aim in AIMS:
        if aim.section not in sections:
            report.missing.append(f"{aim.text}: run scripts/bench {aim.section} --save.")
            continue
        figure, reached = aim.read(table_rows(sections[aim.section]))
        report.figures.append({"aim": aim.text, "figure": figure, "reached": reached})
        rows.append((aim.text, figure, _format(reached), f"`{aim.section}`"))
    report.tables = [("", ("aim", "measured", "reached", "section"), rows)]
    report.remarks = _TRIED
    return report


def _format(reached: bool | str) -> str:
    return reached if isinstance(reached, str) else "yes" if reached else "no"


def table_rows(text: str) -> list[Cells]:
    """The rows of all tables of a section, heads included, each after the line above its table."""
    rows: list[Cells] = []
    caption = ""
    for line in text.splitlines():
        if line.startswith("| "):
            rows.append((caption, *(cell.strip() for cell in line.strip("|").split("|"))))
        elif line:
            caption = line
    return rows


def find(rows: Sequence[Cells], *wanted_cells: str) -> Cells:
    """The first row that has these cells, in this order; with a final … only their start.

    Raises:
        BenchError: if there is none.
    """
    for row in rows:
        cells = iter(row)
        if all(any(_is(cell, wanted) for cell in cells) for wanted in wanted_cells):
            return row
    raise BenchError(
        f"no row {', '.join(wanted_cells)!r} in a section of RESULTS.md; measure it again"
    )


def _is(cell: str, wanted: str) -> bool:
    return cell.startswith(wanted[:-1]) if wanted.endswith("…") else cell == wanted


def number(cell: str) -> float:
    """The first number of a cell.

    Raises:
        BenchError: if it has none.
    """
    found = re.search(r"-?\d+(\.\d+)?", cell.replace(",", ""))
    if found is None:
        raise BenchError(f"{cell!r} in RESULTS.md is not a number; measure it again")
    return float(found.group())


def _times_deface(photos: str, profile: str, least: float) -> Callable[..., tuple[str, bool | str]]:
    def read(rows: Sequence[Cells]) -> tuple[str, bool | str]:
        cell = find(rows, photos, f"curate {profile}", "default install")[-2]
        return f"{cell} ×", number(cell) >= least

    return read


def _workers(rows: Sequence[Cells]) -> tuple[str, bool | str]:
    whole, started = find(rows, "whole command")[-1], find(rows, "once started")[-1]
    return f"{whole} ×; once started {started} ×", number(whole) >= 1.9


def _memory(rows: Sequence[Cells]) -> tuple[str, bool | str]:
    cell = find(rows, "490 photos…", "curate balanced", "default install")[5]
    return f"{cell} MB", number(cell) < 500


def _no_worse(which: str) -> Callable[..., tuple[str, bool | str]]:
    def read(rows: Sequence[Cells]) -> tuple[str, bool | str]:
        ours = find(rows, which, "held out", "curate balanced")
        theirs = find(rows, which, "held out", "deface (OpenCV)")
        better = number(ours[5]) >= number(theirs[5]) and number(ours[8]) >= number(theirs[8])
        figure = f"{ours[5]} at {ours[8]}; deface {theirs[5]} at {theirs[8]}"
        return figure, better

    return read


def _thorough(rows: Sequence[Cells]) -> tuple[str, bool | str]:
    ours = find(rows, "wider", "held out", "curate thorough")
    theirs = find(rows, "wider", "held out", "deface (OpenCV)")
    more = number(ours[5]) - number(theirs[5])
    at_most = 100 - number(theirs[5])
    return f"{more:+.1f} (at most +{at_most:.1f})", more >= 5


def _animals(rows: Sequence[Cells]) -> tuple[str, bool | str]:
    row = find(rows, "curate balanced", "held out")
    return f"{row[-1]} %", number(row[-1]) <= 2


def _composites(profile: str, least: float) -> Callable[..., tuple[str, bool | str]]:
    def read(rows: Sequence[Cells]) -> tuple[str, bool | str]:
        sizes = ("12.0", "36.2")
        cells = [find(rows, size, f"curate {profile}")[-2] for size in sizes]
        pairs = zip(sizes, cells, strict=True)
        figure = "; ".join(f"{cell} % at {size} megapixels" for size, cell in pairs)
        return figure, min(map(number, cells)) >= least

    return read


def _skipped(profile: str) -> Callable[..., tuple[str, bool | str]]:
    def read(rows: Sequence[Cells]) -> tuple[str, bool | str]:
        cell = find(rows, "all", profile)[5]
        share, _, upper = (float(each) for each in re.findall(r"\d+\.\d+", cell))
        return f"{cell} %", "yes" if upper <= 0.2 else "not shown" if share <= 0.2 else "no"

    return read


AIMS = (
    Aim("`balanced` at least 3 × deface on photos like ImageNet's", "speed",
        _times_deface("490 photos…", "balanced", 3)),
    Aim("`fast` at least 4 × deface there", "speed", _times_deface("490 photos…", "fast", 4)),
    Aim("`balanced` at least 1.2 × deface on crowds", "crowds",
        _times_deface("…", "balanced", 1.2)),
    Aim("two workers at least 1.9 × one", "scaling", _workers),
    Aim("less than 500 MB a process, `balanced`", "speed", _memory),
    Aim("`balanced` hides no fewer faces of WIDER FACE than deface, at no lower precision, %",
        "coverage", _no_worse("wider")),
    Aim("the same on face masks, %", "coverage", _no_worse("facemask")),
    Aim("`thorough` hides at least 5 points more of WIDER FACE than deface", "coverage", _thorough),
    Aim("`balanced` puts a box on at most 2 % of photos of animals", "animals", _animals),
    Aim("`thorough` hides every face from 24 px high in large photos", "composites",
        _composites("thorough", 100)),
    Aim("`balanced` hides all but 5 % of them", "composites", _composites("balanced", 95)),
    Aim("`balanced` loses at most 0.2 % of the photos with a face by skipping the full pass",
        "skipped", _skipped("balanced")),
    Aim("`fast` likewise", "skipped", _skipped("fast")),
)  # fmt: skip
