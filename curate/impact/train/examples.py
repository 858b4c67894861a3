"""Images as a network gets them: rows of an array that memory need not hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from curate.core.protocols import Pixels
from curate.impact.arrays import Floats, Ints
from curate.impact.train.hyperparameters import MEAN, STD


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Some of a dataset's images, with their labels.

    Args:
        pixels: all images, P×S×S×3 uint8; may lie on disk.
        rows: N, which of them.
        labels: N, their classes.
    """

    pixels: npt.NDArray[np.uint8]
    rows: Ints
    labels: Ints

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True, slots=True)
class Views:
    """What one epoch shows of each image, and in what order.

    It follows from the seed and the epoch, and from how many images there are: networks
    that are trained on either dataset see the same images in the same crops and order,
    and a training that is taken up again sees what it would have seen.

    Args:
        order: N, places of images.
        corners: N×2, top and left of each image's crop, by place.
        flipped: N, whether it is mirrored, by place.
    """

    order: Ints
    corners: Ints
    flipped: npt.NDArray[np.bool_]


def draw_views(images: int, room: int, seed: int, epoch: int) -> Views:
    """Draw an epoch.

    Args:
        images: how many.
        room: pixels that a crop can move, down and across.
        seed: of the training.
        epoch: which one.
    """
    random = np.random.default_rng([seed, epoch])
    order = random.permutation(images)
    corners = random.integers(0, room + 1, size=(images, 2))
    return Views(order, corners, random.random(images) < 0.5)


def crop(image: Pixels, corner: npt.ArrayLike, size: int, flipped: bool = False) -> Pixels:
    """A square of an image, mirrored if asked: size×size×3."""
    top, left = np.asarray(corner)
    part = image[top : top + size, left : left + size]
    return part[:, ::-1] if flipped else part


def iter_batches(
    examples: Examples, views: Views, size: int, batch: int
) -> Iterator[tuple[Ints, Pixels]]:
    """Places of images and their crops, n and n×size×size×3, in the order of an epoch."""
    for start in range(0, len(examples), batch):
        places = views.order[start : start + batch]
        crops = [
            crop(
                examples.pixels[examples.rows[place]],
                views.corners[place],
                size,
                bool(views.flipped[place]),
            )
            for place in places
        ]
        yield places, np.stack(crops)


def iter_centres(examples: Examples, size: int, batch: int) -> Iterator[Pixels]:
    """Crops from the middle of images, in their own order."""
    room = examples.pixels.shape[1] - size
    for start in range(0, len(examples), batch):
        rows = examples.rows[start : start + batch]
        yield np.stack([crop(examples.pixels[row], (room // 2, room // 2), size) for row in rows])


def normalise(pixels: Pixels) -> Tensor:
    """Images as a network wants them: N×3×H×W float32 of N×H×W×3 uint8."""
    values = torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float()
    mean = torch.tensor(MEAN).view(1, 3, 1, 1) * 255
    return (values - mean) / (torch.tensor(STD).view(1, 3, 1, 1) * 255)


def take_weights(weights: Floats | None, places: Ints) -> Tensor | None:
    """Weights of some images, float32, if there are any."""
    return None if weights is None else torch.from_numpy(weights[places].astype(np.float32))
