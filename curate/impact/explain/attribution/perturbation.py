"""LIME and KernelSHAP over superpixels, by Captum.

Both predict images in which superpixels are replaced by the mean color, and fit a linear model
of the class's score over the presence of each superpixel.

LIME: Ribeiro, Singh and Guestrin, *"Why Should I Trust You?": Explaining the Predictions of Any
Classifier*, KDD 2016, with the kernel and ridge of the authors' implementation for images.
KernelSHAP: Lundberg and Lee, *A Unified Approach to Interpreting Model Predictions*, NeurIPS
2017; the values sum to the score minus that of an image of the mean color.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from captum._utils.models.linear_model import SkLearnRidge
from captum.attr import KernelShap, Lime

from curate.core.errors import UsageError
from curate.core.protocols import Classifier
from curate.impact.explain.attribution import Map, MethodOptions, Subject
from curate.impact.explain.attribution.superpixels import SEGMENTS, spread

BATCH = 16
"""Perturbed images per batch."""

KERNEL_WIDTH = 0.25
PENALTY = 1.0

Score = Callable[[torch.Tensor], torch.Tensor]
"""The class's score for N images, shape (N, C, H, W)."""


def open_lime(
    classifier: Classifier, example: npt.NDArray[np.float32], options: MethodOptions
) -> PerturbationMethod:
    """Open LIME, which supports every classifier."""
    parameters = {"kernel_width": KERNEL_WIDTH, "ridge": PENALTY}
    return PerturbationMethod("LIME", classifier, options.lime_samples, _make_lime, parameters)


def open_shap(
    classifier: Classifier, example: npt.NDArray[np.float32], options: MethodOptions
) -> PerturbationMethod:
    """Open KernelSHAP, which supports every classifier."""
    return PerturbationMethod("KernelSHAP", classifier, options.shap_samples, KernelShap, {})


class PerturbationMethod:
    """A linear model of the score over superpixels.

    Args:
        title: name in reports.
        classifier: used for its scores only.
        samples: number of perturbed images for each map.
        make: returns Captum's method for a score.
        parameters: further settings, for the report.
    """

    is_gradient = False

    def __init__(
        self,
        title: str,
        classifier: Classifier,
        samples: int,
        make: Callable[[Score], Any],
        parameters: Mapping[str, Any],
    ) -> None:
        self.title = title
        self._classifier, self._samples, self._make = classifier, samples, make
        self._parameters = parameters

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Samples, superpixels, replacement and the method's own settings."""
        return {
            "samples": self._samples,
            "superpixels": SEGMENTS,
            "absent": "mean color",
            **self._parameters,
        }

    def attribute(self, subject: Subject) -> Map:
        """Return the linear model's weights, each spread over its superpixel.

        Raises:
            UsageError: if there is only one superpixel.
        """
        if subject.superpixels.max() < 1:
            raise UsageError("an image has a single superpixel, so that none can be removed")
        inputs = torch.from_numpy(subject.prepared[None].copy())
        absent = inputs.mean(dim=(2, 3), keepdim=True).expand_as(inputs).clone()

        def score(batch: torch.Tensor) -> torch.Tensor:
            scores = self._classifier.predict(np.ascontiguousarray(batch.numpy()))
            return torch.from_numpy(scores[:, subject.target].astype(np.float64))

        with seeded(subject.seed):
            weights = self._make(score).attribute(
                inputs,
                baselines=absent,
                feature_mask=torch.from_numpy(subject.superpixels[None, None]),
                n_samples=self._samples,
                perturbations_per_eval=BATCH,
                return_input_shape=False,
            )
        return spread(weights.detach().numpy().astype(np.float64).ravel(), subject.superpixels)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's generator, which Captum draws from, and restore it afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def _make_lime(score: Score) -> Any:
    return Lime(score, SkLearnRidge(alpha=PENALTY), similarity_func=_similarity)


def _similarity(
    image: torch.Tensor, changed: torch.Tensor, present: torch.Tensor, **_: Any
) -> torch.Tensor:
    """Weight of a sample, by the cosine distance of its presence vector to all ones."""
    distance = 1 - present.double().mean(dim=1).sqrt()
    return (-distance.square() / KERNEL_WIDTH**2).exp().sqrt()
