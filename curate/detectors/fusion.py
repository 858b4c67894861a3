"""The detector of the three profiles: passes of CenterFace at several scales, calibrated.

1. A coarse pass of CenterFace looks for candidate boxes down to a low score. An image
   without any has no face. (`thorough` and large images skip this stage.)
2. Few candidates are scored again on crops of their own (`curate.detectors.verifier`). If
   none of them is probable, the image has no face; if those that are probable are large
   and one is accepted, the crops decide.
3. Else full passes follow, at the input scales at which the network knows small faces.
   Their candidates are clustered; few plausible ones are scored again on crops.
4. A calibrated regression (`curate.detectors.calibration`) gives each candidate a
   probability, which the profile's `Rule` (`curate.detectors.profiles`) accepts or not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

import curate
from curate.core.faces import Detection
from curate.core.protocols import Model, Pixels
from curate.core.stages import stage as timed
from curate.detectors import centerface
from curate.detectors.calibration import FILE, SHA256, Calibration, load_calibrations, log_odds
from curate.detectors.candidates import (
    CLUSTER_IOU,
    Candidates,
    Floats,
    Indices,
    Mask,
    cluster,
    nms_indices,
    overlap,
)
from curate.detectors.centerface import CenterFace, with_chin
from curate.detectors.device import choose_device
from curate.detectors.network import Network
from curate.detectors.options import DetectorOptions
from curate.detectors.passes import check_pixels
from curate.detectors.profiles import NATIVE, InputScale, Passes
from curate.detectors.verifier import HEAD, HEAD_SHA256, Head, Rescored, load_head, rescore_batch
from curate.detectors.weights import OWN

MIN_SCORE = 0.05
"""Boxes with a lower score are no candidates."""
NMS_IOU = 0.3
"""IoU above which the less probable of two accepted boxes is dropped."""
LARGE = 1_000_000
"""Pixels from which an image counts as a photo at camera resolution."""
PLAUSIBLE = 0.02
"""Probability below which a candidate is not scored again."""
FOUND = 0.1
"""Score in a crop from which its box is averaged with the candidate's."""


@dataclass(frozen=True, slots=True, eq=False)
class Decision:
    """How one image was decided.

    Args:
        stage: the last stage: ``coarse``, ``crops`` or ``full``.
        passes: names of the passes, in the order of the columns of ``scores``.
        boxes: float64, shape (N, 4), pixels of the image, before the chin is added.
        scores: float64, shape (N, P): the best score in each pass, 0 where there is none.
        rescored: the second stage, or None where it did not run.
        person: log-odds of the verifier's head, shape (N,), or None.
        probabilities: float64, shape (N,).
        accepted: bool, shape (N,), before suppression.
    """

    stage: str
    passes: tuple[str, ...]
    boxes: Floats
    scores: Floats
    rescored: Rescored | None
    person: Floats | None
    probabilities: Floats
    accepted: Mask

    @property
    def faces(self) -> Candidates:
        """The kept boxes, each extended over those that it suppresses, with probabilities."""
        boxes = self.boxes[self.kept].copy()
        others = self.boxes[self.accepted]
        for i, box in enumerate(self.boxes[self.kept]):
            same = others[overlap(box, others) >= CLUSTER_IOU]
            boxes[i, :2] = np.minimum(box[:2], same[:, :2].min(axis=0, initial=np.inf))
            boxes[i, 2:] = np.maximum(box[2:], same[:, 2:].max(axis=0, initial=-np.inf))
        return Candidates(boxes, self.probabilities[self.kept])

    @property
    def kept(self) -> Indices:
        """Indices of the accepted candidates that remain after suppression."""
        accepted = np.flatnonzero(self.accepted)
        found = Candidates(self.boxes[accepted], self.probabilities[accepted])
        kept: Indices = accepted[nms_indices(found, NMS_IOU)]
        return kept


@dataclass(frozen=True, slots=True, eq=False)
class _Doubtful:
    """Candidates of one image that are to be scored again.

    Args:
        image: H×W×3 uint8.
        stage: the stage that found them: ``coarse`` or ``full``.
        passes: names of the passes.
        boxes: float64, shape (N, 4).
        scores: float64, shape (N, P).
    """

    image: Pixels
    stage: str
    passes: tuple[str, ...]
    boxes: Floats
    scores: Floats


class Fusion:
    """Detector that fuses passes of CenterFace.

    Args:
        center: CenterFace, for the passes.
        crops: CenterFace's network with the maps that the verifier reads.
        passes: what the profile runs.
        head: the verifier's head.
        calibrations: by name; ``crops`` is that of the second stage.
    """

    name = "fusion"

    def __init__(
        self,
        center: CenterFace,
        crops: Network,
        passes: Passes,
        head: Head,
        calibrations: Mapping[str, Calibration],
    ) -> None:
        self.passes = passes
        self._center = center
        self._crops = crops
        self._head = head
        self._calibrations = calibrations

    def detect(self, image: Pixels) -> list[Detection]:
        """Detect faces in one upright RGB image, H×W×3 uint8."""
        check_pixels(image)
        return self._detections(image, self.decide(image))

    def detect_batch(self, images: Sequence[Pixels]) -> list[list[Detection]]:
        """Detect in several images, which may differ in size; one list each, in order."""
        for image in images:
            check_pixels(image)
        decisions = self.decide_batch(images)
        return [
            self._detections(image, decision)
            for image, decision in zip(images, decisions, strict=True)
        ]

    def models(self) -> tuple[Model, ...]:
        """The networks that take part, and the files that decide, for the manifest."""
        (center,) = self._center.models()
        verifier = replace(
            center,
            name="verifier",
            package=OWN,
            version=curate.__version__,
            weights_sha256={HEAD: HEAD_SHA256, FILE: SHA256},
        )
        return (center, verifier)

    def decide(self, image: Pixels) -> Decision:
        """Find candidates in one image, H×W×3 uint8, and decide which are faces."""
        return self._decide([image])[0]

    def decide_batch(self, images: Sequence[Pixels]) -> list[Decision]:
        """Decide several images; where the network runs batches, each stage runs on all of them."""
        if self._crops.batches:
            return self._decide(images)
        return [self.decide(image) for image in images]

    def _decide(self, images: Sequence[Pixels]) -> list[Decision]:
        decisions: dict[int, Decision] = {}
        small = [i for i, image in enumerate(images) if self._starts_coarse(image)]
        for i, decision in zip(small, self._coarse([images[i] for i in small]), strict=True):
            if decision is not None:
                decisions[i] = decision
        for is_large in (False, True):
            rest = [
                i
                for i, image in enumerate(images)
                if i not in decisions and _is_large(image) == is_large
            ]
            full = self._full([images[i] for i in rest], is_large)
            decisions.update(zip(rest, full, strict=True))
        return [decisions[i] for i in range(len(images))]

    def _starts_coarse(self, image: Pixels) -> bool:
        return self.passes.coarse is not None and not _is_large(image)

    def _coarse(self, images: Sequence[Pixels]) -> list[Decision | None]:
        """Decide small images by the coarse pass and by crops; None where full passes follow."""
        passes = self.passes
        if passes.coarse is None or not images:
            return []
        with timed("gate"):
            found = self._center.candidates_batch(images, passes.coarse)
        decisions: list[Decision | None] = [None] * len(images)
        doubtful: dict[int, _Doubtful] = {}
        for i, (image, coarse) in enumerate(zip(images, found, strict=True)):
            chances = self._calibrations["coarse"].probabilities(
                log_odds(coarse.scores)[:, None], coarse.heights
            )
            kept = coarse.take(chances >= passes.promising)
            if len(kept) <= passes.few:
                scores = kept.scores[:, None]
                doubtful[i] = _Doubtful(image, "coarse", ("coarse",), kept.boxes, scores)
        decided = self._second_stage(list(doubtful.values()), "crops")
        for i, decision in zip(doubtful, decided, strict=True):
            decisions[i] = None if self._needs_full(decision) else decision
        return decisions

    def _needs_full(self, decision: Decision) -> bool:
        """Whether full passes must follow crops of the coarse pass's candidates."""
        passes = self.passes
        likely = decision.probabilities >= passes.likely
        heights = decision.boxes[likely, 3] - decision.boxes[likely, 1]
        doubtful = bool((heights < passes.tall).any()) or not decision.accepted.any()
        return bool(passes.follow and likely.any() and doubtful)

    def _full(self, images: Sequence[Pixels], large: bool) -> list[Decision]:
        """Decide images by full passes; all are large, or none is."""
        passes = self.passes
        scales = passes.large if large else passes.full
        names = tuple(_name(scale) for scale in scales)
        found = [self._center.candidates_batch(images, scale) for scale in scales]
        decisions: dict[int, Decision] = {}
        doubtful: dict[int, _Doubtful] = {}
        for i, image in enumerate(images):
            boxes, scores = cluster([candidates[i] for candidates in found])
            if large:  # its passes differ from those that the calibration was fitted on
                kept = slice(MAX_CROPS)
                doubtful[i] = _Doubtful(image, "full", names, boxes[kept], scores[kept])
                continue
            heights = boxes[:, 3] - boxes[:, 1]
            calibration = self._calibrations[passes.calibration]
            chances = calibration.probabilities(log_odds(scores.mean(axis=1))[:, None], heights)
            plausible = chances >= PLAUSIBLE
            if np.count_nonzero(plausible) <= passes.few:
                some = boxes[plausible], scores[plausible]
                doubtful[i] = _Doubtful(image, "full", names, *some)
            else:
                accepted = passes.rule.accepts(chances, heights, crowded=True)
                decisions[i] = Decision("full", names, boxes, scores, None, None, chances, accepted)
        decided = self._second_stage(list(doubtful.values()), "full")
        decisions.update(zip(doubtful, decided, strict=True))
        return [decisions[i] for i in range(len(images))]

    def _second_stage(self, doubtful: Sequence[_Doubtful], stage: str) -> list[Decision]:
        """Score candidates of several images again on crops, and decide."""
        found = [each for each in doubtful if len(each.boxes)]
        if found:
            with timed("verify"):
                rescored = rescore_batch(self._crops, [(each.image, each.boxes) for each in found])
            scored = iter(rescored)
        return [
            self._accept(each, stage, next(scored)) if len(each.boxes) else _no_faces(each)
            for each in doubtful
        ]

    def _accept(self, each: _Doubtful, stage: str, rescored: Rescored) -> Decision:
        """Decide one image's candidates by their scores on crops."""
        person = rescored.person_logits(self._head)
        best = each.scores.max(axis=1, initial=0.0)
        columns = crop_columns(best, rescored.scores, person)
        heights = each.boxes[:, 3] - each.boxes[:, 1]
        chances = self._calibrations["crops"].probabilities(columns, heights)
        accepted = self.passes.rule.accepts(chances, heights, crowded=False)
        averaged = averaged_boxes(each.boxes, rescored)
        return Decision(
            stage, each.passes, averaged, each.scores, rescored, person, chances, accepted
        )

    def _detections(self, image: Pixels, decision: Decision) -> list[Detection]:
        return with_chin(decision.faces, image).detections(self.name)


def _is_large(image: Pixels) -> bool:
    height, width = image.shape[:2]
    return bool(height * width >= LARGE)


def _no_faces(each: _Doubtful) -> Decision:
    """The decision on an image without candidates."""
    return Decision(
        each.stage, each.passes, each.boxes, each.scores, None, None, np.zeros(0), np.zeros(0, bool)
    )


MAX_CROPS = 4000
"""Candidates of one large image that are scored again, at most; the highest-scored come first."""


def crop_columns(best: Floats, crops: Floats, person: Floats) -> Floats:
    """Columns of the calibration ``crops``: log-odds, shape (N, 4).

    Args:
        best: CenterFace's best score in the passes, shape (N,).
        crops: scores on the two crops, shape (2, N).
        person: log-odds of the verifier's head, shape (N,).
    """
    return np.column_stack([log_odds(best), *log_odds(crops), np.clip(person, -8.0, 8.0)])


def averaged_boxes(boxes: Floats, rescored: Rescored) -> Floats:
    """Mean of each candidate's box and that in its wider crop, where one was found there."""
    found = rescored.scores[0] >= FOUND
    return np.where(found[:, None], (boxes + rescored.boxes[0]) / 2, boxes)


def _name(scale: InputScale) -> str:
    return f"× {scale.factor:g}{', mirrored' if scale.mirrored else ''}"


def build(options: DetectorOptions) -> Fusion:
    """The detector of a profile.

    Raises:
        SetupError: if a package, its weights or the device is missing.
    """
    device = choose_device(options.device)
    passes = options.fusion
    if options.confidence is not None:
        value = options.confidence
        passes = replace(
            passes,
            rule=replace(passes.rule, accept=value, crowded=value, alone=value, small_accept=value),
        )
    network, weights = centerface.load(device, options.threads, quantized=passes.quantized)
    crops, _ = centerface.load(device, options.threads, centerface.FEATURES, passes.quantized)
    center = CenterFace(network, weights, passes.coarse or NATIVE, MIN_SCORE)
    return Fusion(center, crops, passes, load_head(), load_calibrations())
