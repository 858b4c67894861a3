"""LIME, through Captum.

Ribeiro, Singh and Guestrin, *"Why Should I Trust You?": Explaining the Predictions of Any
Classifier*, KDD 2016: a linear model of the score over superpixels that are there or not,
which counts images the more the less was taken out of them. The kernel and the ridge are
those of the authors' own program for images.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from captum._utils.models.linear_model import SkLearnRidge
from captum.attr import Lime

from curate.core.protocols import Classifier
from curate.impact.explain.attribution.method import Map, Options, Subject
from curate.impact.explain.attribution.surrogate import BATCH, SEGMENTS, drawing, pose, to_map

KERNEL_WIDTH = 0.25
PENALTY = 1.0


def open_lime(
    classifier: Classifier, example: npt.NDArray[np.float32], options: Options
) -> LinearModel:
    """LIME works with every classifier."""
    return LinearModel(classifier, options.lime_samples)


class LinearModel:
    """LIME over superpixels.

    Args:
        classifier: asked for scores only.
        samples: how many images it is shown for one map.
    """

    title = "LIME"
    looks_inside = False

    def __init__(self, classifier: Classifier, samples: int) -> None:
        self._classifier, self._samples = classifier, samples

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Samples, superpixels, what stands for the absent, kernel and ridge."""
        return {
            "samples": self._samples,
            "superpixels": SEGMENTS,
            "absent": "mean colour",
            "kernel_width": KERNEL_WIDTH,
            "ridge": PENALTY,
        }

    def attribute(self, subject: Subject) -> Map:
        """The linear model's weights, each spread over its superpixel."""
        asked = pose(self._classifier, subject)
        lime = Lime(asked.score, SkLearnRidge(alpha=PENALTY), similarity_func=_weigh)
        with drawing(subject.seed):
            weights = lime.attribute(
                asked.inputs,
                baselines=asked.absent,
                feature_mask=asked.places,
                n_samples=self._samples,
                perturbations_per_eval=BATCH,
                return_input_shape=False,
            )
        return to_map(weights, subject)


def _weigh(
    image: torch.Tensor, changed: torch.Tensor, present: torch.Tensor, **_: Any
) -> torch.Tensor:
    """How much a sample counts, by the cosine between what is there and everything."""
    distance = 1 - present.double().mean(dim=1).sqrt()
    return (-distance.square() / KERNEL_WIDTH**2).exp().sqrt()
