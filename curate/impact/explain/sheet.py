"""Pictures of what a classifier looks at, original and obfuscated side by side."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from curate.codec import crop_jpeg
from curate.core.geometry import Box
from curate.core.protocols import Pixels
from curate.impact.arrays import Bools, Floats
from curate.impact.explain.face_share import Shares
from curate.impact.explain.measure import Answer, Explained
from curate.report.values import Picture

_SIDE = 200  # of one image, pixels
_GAP = 6  # share of the side between the two, per cent
_SMOOTHING = 0.008  # standard deviation, as a share of the map's height

# From dark violet to pale yellow: lightness alone tells more from less.
_RAMP = np.array(
    [(59, 15, 112), (140, 41, 129), (222, 73, 104), (254, 159, 109), (252, 253, 191)], np.float64
)


@dataclass(frozen=True, slots=True)
class Sheet:
    """One image's part of the contact sheet.

    Args:
        text: which image, and what is said of it.
        pictures: each holds the original's side at the left and the obfuscated at the right.
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
    """Draw an image and the maps of all methods over it.

    Args:
        shown: the original and the obfuscated image as the model is given them, H×W×3 uint8.
        coverage: how much of each place lies inside faces, H×W, 0..1.
        maps: of the original and of the obfuscated image, by method, H×W.
        titles: what people call the methods.
        explained: what was found.
        hide: draw the original's side over the obfuscated image, and its maps inside each face
            as their mean, so that the sheet shows nothing of a face.
    """
    inside = coverage > 0
    grounds = (shown[1], shown[1]) if hide else shown
    if hide:
        both = _join(shown[1], _outline(shown[1], coverage))
        pictures = [Picture(both, "obfuscated; at the right with the faces' regions")]
    else:
        pictures = [Picture(_join(*shown), "original and obfuscated")]
    for name, (before, after) in maps.items():
        drawn = level(before, inside) if hide else before
        sides = [
            _outline(overlay(ground, values), coverage)
            for ground, values in zip(grounds, (drawn, after), strict=True)
        ]
        caption = f"{titles[name]}: {_format_shares(explained.measured[name].shares)}"
        pictures.append(Picture(_join(*sides), caption))
    return Sheet(_describe(explained), tuple(pictures))


def level(values: Floats, inside: Bools) -> Floats:
    """A map with what lies inside each region replaced by its mean there.

    So that the map's shape inside a face, which follows the face, is not shown. Negative
    values are taken for 0 first, as nothing else is drawn.
    """
    drawn = np.maximum(values, 0.0)
    labels, count = ndimage.label(inside)
    for number in range(1, count + 1):
        drawn[labels == number] = drawn[labels == number].mean()
    return drawn


def overlay(ground: Pixels, values: Floats) -> Pixels:
    """A grey picture with a map over it, from nothing to as much as the largest places have.

    The map is smoothed a little: single pixels, which LRP gives, could not be seen.

    Args:
        ground: H×W×3 uint8.
        values: H×W; what is negative is not drawn.
    """
    positive = ndimage.gaussian_filter(np.maximum(values, 0.0), len(values) * _SMOOTHING)
    most = float(np.quantile(positive, 0.995)) or float(positive.max())
    amount = np.clip(positive / most, 0.0, 1.0) if most > 0 else positive
    grey = ground.astype(np.float64) @ (0.299, 0.587, 0.114)
    place = amount * (len(_RAMP) - 1)
    low = np.minimum(place.astype(int), len(_RAMP) - 2)
    part = (place - low)[..., None]
    colour = _RAMP[low] * (1 - part) + _RAMP[low + 1] * part
    weight = (0.85 * np.sqrt(amount))[..., None]
    mixed = grey[..., None] * (1 - weight) + colour * weight
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
    said = f"Taken for {_format_answer(before)} before"
    if before.place == after.place:
        yield f"{said} and for the same ({100 * after.confidence:.0f} %) after"
    else:
        yield f"{said} and for {_format_answer(after)} after"
    many = "1 face" if explained.faces == 1 else f"{explained.faces:,} faces"
    yield f"{many} on {100 * explained.area:.1f} % of what the model sees"


def _format_answer(answer: Answer) -> str:
    return f"{answer.name} ({100 * answer.confidence:.0f} %)"


def _format_shares(shares: Shares) -> str:
    before, after = (
        "nothing" if math.isnan(value) else f"{100 * value:.0f} %"
        for value in (shares.original, shares.obfuscated)
    )
    return f"{before} on faces before, {after} after"
