"""Superpixels: the parts of an image that are there or not."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

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
