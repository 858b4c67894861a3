from __future__ import annotations

import numpy as np

from curate.impact.train.examples import Examples, draw_views, iter_batches, iter_centres, normalise

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 9, 9, 3), dtype=np.uint8)
EXAMPLES = Examples(PIXELS, np.array([5, 0, 3, 1]), np.array([1, 0, 1, 0]))


def test_views_follow_from_seed_and_epoch_alone() -> None:
    first, again, later, other = (
        draw_views(50, 3, *numbers) for numbers in ((1, 2), (1, 2), (1, 3), (2, 2))
    )
    assert np.array_equal(first.order, again.order)
    assert np.array_equal(first.corners, again.corners)
    assert np.array_equal(first.flipped, again.flipped)
    for another in (later, other):
        assert not np.array_equal(first.order, another.order)
        assert not np.array_equal(first.corners, another.corners)


def test_an_epoch_shows_every_image_once_in_a_crop_that_lies_in_it() -> None:
    views = draw_views(4, 1, 0, 0)
    shown = list(iter_batches(EXAMPLES, views, size=8, batch=3))
    assert [len(places) for places, _ in shown] == [3, 1]
    assert sorted(int(place) for places, _ in shown for place in places) == [0, 1, 2, 3]
    for places, crops in shown:
        for place, crop in zip(places, crops, strict=True):
            image = PIXELS[EXAMPLES.rows[place]]
            parts = [image[y : y + 8, x : x + 8] for y in (0, 1) for x in (0, 1)]
            assert any(
                np.array_equal(crop, part) or np.array_equal(crop, part[:, ::-1]) for part in parts
            )


def test_corners_reach_both_ends_and_half_of_the_images_are_mirrored() -> None:
    views = draw_views(4000, 2, 0, 0)
    assert set(views.corners.ravel().tolist()) == {0, 1, 2}
    assert abs(views.flipped.mean() - 0.5) < 0.04


def test_test_images_come_in_order_from_the_middle() -> None:
    shown = np.concatenate(list(iter_centres(EXAMPLES, size=7, batch=3)))
    assert np.array_equal(shown, PIXELS[EXAMPLES.rows, 1:8, 1:8])


def test_pixels_are_normalised_by_channel() -> None:
    grey = np.full((1, 2, 2, 3), 255, dtype=np.uint8)
    found = normalise(grey).numpy()
    assert found.shape == (1, 3, 2, 2)
    assert np.allclose(found[0, :, 0, 0], [(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, 0.594 / 0.225])
