"""What LIME and SHAP have in common: asking the model about images with parts taken out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from curate.core.errors import UsageError
from curate.core.protocols import Classifier
from curate.impact.explain.attribution.method import Map, Subject

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


SEGMENTS = 49
"""How many superpixels an image is cut into, beside those of its faces; about as many come out."""

COMPACTNESS = 10.0
MOST_FACES = 16
"""Faces with a superpixel of their own, the largest; all further ones share one."""

Labels = npt.NDArray[np.int64]


def cut(shown: npt.NDArray[np.float64], coverage: npt.NDArray[np.float64]) -> Labels:
    """Cut an image into superpixels of similar colour, each face being one of its own.

    So that what LIME and SHAP give to a face is a number of their own and no share of a
    superpixel that lies half outside. The superpixels are SLIC's (Achanta et al., *SLIC
    Superpixels Compared to State-of-the-art Superpixel Methods*, TPAMI 34, 2012).

    Args:
        shown: the model's input as a picture, H×W×3, 0..1.
        coverage: how much of each place lies in a face, H×W, 0..1.

    Returns:
        The number of each place's superpixel, from 0 without gaps, H×W.
    """
    from scipy import ndimage
    from skimage.segmentation import slic

    labels = slic(
        shown, n_segments=SEGMENTS, compactness=COMPACTNESS, start_label=0, channel_axis=-1
    ).astype(np.int64)
    if len(np.unique(labels)) < SEGMENTS / 2:  # noise has no parts of similar colour
        labels = _grid(*labels.shape)
    faces, count = ndimage.label(coverage >= 0.5)
    if count and not faces.all():
        sizes = np.bincount(faces.ravel())[1:]
        ranks = np.empty(count, dtype=np.int64)
        ranks[np.argsort(-sizes, kind="stable")] = np.arange(count)
        own = labels.max() + 1 + np.minimum(ranks, MOST_FACES)
        labels = np.where(faces > 0, own[np.maximum(faces, 1) - 1], labels)
    return np.unique(labels, return_inverse=True)[1].reshape(labels.shape)


def _grid(height: int, width: int) -> Labels:
    side = round(SEGMENTS**0.5)
    down, across = (np.arange(length) * side // length for length in (height, width))
    return np.asarray(down[:, None] * side + across[None], dtype=np.int64)


def spread(weights: npt.NDArray[np.float64], superpixels: Labels) -> npt.NDArray[np.float64]:
    """A map over places whose sum in each superpixel is that superpixel's weight."""
    sizes = np.bincount(superpixels.ravel(), minlength=len(weights))
    return np.asarray((weights / np.maximum(sizes, 1))[superpixels])
