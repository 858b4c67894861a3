from __future__ import annotations

import numpy as np
import pytest

from curate.impact.train.image_rows import shrink


@pytest.mark.parametrize(
    ("height", "width"), [(40, 40), (40, 90), (90, 40), (18, 18), (7, 50), (1, 1), (19, 18)]
)
def test_center_square_is_kept_for_every_shape(height: int, width: int) -> None:
    image = np.full((height, width, 3), 77, dtype=np.uint8)
    found = shrink(image, 18)
    assert found.shape == (18, 18, 3)
    assert (found == 77).all()


def test_pixels_outside_the_center_square_are_dropped() -> None:
    image = np.zeros((20, 60, 3), dtype=np.uint8)
    image[:, :18] = image[:, -18:] = 255
    assert shrink(image, 10).max() == 0
