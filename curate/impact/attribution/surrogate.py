"""What LIME and SHAP have in common: asking the model about images with parts taken out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from curate.core.errors import UsageError
from curate.core.ports import Classifier
from curate.impact.attribution.method import Map, Subject
from curate.impact.attribution.superpixels import spread

BATCH = 16
"""Images that the model is shown at once."""


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """A subject in the form that Captum takes.

    Args:
        inputs: the image, 1×C×H×W.
        absent: the same with every place in the image's mean colour, which stands for what
            is taken out.
        places: the number of each place's superpixel, 1×1×H×W.
        score: the class's score of N images, N×C×H×W.
    """

    inputs: torch.Tensor
    absent: torch.Tensor
    places: torch.Tensor
    score: Callable[[torch.Tensor], torch.Tensor]


def pose(classifier: Classifier, subject: Subject) -> Question:
    """A subject in the form that Captum takes.

    Raises:
        UsageError: if there is one superpixel only.
    """
    if subject.superpixels.max() < 1:
        raise UsageError("an image is a single superpixel; there is nothing to take out of it")
    inputs = torch.from_numpy(subject.prepared[None].copy())
    absent = inputs.mean(dim=(2, 3), keepdim=True).expand_as(inputs).clone()

    def score(batch: torch.Tensor) -> torch.Tensor:
        scores = classifier.predict(np.ascontiguousarray(batch.numpy()))
        return torch.from_numpy(scores[:, subject.target].astype(np.float64))

    return Question(inputs, absent, torch.from_numpy(subject.superpixels[None, None]), score)


@contextmanager
def drawing(seed: int) -> Iterator[None]:
    """Let Captum draw from torch's generator as of a seed, and put that back afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def to_map(weights: torch.Tensor, subject: Subject) -> Map:
    """The superpixels' weights as a map, each spread evenly over its places."""
    return spread(weights.detach().numpy().astype(np.float64).ravel(), subject.superpixels)
