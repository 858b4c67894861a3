"""What a method of attribution is given, and what it promises."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Map = npt.NDArray[np.float64]
"""How much each place of the model's input speaks for a class: H×W; negative speaks against."""


@dataclass(frozen=True, slots=True)
class Options:
    """How methods work, where a user can choose.

    Args:
        layer: the layer that Grad-CAM looks at, by its name in the network; None to find it.
        lime_samples: how many images LIME has the model look at for one map.
        shap_samples: the same of KernelSHAP.
    """

    layer: str | None = None
    lime_samples: int = 200
    shap_samples: int = 200


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """One answer of a classifier to be explained.

    Args:
        prepared: the image as the model is given it, C×H×W float32.
        target: the class whose score is explained, by number.
        superpixels: which superpixel each place is in, H×W, numbered from 0 without gaps.
        seed: of methods that draw samples.
    """

    prepared: npt.NDArray[np.float32]
    target: int
    superpixels: npt.NDArray[np.int64]
    seed: int


class Shown(Protocol):
    """What shows its network: a classifier, or one that was made random."""

    def network(self) -> Any:
        """The ``torch.nn.Module`` behind it.

        Raises:
            UsageError: if there is none.
        """
        ...


class Method(Protocol):
    """Attributes a class's score to the places of the input.

    The contract, tested for every method: the map has the input's height and width and is
    finite; the same subject gives the same map; what the network does not look at gets
    nothing; classifier and input are left as they were.
    """

    title: str
    """What people call it."""

    looks_inside: bool
    """Whether it follows the network's own computation, rather than asking for scores."""

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Every choice that changes a map, for the report."""
        ...

    def attribute(self, subject: Subject) -> Map:
        """How much each place speaks for the class.

        Raises:
            UsageError: if the classifier does not allow it after all.
        """
        ...
