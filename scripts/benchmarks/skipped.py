"""The section on the coarse pass: what skipping the full pass costs, and what it saves."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks import photos
from benchmarks.boxes import Share
from benchmarks.plan import Plan
from benchmarks.tables import Report, format_share, share_figures
from curate.core.protocols import Pixels
from curate.detectors import DetectorOptions, fusion

SETS = ("imagenet", "coco/images", "imagenette/val", "imagenette/train")
DOGS = "n02102040"
"""The class of imagenette whose training photos took part in training the verifier."""
PROFILES = ("fast", "balanced")
SURE, HEIGHT = (0.5, 0.8), 16.0

_METHOD = f"""\
Photos that took part in no choice, below 1 megapixel. *Found*: photos in which `balanced` with \
the full pass on every photo accepts a face of at least the given probability that is at least \
{HEIGHT:.0f} px high; *lost*: those of them in which the profile as it is finds no face. Per cent, \
with Wilson's 95 % intervals. CPU milliseconds a photo are those of detection alone, one thread."""


def skipped(plan: Plan) -> Report:
    """Faces lost by the coarse pass and the crops, by set and profile."""
    report = Report("What the coarse pass skips", _METHOD)
    detectors = {
        name: fusion.build(DetectorOptions(profile=name, device="cpu")) for name in PROFILES
    }
    whole = fusion.build(DetectorOptions(device="cpu"))
    whole.plan = replace(whole.plan, coarse=None)
    totals = {name: np.zeros((len(SURE), 2), dtype=int) for name in PROFILES}
    rows: list[tuple[str, ...]] = []
    every = 0
    for name in SETS:
        files = [p for p in photos.find(plan.data, name) if not _trained_on(p)]
        tallies = {profile: Tally() for profile in PROFILES}
        for path in plan.few(files):
            pixels = cv2.cvtColor(cv2.imread(str(path), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
            if pixels.shape[0] * pixels.shape[1] >= fusion.LARGE:
                continue
            full, spent = _decide(whole, pixels)
            for profile, detector in detectors.items():
                tallies[profile].add(full, spent, *_decide(detector, pixels))
        every += tallies["balanced"].photos
        for profile, tally in tallies.items():
            totals[profile] += tally.counts
            rows.append((name, profile, *tally.row()))
            report.figures.append({"set": name, "profile": profile, **tally.figures()})
    for profile, counts in totals.items():
        rows.append(("all", profile, str(every), *_shares(counts), "", "", "", ""))
    head = (
        "photos", "profile", "number",
        *(text for sure in SURE for text in (f"found from {sure}", f"lost from {sure}, %")),
        "no full pass", "with crops", "CPU ms", "CPU ms, full pass on every photo",
    )  # fmt: skip
    report.tables = [("", head, rows)]
    return report


@dataclass
class Tally:
    """Counts of one set and profile; ``counts`` is found and lost by probability, shape (S, 2)."""

    photos: int = 0
    counts: np.ndarray = field(default_factory=lambda: np.zeros((len(SURE), 2), dtype=int))
    stages: Counter[str] = field(default_factory=Counter)
    spent: np.ndarray = field(default_factory=lambda: np.zeros(2))

    def add(self, full: fusion.Decision, slow: float, made: fusion.Decision, fast: float) -> None:
        """Add one photo: the decision after a full pass and the profile's own, with CPU seconds."""
        heights = full.boxes[:, 3] - full.boxes[:, 1]
        best = full.probabilities[full.accepted & (heights >= HEIGHT)].max(initial=0.0)
        found = best >= np.array(SURE)
        self.counts += np.column_stack([found, found & (not made.accepted.any())])
        self.stages[made.stage] += 1
        self.spent += (fast, slow)
        self.photos += 1

    def row(self) -> tuple[str, ...]:
        """The cells of its row."""
        number = max(self.photos, 1)
        return (
            str(self.photos), *_shares(self.counts),
            f"{(number - self.stages['full']) / number:.0%}",
            f"{self.stages['crops'] / number:.0%}",
            *(f"{1000 * value / number:.1f}" for value in self.spent),
        )  # fmt: skip

    def figures(self) -> dict[str, Any]:
        """Its plain values."""
        return {
            "photos": self.photos,
            "lost": {
                str(sure): share_figures(Share(int(lost), int(found))) if found else None
                for sure, (found, lost) in zip(SURE, self.counts, strict=True)
            },
            "stages": dict(self.stages),
            "cpu_ms": [round(1000 * value / max(self.photos, 1), 1) for value in self.spent],
        }


def _decide(detector: fusion.Fusion, pixels: Pixels) -> tuple[fusion.Decision, float]:
    began = time.process_time()
    return detector.decide(pixels), time.process_time() - began


def _trained_on(path: Path) -> bool:
    return path.parent.name == DOGS and path.parents[1].name == "train"


def _shares(counts: np.ndarray) -> tuple[str, ...]:
    cells: list[str] = []
    for found, lost in counts:
        share = format_share(Share(int(lost), int(found))) if found else "–"
        cells += [str(int(found)), share]
    return tuple(cells)
