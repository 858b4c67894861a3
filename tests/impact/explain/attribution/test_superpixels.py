from __future__ import annotations

import numpy as np

from curate.impact.explain.attribution.superpixels import MAX_FACES, SEGMENTS, segment, spread

NOISE = np.random.default_rng(0).uniform(size=(64, 64, 3))
SHOWN = np.stack([*np.meshgrid(*([np.linspace(0, 1, 64)] * 2)), np.zeros((64, 64))], axis=-1)
NONE = np.zeros((64, 64))


def test_labels_are_contiguous_and_deterministic() -> None:
    labels = segment(SHOWN, NONE)
    assert labels.shape == (64, 64)
    assert (np.unique(labels) == np.arange(labels.max() + 1)).all()
    assert SEGMENTS / 2 < labels.max() + 1 <= 2 * SEGMENTS
    assert (labels == segment(SHOWN, NONE)).all()


def test_noise_is_segmented_by_a_grid() -> None:
    labels = segment(NOISE, NONE)
    assert labels.max() + 1 == SEGMENTS
    assert labels[0, 0] == labels[8, 8] != labels[0, 10]


def test_each_face_is_a_superpixel_of_its_own() -> None:
    coverage = NONE.copy()
    coverage[4:20, 5:15] = 1
    coverage[40:50, 40:60] = 0.6
    coverage[50, 40:60] = 0.4
    labels = segment(SHOWN, coverage)
    for face in (coverage == 1, coverage == 0.6):
        (number,) = np.unique(labels[face])
        assert ((labels == number) == face).all()


def test_smallest_of_many_faces_share_a_superpixel() -> None:
    coverage = NONE.copy()
    for number in range(20):
        y, x = divmod(number, 5)
        coverage[16 * y : 16 * y + 3 + number % 7, 12 * x : 12 * x + 4] = 1
    labels = segment(SHOWN, coverage)
    assert len(np.unique(labels[coverage > 0])) == MAX_FACES + 1


def test_full_image_face_leaves_superpixels_unchanged() -> None:
    assert (segment(SHOWN, np.ones((64, 64))) == segment(SHOWN, NONE)).all()


def test_a_weight_is_spread_evenly_over_its_superpixel() -> None:
    labels = np.array([[0, 0, 1], [0, 2, 2]])
    found = spread(np.array([6.0, -1.0, 3.0]), labels)
    np.testing.assert_allclose(found, [[2, 2, -1], [2, 1.5, 1.5]])
