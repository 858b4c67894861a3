"""Contact sheet: attribution maps over original and obfuscated images, side by side."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from curate.codec import crop_jpeg
from curate.core.geometry import Box
from curate.core.protocols import Pixels
from curate.impact.experiment import Bools, Floats
from curate.impact.explain.measure import Explained, Prediction, Shares
from curate.report.values import Picture

_SIDE = 200  # of one image, pixels
_GAP = 6  # share of the side between the two, per cent
_SMOOTHING = 0.008  # standard deviation, as a share of the map's height

# From dark violet to pale yellow with increasing lightness.
_RAMP = np.array(
    [(59, 15, 112), (140, 41, 129), (222, 73, 104), (254, 159, 109), (252, 253, 191)], np.float64
)


@dataclass(frozen=True, slots=True)
class Sheet:
    """One image of the contact sheet.

    Args:
        text: image id and predictions.
        pictures: each with the original at the left and the obfuscated image at the right.
    """

    text: str
    pictures: tuple[Picture, ...]


def draw_sheet(
    shown: tuple[Pixels, Pixels],
    coverage: Floats,
    maps: Mapping[str, tuple[Floats, Floats]],
    titles: Mapping[str, str],
    explained: Explained,
    *,
    hide: bool,
) -> Sheet:
    """Draw an image with the maps of all methods.

    Args:
        shown: the model's input for both images, shape (H, W, 3), uint8.
        coverage: share of each position inside faces, shape (H, W), 0..1.
        maps: of the original and of the obfuscated image, by method, shape (H, W).
        titles: names of the methods.
        explained: the image's results.
        hide: draw the original's maps over the obfuscated image, and inside each face as their
            mean, so that the sheet shows nothing of a face.
    """
    inside = coverage > 0
    grounds = (shown[1], shown[1]) if hide else shown
    if hide:
        both = _join(shown[1], _outline(shown[1], coverage))
        pictures = [Picture(both, "obfuscated; at the right with the regions of faces")]
    else:
        pictures = [Picture(_join(*shown), "original and obfuscated")]
    for name, (before, after) in maps.items():
        drawn = average_inside(before, inside) if hide else before
        sides = [
            _outline(overlay(ground, values), coverage)
            for ground, values in zip(grounds, (drawn, after), strict=True)
        ]
        caption = f"{titles[name]}: {_format_shares(explained.measured[name].shares)}"
        pictures.append(Picture(_join(*sides), caption))
    return Sheet(_describe(explained), tuple(pictures))


def average_inside(values: Floats, inside: Bools) -> Floats:
    """Replace a map inside each region by its mean there.

    The shape of a map inside a face follows the face and must not be shown. Negative values are
    set to 0 first.
    """
    drawn = np.maximum(values, 0.0)
    labels, count = ndimage.label(inside)
    for number in range(1, count + 1):
        drawn[labels == number] = drawn[labels == number].mean()
    return drawn


def overlay(ground: Pixels, values: Floats) -> Pixels:
    """Draw a map over a gray image.

    The map is smoothed slightly, so that the single pixels of LRP are visible.

    Args:
        ground: shape (H, W, 3), uint8.
        values: shape (H, W); negative values are not drawn.
    """
    positive = ndimage.gaussian_filter(np.maximum(values, 0.0), len(values) * _SMOOTHING)
    limit = float(np.quantile(positive, 0.995)) or float(positive.max())
    amount = np.clip(positive / limit, 0.0, 1.0) if limit > 0 else positive
    gray = ground.astype(np.float64) @ (0.299, 0.587, 0.114)
    position = amount * (len(_RAMP) - 1)
    low = np.minimum(position.astype(int), len(_RAMP) - 2)
    part = (position - low)[..., None]
    color = _RAMP[low] * (1 - part) + _RAMP[low + 1] * part
    weight = (0.85 * np.sqrt(amount))[..., None]
    mixed = gray[..., None] * (1 - weight) + color * weight
    return np.asarray(mixed + 0.5, dtype=np.uint8)


def _outline(picture: Pixels, coverage: Floats) -> Pixels:
    inside = coverage >= min(0.5, float(coverage.max()))
    edge = inside ^ ndimage.binary_erosion(inside, border_value=1)
    around = ndimage.binary_dilation(inside) ^ inside
    drawn = picture.copy()
    drawn[edge], drawn[around] = 255, 0
    return drawn


def _join(left: Pixels, right: Pixels) -> bytes:
    gap = np.full((left.shape[0], max(1, left.shape[1] * _GAP // 100), 3), 128, np.uint8)
    both = np.concatenate([left, gap, right], axis=1)
    height, width = both.shape[:2]
    return crop_jpeg(both, Box(0, 0, width, height), round(_SIDE * max(height, width) / height))


def _describe(explained: Explained) -> str:
    return ". ".join(_sentences(explained)) + "."


def _sentences(explained: Explained) -> Iterator[str]:
    of = f", class {explained.category}" if explained.category is not None else ""
    yield f"{explained.id}{of}"
    before, after = explained.original, explained.obfuscated
    start = f"Predicted {_format_prediction(before)} before"
    if before.index == after.index:
        yield f"{start} and the same ({100 * after.confidence:.0f} %) after"
    else:
        yield f"{start} and {_format_prediction(after)} after"
    many = "1 face" if explained.faces == 1 else f"{explained.faces:,} faces"
    yield f"{many} on {100 * explained.area:.1f} % of the model's input"


def _format_prediction(prediction: Prediction) -> str:
    return f"{prediction.name} ({100 * prediction.confidence:.0f} %)"


def _format_shares(shares: Shares) -> str:
    before, after = (
        "none" if math.isnan(value) else f"{100 * value:.0f} %"
        for value in (shares.original, shares.obfuscated)
    )
    return f"{before} on faces before, {after} after"
