"""Looks again, and closer, where the first look was in doubt.

CenterFace knows faces best when they are some 32 pixels high and shown with their
surroundings. A doubtful claim is shown to it again so: what is a face is found
again, what is a leaf or a button mostly is not.
"""

from __future__ import annotations

import numpy as np

from curate.core.protocols import Pixels
from curate.detectors.backends import Network
from curate.detectors.centerface import decode
from curate.detectors.claims import Claims, Floats, Mask
from curate.detectors.merge import overlap
from curate.detectors.views import View, back, padded, shown

Size = tuple[int, int]
"""Width and height, pixels."""

OWN: Size = (64, 96)
"""The network's input where a view is of one claim: faces are higher than wide, and so is
what surrounds them."""
SHARED: Size = (96, 96)
"""The network's input where claims share views."""
FEW = 20
"""Up to so many claims, each gets a view of its own."""
FACE = 32
"""Pixels to which a claim's longer side is resized."""
MARGIN = 0.2
"""What a view shows around each claim that it serves, at least, in longer sides of its own."""
ALIKE = 0.7
"""Least ratio of longer sides of the claims that one view serves."""
FOUND = 0.01
"""Least score in the second look."""
SAME_IOU = 0.3
"""Overlap from which a box of the second look is the claim's."""
BATCH = 8
"""Views run together."""


def look_again(network: Network, image: Pixels, claims: Claims) -> Claims:
    """What a closer look says of each claim.

    Args:
        network: CenterFace.
        image: H×W×3 uint8.
        claims: N claims in the image's pixels, by descending score, none of them empty.

    Returns:
        N claims in the same order: the best box of the second look that overlaps
        the claim, or the claim's own box with the score 0 where there is none.
    """
    boxes, scores = claims.boxes.copy(), np.zeros(len(claims))
    extent = (image.shape[1], image.shape[0])
    if len(claims) <= FEW:
        columns, rows = OWN
        planned = [(close_view(box, extent, OWN), [i]) for i, box in enumerate(claims.boxes)]
    else:
        columns, rows = SHARED
        planned = shared_views(claims.boxes, extent)
    for start in range(0, len(planned), BATCH):
        chosen = planned[start : start + BATCH]
        heads = network.run(
            np.stack([padded(shown(image, view), (rows, columns)) for view, _ in chosen])
        )
        for place, (view, served) in enumerate(chosen):
            seen = decode(heads, place, FOUND).clipped(view.width, view.height)
            seen = back(seen, view)
            for i in served:
                same = seen.take(overlap(claims.boxes[i], seen.boxes) >= SAME_IOU)
                if len(same):
                    best = same.order()[0]
                    boxes[i], scores[i] = same.boxes[best], same.scores[best]
    return Claims(boxes, scores)


def shared_views(boxes: Floats, extent: Size) -> list[tuple[View, list[int]]]:
    """Views that show every box closely, each with the indices of the boxes that it serves.

    Boxes come in clusters: several about one face, and faces side by side. The view of
    one serves those of its size that lie well inside, which halves the views of a crowd.

    Args:
        boxes: N×4 float64, ``xyxy``, pixels of the image, not empty; the first come first.
        extent: the image's width and height, pixels.
    """
    planned: list[tuple[View, list[int]]] = []
    waiting = np.ones(len(boxes), dtype=np.bool_)
    for i, box in enumerate(boxes):
        if waiting[i]:
            view = close_view(box, extent, SHARED)
            served = waiting & _well_inside(boxes, i, view, extent)
            waiting &= ~served
            planned.append((view, np.flatnonzero(served).tolist()))
    return planned


def _well_inside(boxes: Floats, own: int, view: View, extent: Size) -> Mask:
    """Which boxes the view of one of them serves: that one, and those like it inside."""
    longer = np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
    margin = MARGIN * longer[own]
    # Nothing can be shown beyond the image, so that no margin is asked for at its edges.
    low = [place + margin if place > 0 else 0 for place in (view.x0, view.y0)]
    high = [
        place - margin if place < edge else edge
        for place, edge in zip((view.x1, view.y1), extent, strict=True)
    ]
    inside = (boxes[:, :2] >= low).all(axis=1) & (boxes[:, 2:] <= high).all(axis=1)
    alike = (longer >= ALIKE * longer[own]) & (ALIKE * longer <= longer[own])
    served: Mask = inside & alike
    served[own] = True
    return served


def close_view(box: Floats, extent: Size, size: Size) -> View:
    """What surrounds a box, as far as it lies in the image, at the network's size.

    Args:
        box: 4 float64, ``xyxy``, pixels of the image, not empty.
        extent: the image's width and height, pixels.
        size: what the view is to fit in, pixels.
    """
    longer = max(box[2] - box[0], box[3] - box[1], 1.0)
    reach = np.array(size) / FACE / 2 * longer
    centre = (box[:2] + box[2:]) / 2
    low = np.clip(np.floor(centre - reach), 0, np.array(extent) - 1).astype(int)
    high = np.clip(np.ceil(centre + reach), low + 1, extent).astype(int)
    scale = (np.array(size) / np.maximum(2 * reach, high - low)).min()
    shape = np.clip(np.round((high - low) * scale), 1, size).astype(int)
    return View(*low.tolist(), *high.tolist(), *shape.tolist())
