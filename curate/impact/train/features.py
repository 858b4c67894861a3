"""Features of every image of both datasets, by a model that is not trained any more."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from curate.core.errors import DataError
from curate.core.protocols import Classifier, Pixels
from curate.impact.train.work import RowForm

_BATCHES = {"cpu": 8, "cuda": 64}
"""Images that a model sees together: on a processor small ones stay in its caches."""


@dataclass(frozen=True, slots=True)
class FeatureReader:
    """Keeps what a model's last layer is fed with.

    Args:
        spec: the model, as the user asked for it.
        device: ``cpu`` or ``cuda``.
        form: of one image's features.
    """

    spec: str
    device: str
    form: RowForm

    @property
    def batch(self) -> int:
        """How many images are read together."""
        return _BATCHES[self.device]

    def open(self) -> Callable[[list[Pixels]], npt.NDArray[Any]]:
        """Load the model."""
        import torch

        torch.set_num_threads(1)  # sums keep their order on any number of cores
        model = open_classifier(self.spec, self.device)
        return lambda images: read_features(model, images, self.spec)


def open_classifier(spec: str, device: str) -> Classifier:
    """Open a model; apart, so that a test can bring its own."""
    from curate.impact.models import open_model

    return open_model(spec, device)


def open_reader(spec: str, device: str) -> tuple[FeatureReader, Mapping[str, Any]]:
    """Open a model to learn how many features it has, and what the report says of it.

    Raises:
        UsageError: if there is no such model, or it does not show its features.
    """
    model = open_classifier(spec, device)
    shape = read_features(model, [np.zeros((64, 64, 3), dtype=np.uint8)], spec).shape[1:]
    return FeatureReader(spec, device, RowForm(shape, "float32")), model.describe()


def read_features(model: Classifier, images: list[Pixels], spec: str) -> npt.NDArray[np.float32]:
    """Features of some images, n×D.

    Raises:
        DataError: if one is no finite number.
    """
    batch = np.stack([model.prepare(image) for image in images])
    features = np.asarray(model.features(batch), dtype=np.float32)
    if not np.isfinite(features).all():
        raise DataError(f"the model {spec} gives features that are no finite numbers")
    return features.reshape(len(images), -1)
