"""The section on the coarse pass: what skipping the full pass costs, and what it saves."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from benchmarks import photos
from benchmarks.boxes import Share
from benchmarks.plan import Plan
from benchmarks.tables import Report, format_share, share_figures
from curate.detectors import DetectorOptions, fusion

SETS = ("imagenet", "coco/images", "imagenette/val", "imagenette/train")
DOGS = "n02102040"
"""The class of imagenette whose training photos took part in training the verifier."""
SURE, HEIGHT = 0.5, 16.0

_METHOD = f"""\
Photos that took part in no choice, below 1 megapixel. *Found*: photos in which `balanced` with \
the full pass on every photo accepts a face of probability {SURE} or more that is at least \
{HEIGHT:.0f} px high; *lost*: those of them in which `balanced` as it is finds no face. Per cent, \
with Wilson's 95 % intervals. CPU milliseconds a photo are those of detection alone, one thread."""


def skipped(plan: Plan) -> Report:
    """Faces lost by the coarse pass and the crops, by set."""
    report = Report("What the coarse pass skips", _METHOD)
    usual = fusion.build(DetectorOptions(device="cpu"))
    whole = fusion.build(DetectorOptions(device="cpu"))
    whole.plan = replace(whole.plan, coarse=None)
    rows: list[tuple[str, ...]] = []
    totals = np.zeros(3, dtype=int)
    for name in SETS:
        files = [p for p in photos.find(plan.data, name) if not _trained_on(p)]
        counts = np.zeros(3, dtype=int)
        stages = dict.fromkeys(("coarse", "crops", "full"), 0)
        spent = np.zeros(2)
        for path in plan.few(files):
            pixels = cv2.cvtColor(cv2.imread(str(path), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
            if pixels.shape[0] * pixels.shape[1] >= fusion.LARGE:
                continue
            began = time.process_time()
            quick = usual.decide(pixels)
            middle = time.process_time()
            full = whole.decide(pixels)
            spent += (middle - began, time.process_time() - middle)
            heights = full.boxes[:, 3] - full.boxes[:, 1]
            sure = full.accepted & (full.probabilities >= SURE) & (heights >= HEIGHT)
            found = bool(sure.any())
            counts += (1, found, found and not quick.accepted.any())
            stages[quick.stage] += 1
        totals += counts
        rows.append(_row(name, counts, stages, spent, report))
    rows.append(("all", *_shares(totals), "", "", "", ""))
    head = (
        "photos", "number", "found", "lost", "lost, % of found", "no full pass", "with crops",
        "CPU ms", "CPU ms, full pass on every photo",
    )  # fmt: skip
    report.tables = [("", head, rows)]
    return report


def _trained_on(path: Path) -> bool:
    return path.parent.name == DOGS and path.parents[1].name == "train"


def _shares(counts: np.ndarray) -> tuple[str, str, str, str]:
    number, found, lost = (int(value) for value in counts)
    share = format_share(Share(lost, found)) if found else "–"
    return str(number), str(found), str(lost), share


def _row(
    name: str, counts: np.ndarray, stages: dict[str, int], spent: np.ndarray, report: Report
) -> tuple[str, ...]:
    number = max(int(counts[0]), 1)
    figures = share_figures(Share(int(counts[2]), int(counts[1]))) if counts[1] else None
    milliseconds = 1000 * spent / number
    report.figures.append(
        {
            "set": name,
            "photos": int(counts[0]),
            "lost": figures,
            "stages": stages,
            "cpu_ms": [round(float(value), 1) for value in milliseconds],
        }
    )
    return (
        name, *_shares(counts), f"{(number - stages['full']) / number:.0%}",
        f"{stages['crops'] / number:.0%}", *(f"{value:.1f}" for value in milliseconds),
    )  # fmt: skip
