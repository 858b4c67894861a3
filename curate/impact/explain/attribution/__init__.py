"""Attribution methods: which positions of the input a classifier's score depends on.

A method is a function that opens it and one entry in `METHODS`. The function takes a
classifier, a prepared image and `MethodOptions`, and returns a `Method`; it raises `UsageError`
with the reason where a classifier does not support the method.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from curate.core.registry import Plugin, Registry

_PACKAGE = "curate.impact.explain.attribution"

METHODS = Registry(
    "method",
    [
        (
            "gradcam",
            Plugin(
                f"{_PACKAGE}.gradcam:open_gradcam",
                "Grad-CAM at the last layer with spatial output",
                requires=("captum",),
                extra="explain",
            ),
        ),
        (
            "lrp",
            Plugin(
                f"{_PACKAGE}.lrp:open_lrp",
                "layer-wise relevance propagation, epsilon rule",
                requires=("captum",),
                extra="explain",
            ),
        ),
        (
            "lime",
            Plugin(
                f"{_PACKAGE}.perturbation:open_lime",
                "LIME, a linear model of the score over superpixels",
                requires=("captum", "sklearn", "skimage"),
                extra="explain",
            ),
        ),
        (
            "shap",
            Plugin(
                f"{_PACKAGE}.perturbation:open_shap",
                "KernelSHAP, Shapley values of superpixels, estimated by sampling",
                requires=("captum", "sklearn", "skimage"),
                extra="explain",
            ),
        ),
    ],
)

Map = npt.NDArray[np.float64]
"""Attribution of each position of the model's input to a class, shape (H, W)."""


@dataclass(frozen=True, slots=True)
class MethodOptions:
    """Options of the methods.

    Args:
        layer: layer of Grad-CAM, by its name in the network; None to find it.
        lime_samples: number of samples of LIME for each map.
        shap_samples: number of samples of KernelSHAP for each map.
    """

    layer: str | None = None
    lime_samples: int = 200
    shap_samples: int = 200


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """A prediction to explain.

    Args:
        prepared: the model's input, shape (C, H, W), float32.
        target: index of the class whose score is explained.
        superpixels: superpixel of each position, shape (H, W), numbered from 0 without gaps.
        seed: random seed of sampling methods.
    """

    prepared: npt.NDArray[np.float32]
    target: int
    superpixels: npt.NDArray[np.int64]
    seed: int


class HasNetwork(Protocol):
    """A classifier, or a randomized one, that exposes its network."""

    def network(self) -> Any:
        """Return the ``torch.nn.Module``.

        Raises:
            UsageError: if there is none.
        """
        ...


class Method(Protocol):
    """Attribution of a class's score to the positions of the input.

    The contract, tested for every method: the map has the input's height and width and is
    finite; the same subject gives the same map; positions without influence get 0; classifier
    and input are left unchanged.
    """

    title: str
    """Name in reports."""

    is_gradient: bool
    """Whether it uses the network's own computation, not only its scores."""

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Every setting that changes a map, for the report."""
        ...

    def attribute(self, subject: Subject) -> Map:
        """Return the attribution of each position.

        Raises:
            UsageError: if the classifier does not support it.
        """
        ...
