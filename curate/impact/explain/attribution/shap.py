"""KernelSHAP, through Captum.

Lundberg and Lee, *A Unified Approach to Interpreting Model Predictions*, NeurIPS 2017: the
Shapley values of the superpixels, as the linear model that fits the score over samples drawn
by the Shapley kernel. They add up to the score less that of an image of the mean colour alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from captum.attr import KernelShap

from curate.core.protocols import Classifier
from curate.impact.explain.attribution.method import Map, Options, Subject
from curate.impact.explain.attribution.surrogate import BATCH, SEGMENTS, drawing, pose, to_map


def open_shap(
    classifier: Classifier, example: npt.NDArray[np.float32], options: Options
) -> ShapleyValues:
    """KernelSHAP works with every classifier."""
    return ShapleyValues(classifier, options.shap_samples)


class ShapleyValues:
    """KernelSHAP over superpixels.

    Args:
        classifier: asked for scores only.
        samples: how many images it is shown for one map.
    """

    title = "KernelSHAP"
    looks_inside = False

    def __init__(self, classifier: Classifier, samples: int) -> None:
        self._classifier, self._samples = classifier, samples

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Samples, superpixels, and what stands for the absent."""
        return {"samples": self._samples, "superpixels": SEGMENTS, "absent": "mean colour"}

    def attribute(self, subject: Subject) -> Map:
        """The Shapley values, each spread over its superpixel."""
        asked = pose(self._classifier, subject)
        with drawing(subject.seed):
            weights = KernelShap(asked.score).attribute(
                asked.inputs,
                baselines=asked.absent,
                feature_mask=asked.places,
                n_samples=self._samples,
                perturbations_per_eval=BATCH,
                return_input_shape=False,
            )
        return to_map(weights, subject)
