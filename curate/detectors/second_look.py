"""Looks again, and closer, where the first look was in doubt.

CenterFace knows faces best when they are some 32 pixels high and shown with their
surroundings. A doubtful claim is shown to it again so: what is a face is found
again, what is a leaf or a button mostly is not.
"""

from __future__ import annotations

import numpy as np

from curate.core.ports import Pixels
from curate.detectors.backends import Network
from curate.detectors.centerface import decode
from curate.detectors.claims import Claims, Floats
from curate.detectors.merge import overlap
from curate.detectors.views import View, back, padded, shown

WIDTH, HEIGHT = 64, 96
"""The network's input, pixels; faces are higher than wide, and so is what surrounds them."""
FACE = 32
"""Pixels to which a claim's longer side is resized."""
FOUND = 0.01
"""Least score in the second look."""
SAME_IOU = 0.3
"""Overlap from which a box of the second look is the claim's."""
BATCH = 16
"""Claims run together."""


def look_again(network: Network, image: Pixels, claims: Claims) -> Claims:
    """What a closer look says of each claim.

    Args:
        network: CenterFace.
        image: H×W×3 uint8.
        claims: N claims in the image's pixels, none of them empty.

    Returns:
        N claims in the same order: the best box of the second look that overlaps
        the claim, or the claim's own box with the score 0 where there is none.
    """
    boxes, scores = claims.boxes.copy(), np.zeros(len(claims))
    height, width = image.shape[:2]
    for start in range(0, len(claims), BATCH):
        chosen = range(start, min(start + BATCH, len(claims)))
        views = [close_view(claims.boxes[i], width, height) for i in chosen]
        heads = network.run(
            np.stack([padded(shown(image, view), (HEIGHT, WIDTH)) for view in views])
        )
        for place, (i, view) in enumerate(zip(chosen, views, strict=True)):
            seen = decode(heads, place, FOUND).clipped(view.width, view.height)
            seen = back(seen, view)
            same = seen.take(overlap(claims.boxes[i], seen.boxes) >= SAME_IOU)
            if len(same):
                best = same.order()[0]
                boxes[i], scores[i] = same.boxes[best], same.scores[best]
    return Claims(boxes, scores)


def close_view(box: Floats, width: int, height: int) -> View:
    """What surrounds a box, as far as it lies in the image, at the network's size.

    Args:
        box: 4 float64, ``xyxy``, pixels of the image, not empty.
        width: the image's width, pixels.
        height: the image's height, pixels.
    """
    longer = max(box[2] - box[0], box[3] - box[1], 1.0)
    reach = np.array([WIDTH, HEIGHT]) / FACE / 2 * longer
    centre = (box[:2] + box[2:]) / 2
    low = np.clip(np.floor(centre - reach), 0, [width - 1, height - 1]).astype(int)
    high = np.clip(np.ceil(centre + reach), low + 1, [width, height]).astype(int)
    scale = (np.array([WIDTH, HEIGHT]) / np.maximum(2 * reach, high - low)).min()
    size = np.clip(np.round((high - low) * scale), 1, [WIDTH, HEIGHT]).astype(int)
    return View(*low.tolist(), *high.tolist(), *size.tolist())
