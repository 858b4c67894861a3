"""The default: a claim counts when two looks agree on it and the verifier does not object.

A first look at the whole image collects claims down to a low score. Strong ones
are faces; of the others each is looked at again, closer. The scores of both looks
together say how probably the claim is a face. What stays in doubt goes before the
verifier, which tells people from animals, and must be more probable in an image
where nothing else is surely a face: faces come in company.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from curate.core.faces import Detection
from curate.core.geometry import Box
from curate.core.protocols import Model, Pixels
from curate.detectors.backends import opencv_major
from curate.detectors.centerface import NMS_IOU, CenterFace, with_chin
from curate.detectors.centerface import build as build_centerface
from curate.detectors.claims import Claims, Floats, join
from curate.detectors.merge import strongest
from curate.detectors.options import DetectorOptions
from curate.detectors.second_look import look_again


@dataclass(frozen=True, slots=True)
class Rule:
    """When two looks make a face.

    The weights are a logistic regression of "a labelled face overlaps the claim
    by 0.3" on claims of the first look, fitted on half of the photos of WIDER
    FACE, of a face-mask set and of animals; heights are in the pixels of the image.

    Args:
        least: first-look scores below this are not claims.
        sure: from this first-look score on there is no doubt.
        small: claims lower than this, pixels, are too small for a second look …
        small_least: … and count from this first-look score on.
        first: weight of the first look's log-odds.
        second: weight of the second look's log-odds.
        height: weight of the logarithm of the claim's height.
        bias: the intercept.
        sure_chance: probability given to a claim without doubt, at the least.
        accept: least probability of a face in company of a probable one.
        alone: least probability of a face where none reaches ``company``.
        company: probability that makes a face company for others.
        crowd: with more doubtful faces than this, the verifier is not asked: animals do
            not come in crowds with people, and it would cost more than all else.
    """

    least: float = 0.06
    sure: float = 0.5
    small: float = 14.0
    small_least: float = 0.3
    first: float = 0.62
    second: float = 1.29
    height: float = -0.35
    bias: float = 2.47
    sure_chance: float = 0.9
    accept: float = 0.08
    alone: float = 0.25
    company: float = 0.5
    crowd: int = 8


class Judge(Protocol):
    """Tells people from animals."""

    def person_scores(self, image: Pixels, boxes: Sequence[Box]) -> npt.NDArray[np.float32]:
        """How much each box looks like a person's face, N float32, 0..1."""
        ...

    def models(self) -> tuple[Model, ...]:
        """The models that take part."""
        ...


class Agreement:
    """Finds faces on which two looks agree.

    Args:
        eye: CenterFace, letting through every claim from the rule's least score on.
        rule: when two looks make a face.
        judge: the verifier, or None to do without.
        veto_below: the judge's score below which a doubtful claim falls.
    """

    name = "agreement"

    def __init__(
        self, eye: CenterFace, rule: Rule, judge: Judge | None, veto_below: float = 0.0
    ) -> None:
        self._eye = eye
        self._rule = rule
        self._judge = judge
        self._veto_below = veto_below

    def detect(self, image: Pixels) -> list[Detection]:
        """Detect faces in one upright RGB image, H×W×3 uint8."""
        return self._decided(image, self._eye.claims(image))

    def detect_batch(self, images: Sequence[Pixels]) -> list[list[Detection]]:
        """Detect in several images, which may differ in size; one list each, in order."""
        firsts = self._eye.claims_batch(images)
        return [self._decided(image, first) for image, first in zip(images, firsts, strict=True)]

    def models(self) -> tuple[Model, ...]:
        """CenterFace, and the verifier where it takes part."""
        return self._eye.models() + (self._judge.models() if self._judge else ())

    def _decided(self, image: Pixels, first: Claims) -> list[Detection]:
        rule = self._rule
        heights = first.boxes[:, 3] - first.boxes[:, 1]
        sure = first.scores >= rule.sure
        small = ~sure & (heights < rule.small)
        chances = rule.sure_chance + (1 - rule.sure_chance) * first.scores[sure]
        clear = Claims(first.boxes[sure], chances)
        tiny = first.take(small & (first.scores >= rule.small_least))
        doubtful = self._agreed(image, first.take(~sure & ~small))
        joined = strongest(join([clear, tiny, doubtful]), NMS_IOU)
        judged = self._judged(image, joined.take(joined.scores >= rule.accept))
        return with_chin(in_company(rule, judged), image).detections(self.name)

    def _agreed(self, image: Pixels, first: Claims) -> Claims:
        """Doubtful claims with the probability that both looks give them."""
        second = look_again(self._eye.network, image, first)
        found = second.scores >= 0.1  # else the first look's box is the better one
        boxes = np.where(found[:, None], second.boxes, first.boxes)
        return Claims(boxes, probability(self._rule, first, second))

    def _judged(self, image: Pixels, claims: Claims) -> Claims:
        """The claims without those of which the judge says that they are no person's."""
        doubtful = np.flatnonzero(claims.scores < self._rule.sure_chance)
        if self._judge is None or not 0 < len(doubtful) <= self._rule.crowd:
            return claims
        boxes = [Box(*box) for box in claims.boxes[doubtful].tolist()]
        scores = np.asarray(self._judge.person_scores(image, boxes))
        vetoed = doubtful[~(scores >= self._veto_below)]
        return claims.take(np.setdiff1d(np.arange(len(claims)), vetoed))


def in_company(rule: Rule, claims: Claims) -> Claims:
    """The claims that are probable enough, given the others in the image."""
    company = bool((claims.scores >= rule.company).any())
    return claims.take(claims.scores >= (rule.accept if company else rule.alone))


def probability(rule: Rule, first: Claims, second: Claims) -> Floats:
    """The probability that each claim is a face, N float64, below ``rule.sure_chance``.

    Args:
        rule: the weights.
        first: the claims of the first look.
        second: what the second look says of each.
    """
    heights = np.maximum(first.boxes[:, 3] - first.boxes[:, 1], 1.0)
    odds = (
        rule.first * _log_odds(first.scores)
        + rule.second * _log_odds(second.scores)
        + rule.height * np.log(heights)
        + rule.bias
    )
    chances: Floats = rule.sure_chance / (1.0 + np.exp(-odds))
    return chances


def _log_odds(scores: Floats) -> Floats:
    bounded = np.clip(scores, 0.01, 0.99)
    odds: Floats = np.log(bounded / (1.0 - bounded))
    return odds


def build(options: DetectorOptions) -> Agreement:
    """Agreement as the options ask for it.

    Raises:
        SetupError: if the weights or the device is missing.
    """
    from curate.detectors.verifier import VETO_BELOW, Verifier

    rule = Rule()
    if options.confidence is not None:
        rule = replace(rule, accept=options.confidence, alone=options.confidence)
    # With OpenCV 4 the verifier loads torch in any case, whose port beats its engine.
    preferred = "opencv" if opencv_major() >= 5 else "torch"
    eye = build_centerface(replace(options, confidence=rule.least), preferred=preferred)
    return Agreement(eye, rule, Verifier(options.threads), VETO_BELOW)
