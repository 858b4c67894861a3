"""Superpixels of the model's input, each face being one of its own."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

SEGMENTS = 49
"""Approximate number of superpixels besides those of faces."""

COMPACTNESS = 10.0
MAX_FACES = 16
"""Number of faces with a superpixel of their own, largest first; all others share one."""

Labels = npt.NDArray[np.int64]


def segment(image: npt.NDArray[np.float64], coverage: npt.NDArray[np.float64]) -> Labels:
    """Segment an image into superpixels of similar color.

    Each face is a superpixel of its own, so that LIME and SHAP give it a value of its own. The
    others are SLIC's (Achanta et al., *SLIC Superpixels Compared to State-of-the-art Superpixel
    Methods*, TPAMI 34, 2012).

    Args:
        image: the model's input as RGB, shape (H, W, 3), 0..1.
        coverage: share of each position inside a face, shape (H, W), 0..1.

    Returns:
        Superpixel of each position, from 0 without gaps, shape (H, W).
    """
    from scipy import ndimage
    from skimage.segmentation import slic

    labels = slic(
        image, n_segments=SEGMENTS, compactness=COMPACTNESS, start_label=0, channel_axis=-1
    ).astype(np.int64)
    if len(np.unique(labels)) < SEGMENTS / 2:  # noise has no regions of similar color
        labels = _make_grid(*labels.shape)
    faces, count = ndimage.label(coverage >= 0.5)
    if count and not faces.all():
        sizes = np.bincount(faces.ravel())[1:]
        ranks = np.empty(count, dtype=np.int64)
        ranks[np.argsort(-sizes, kind="stable")] = np.arange(count)
        own = labels.max() + 1 + np.minimum(ranks, MAX_FACES)
        labels = np.where(faces > 0, own[np.maximum(faces, 1) - 1], labels)
    return np.unique(labels, return_inverse=True)[1].reshape(labels.shape)


def _make_grid(height: int, width: int) -> Labels:
    side = round(SEGMENTS**0.5)
    rows, columns = (np.arange(length) * side // length for length in (height, width))
    return np.asarray(rows[:, None] * side + columns[None], dtype=np.int64)


def spread(weights: npt.NDArray[np.float64], superpixels: Labels) -> npt.NDArray[np.float64]:
    """Return a map whose sum over each superpixel is the superpixel's weight."""
    sizes = np.bincount(superpixels.ravel(), minlength=len(weights))
    return np.asarray((weights / np.maximum(sizes, 1))[superpixels])
