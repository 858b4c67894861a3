"""``curate detect --explain``: a page that shows how the default detector decided one image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

import curate
from curate import codec
from curate.core.errors import DataError, UsageError
from curate.core.protocols import Pixels
from curate.detectors.candidates import Floats, overlap
from curate.detectors.fusion import NMS_IOU, Decision, Fusion
from curate.detectors.profiles import Rule
from curate.layouts.access.folder import MAX_IMAGE
from curate.pipeline.tools import check_recipe, codec_options, open_detector
from curate.recipe import Recipe
from curate.report.page import render_page
from curate.report.text import name_source
from curate.report.values import Gallery, Page, Picture, Section, Table
from curate.storage.atomic import save_text
from curate.storage.regular import read_regular

MAX_ROWS = 60
"""Candidates in the table, by descending probability."""
MAX_SIDE = 1280
"""Longer side of the picture in the page, pixels."""
FACE, NONE = (40, 170, 60), (215, 70, 40)
"""Colors of accepted and rejected candidates, RGB."""
_WARNING = "The picture shows faces as they are; do not publish this page."
_STAGES = {
    "coarse": "The coarse pass decided: it found {count} candidates.",
    "crops": "The coarse pass found few candidates, which were scored again on crops of their "
    "own; no full pass was needed.",
    "full": "Full passes ran over the image.",
}


def explain(image: Path, out: Path, recipe: Recipe | None = None) -> int:
    """Write a page about the candidates of one image, and what was decided about each.

    Args:
        image: the image file; of an animation, the first frame.
        out: the HTML file to write.
        recipe: which profile and thresholds; by default those of `curate.blur`.

    Returns:
        The number of faces.

    Raises:
        UsageError: if the recipe's detector is not ``fusion``.
        DataError: if the image cannot be read or decoded.
    """
    recipe = recipe or Recipe()
    check_recipe(recipe)
    if recipe.detector not in (None, "fusion"):
        raise UsageError(
            f"--explain describes the detector 'fusion', not {recipe.detector!r}; "
            "leave --detector out"
        )
    try:
        data = read_regular(image, follow_links=True, max_bytes=MAX_IMAGE)
    except OSError as error:
        raise DataError(f"{image} cannot be read: {error.strerror}") from error
    loaded = codec.load(data, codec_options(recipe))
    pixels = codec.upright_rgb(loaded, 0)
    detector = open_detector(recipe, None)
    if not isinstance(detector, Fusion):
        raise UsageError("--explain describes the detector 'fusion'; leave --detector out")
    decision = detector.decide(pixels)
    page = describe(image.name, pixels, decision, detector.passes.rule, recipe)
    if loaded.orientation != 1:
        page = replace(page, lead=(*page.lead, _AS_TURNED))
    save_text(out, render_page(page, name_source(image)))
    return len(decision.faces)


_AS_TURNED = (
    "The image is explained as its EXIF orientation turns it; detect and blur also search it as it "
    "is stored, and may find further faces there."
)


def describe(name: str, pixels: Pixels, decision: Decision, rule: Rule, recipe: Recipe) -> Page:
    """The page about one image.

    Args:
        name: the image's file name.
        pixels: H×W×3 uint8, RGB, upright.
        decision: what the detector found and decided.
        rule: by which thresholds.
        recipe: for the profile's name.
    """
    count, faces = len(decision.boxes), len(decision.faces)
    order = np.argsort(-decision.probabilities, kind="stable")[:MAX_ROWS]
    height, width = pixels.shape[:2]
    verdict = f"{faces} faces from {count} candidates."
    about = (
        f"{width} × {height} pixels; curate-dataset {curate.__version__}, profile {recipe.profile}"
    )
    lead = (
        _STAGES[decision.stage].format(count=count)
        + ("" if decision.rescored else " Scores of the passes decided; no crops were scored."),
    )
    picture = Picture(_drawn(pixels, decision, order), "Accepted candidates green, others red")
    table = Table(
        "Candidates by probability; scores are 0 to 1, the verifier's are log-odds of a person",
        ("#", "x, y", "w\u00a0×\u00a0h", *decision.passes, "wide crop", "close crop", "verifier",
         "probability", "needed", "decision"),
        list(_rows(decision, rule, order)),
    )  # fmt: skip
    sections = [Section("Image", (Gallery(_WARNING, (picture,), wide=True),))]
    note = (
        "A face that has no row had no score of 0.05 in any pass: a larger input (--profile "
        "thorough, no --max-side) can help. Otherwise its row says which threshold it missed."
    )
    sections.append(Section("Candidates", (table, note) if count else (note,)))
    return Page(f"Faces in {name}", lead, tuple(sections), about, verdict)


def _rows(decision: Decision, rule: Rule, order: np.ndarray) -> Iterator[tuple[str, ...]]:
    heights = decision.boxes[:, 3] - decision.boxes[:, 1]
    crowded = decision.rescored is None
    minimum = rule.minimum(decision.probabilities, heights, crowded)
    sure = bool((decision.probabilities >= rule.sure).any())
    kept = decision.boxes[decision.kept]
    for number, i in enumerate(order, start=1):
        x0, y0, x1, y1 = decision.boxes[i]
        crops = ("–", "–", "–")
        if decision.rescored is not None and decision.person is not None:
            wide, close = decision.rescored.scores[:, i]
            crops = (f"{wide:.2f}", f"{close:.2f}", f"{decision.person[i]:+.1f}")
        yield (
            str(number), f"{x0:.0f}, {y0:.0f}", f"{x1 - x0:.0f} × {y1 - y0:.0f}",
            *(f"{score:.2f}" for score in decision.scores[i]), *crops,
            f"{decision.probabilities[i]:.2f}", f"{minimum[i]:.2f}",
            _reason(decision, kept, int(i), heights[i] < rule.small, sure),
        )  # fmt: skip


def _reason(decision: Decision, kept: Floats, i: int, small: bool, sure: bool) -> str:
    if decision.accepted[i]:
        box = decision.boxes[i]
        if any(np.array_equal(box, each) for each in kept):
            return "face"
        if (overlap(box, kept) > NMS_IOU).any():
            return "same face as a more probable box"
        return "face"
    if small:
        return "rejected: too small for its probability"
    return "rejected: improbable" if sure else "rejected: improbable without a sure face nearby"


def _drawn(pixels: Pixels, decision: Decision, order: np.ndarray) -> bytes:
    """The image with numbered boxes, as JPEG."""
    factor = min(MAX_SIDE / max(pixels.shape[:2]), 1.0)
    canvas = np.ascontiguousarray(pixels)
    if factor < 1:
        canvas = np.asarray(cv2.resize(pixels, None, fx=factor, fy=factor), dtype=np.uint8)
    canvas = canvas.copy()
    for number, i in reversed(list(enumerate(order, start=1))):
        x0, y0, x1, y1 = (round(value * factor) for value in decision.boxes[i].tolist())
        color = FACE if decision.accepted[i] else NONE
        cv2.rectangle(canvas, (x0, y0), (x1, y1), color, 2 if decision.accepted[i] else 1)
        corner = (x0, max(y0 - 3, 10))
        cv2.putText(canvas, str(number), corner, cv2.FONT_HERSHEY_SIMPLEX, 0.4, color, 1)
    done, encoded = cv2.imencode(".jpg", canvas[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])
    if not done:
        raise DataError("the picture of the page could not be encoded")
    return encoded.tobytes()
