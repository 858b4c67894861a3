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
from curate.detectors.verifier import HEAD, HEAD_SHA256, Head, Rescored, load_head, rescore

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
        small = [i for i, image in enumerate(images) if self._starts_coarse(image)]
        coarse: dict[int, Candidates] = {}
        if small and self.passes.coarse is not None:
            with timed("gate"):
                found = self._center.candidates_batch(
                    [images[i] for i in small], self.passes.coarse
                )
            coarse = dict(zip(small, found, strict=True))
        return [
            self._detections(image, self.decide(image, coarse.get(i)))
            for i, image in enumerate(images)
        ]

    def models(self) -> tuple[Model, ...]:
        """The networks that take part, and the files that decide, for the manifest."""
        (center,) = self._center.models()
        verifier = replace(
            center, name="verifier", weights_sha256={HEAD: HEAD_SHA256, FILE: SHA256}
        )
        return (center, verifier)

    def decide(self, image: Pixels, coarse: Candidates | None = None) -> Decision:
        """Find candidates in one image and decide which are faces.

        Args:
            image: H×W×3 uint8.
            coarse: candidates of the coarse pass, if it has run already.
        """
        passes = self.passes
        if passes.coarse is None or not self._starts_coarse(image):
            return self._full(image)
        if coarse is None:
            with timed("gate"):
                coarse = self._center.candidates(image, passes.coarse)
        chances = self._calibrations["coarse"].probabilities(
            log_odds(coarse.scores)[:, None], coarse.heights
        )
        coarse = coarse.take(chances >= passes.promising)
        scores = coarse.scores[:, None]
        if not len(coarse):
            return _no_faces("coarse", ("coarse",), coarse.boxes, scores)
        if len(coarse) > passes.few:
            return self._full(image)
        decision = self._second_stage(
            image, "crops", ("coarse",), coarse.boxes, scores, scores[:, 0]
        )
        likely = decision.probabilities >= passes.likely
        heights = decision.boxes[likely, 3] - decision.boxes[likely, 1]
        doubtful = bool((heights < passes.tall).any()) or not decision.accepted.any()
        return self._full(image) if passes.follow and likely.any() and doubtful else decision

    def _starts_coarse(self, image: Pixels) -> bool:
        return self.passes.coarse is not None and image.shape[0] * image.shape[1] < LARGE

    def _full(self, image: Pixels) -> Decision:
        passes = self.passes
        large = image.shape[0] * image.shape[1] >= LARGE
        scales = passes.large if large else passes.full
        names = tuple(_name(scale) for scale in scales)
        boxes, scores = cluster([self._center.candidates(image, scale) for scale in scales])
        best, mean = scores.max(axis=1, initial=0.0), scores.mean(axis=1)
        if large:  # its passes differ from those that the calibration was fitted on
            kept = slice(MAX_CROPS)
            boxes, scores, best = boxes[kept], scores[kept], best[kept]
            return self._second_stage(image, "full", names, boxes, scores, best)
        heights = boxes[:, 3] - boxes[:, 1]
        calibration = self._calibrations[passes.calibration]
        chances = calibration.probabilities(log_odds(mean)[:, None], heights)
        plausible = chances >= PLAUSIBLE
        if np.count_nonzero(plausible) <= passes.few:
            boxes, scores, best = boxes[plausible], scores[plausible], best[plausible]
            return self._second_stage(image, "full", names, boxes, scores, best)
        accepted = passes.rule.accepts(chances, heights, crowded=True)
        return Decision("full", names, boxes, scores, None, None, chances, accepted)

    def _second_stage(
        self,
        image: Pixels,
        stage: str,
        names: tuple[str, ...],
        boxes: Floats,
        scores: Floats,
        best: Floats,
    ) -> Decision:
        """Score candidates again on crops, and decide.

        Args:
            image: H×W×3 uint8.
            stage: name of the stage.
            names: of the passes.
            boxes: float64, shape (N, 4).
            scores: float64, shape (N, P).
            best: CenterFace's best score, shape (N,).
        """
        if not len(boxes):
            return _no_faces(stage, names, boxes, scores)
        with timed("verify"):
            rescored = rescore(self._crops, image, boxes)
        person = rescored.person_logits(self._head)
        columns = crop_columns(best, rescored.scores, person)
        heights = boxes[:, 3] - boxes[:, 1]
        chances = self._calibrations["crops"].probabilities(columns, heights)
        accepted = self.passes.rule.accepts(chances, heights, crowded=False)
        averaged = averaged_boxes(boxes, rescored)
        return Decision(stage, names, averaged, scores, rescored, person, chances, accepted)

    def _detections(self, image: Pixels, decision: Decision) -> list[Detection]:
        return with_chin(decision.faces, image).detections(self.name)


def _no_faces(stage: str, names: tuple[str, ...], boxes: Floats, scores: Floats) -> Decision:
    """The decision on an image without candidates."""
    return Decision(stage, names, boxes, scores, None, None, np.zeros(0), np.zeros(0, bool))


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
