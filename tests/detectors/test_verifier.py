from __future__ import annotations

import numpy as np
import pytest

from curate.core.errors import WeightsError
from curate.detectors import centerface, verifier
from curate.detectors.network import Network
from curate.detectors.passes import Square
from curate.detectors.verifier import _best, load_head, pool, rescore
from tests.detectors.pictures import ASTRONAUT_FACE, astronaut, packaged

FACE = np.array([[*ASTRONAUT_FACE.xyxy]], dtype=np.float64)
CAT = np.array([[150.0, 40, 300, 190]])
"""Around the face of scikit-image's cat."""


@pytest.fixture(scope="module")
def network() -> Network:
    return centerface.load("cpu", 1, centerface.FEATURES)[0]


def test_a_face_is_found_again_in_its_place(network: Network) -> None:
    found = rescore(network, astronaut(), FACE)
    assert (found.scores > 0.5).all()
    for boxes in found.boxes:
        assert np.abs(boxes - FACE).max() < 40


def test_a_person_is_told_from_a_cat(network: Network) -> None:
    head = load_head()
    person = rescore(network, astronaut(), FACE).person_logits(head)
    cat = rescore(network, packaged("chelsea.png"), CAT).person_logits(head)
    assert person[0] > 0 > cat[0]


def test_what_is_not_found_again_keeps_its_box_and_scores_nothing(network: Network) -> None:
    image = np.full((200, 200, 3), 128, np.uint8)
    boxes = np.array([[50.0, 60, 90, 110]])
    found = rescore(network, image, boxes)
    assert (found.scores == 0).all()
    assert (found.boxes == boxes).all()


def test_many_candidates_are_scored_as_each_alone(network: Network) -> None:
    boxes = np.concatenate([FACE + np.array([shift, 0, shift, 0]) for shift in range(0, 80, 4)])
    together = rescore(network, astronaut(), boxes)
    for i in (0, 9, 19):
        alone = rescore(network, astronaut(), boxes[i : i + 1])
        np.testing.assert_allclose(together.scores[:, i], alone.scores[:, 0], atol=1e-4)
        np.testing.assert_allclose(together.features[i], alone.features[0], atol=1e-3)


def test_no_candidates_have_no_scores(network: Network) -> None:
    assert rescore(network, astronaut(), np.empty((0, 4))).scores.shape == (2, 0)


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 40, 3), (30, 20, 3)])
def test_images_smaller_than_the_box_are_scored(network: Network, shape: tuple[int, ...]) -> None:
    found = rescore(network, np.zeros(shape, np.uint8), np.array([[-50.0, -50, 90, 90]]))
    assert np.isfinite(found.features).all()


def test_pooling_weighs_the_center(network: Network) -> None:
    values = np.zeros((1, 1, 5, 5), np.float32)
    values[0, 0, 2, 2] = 25
    center, mean = pool(values)[0]
    assert mean == pytest.approx(1)
    assert center > 2
    assert pool(np.ones((2, 3, 6, 6), np.float32)) == pytest.approx(np.ones((2, 6)))


def test_an_altered_head_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifier, "HEAD_SHA256", "0" * 64)
    with pytest.raises(WeightsError, match="not the expected file"):
        load_head()


def test_the_head_names_its_data_and_script() -> None:
    assert {"data", "seed", "script"} <= set(load_head().provenance)


def maps_of_cells(cells: list[tuple[int, int, int, float]], count: int) -> list[np.ndarray]:
    """Outputs of the network for crops: boxes of four cells a side at (input, row, column)."""
    side = verifier.SIDE // 4
    heat = np.zeros((count, 1, side, side), np.float32)
    for which, row, column, score in cells:
        heat[which, 0, row, column] = score
    size = np.full((count, 2, side, side), np.log(4), np.float32)
    return [heat, size, np.zeros_like(size)]


def test_each_candidate_gets_the_highest_scored_box_that_overlaps_it() -> None:
    maps = maps_of_cells([(0, 10, 10, 0.4), (0, 10, 11, 0.9), (0, 2, 2, 1.0), (2, 5, 5, 0.3)], 3)
    pixels = np.zeros((verifier.SIDE, verifier.SIDE, 3), np.uint8)
    crops = [Square(pixels, 100 * i, 0, 2.0) for i in range(3)]
    # A cell is 4 pixels of the crop, at 2 pixels of the image each: row 10 is around 84.
    boxes = np.array([[68.0, 68, 100, 100], [168, 68, 200, 100], [228, 28, 260, 60]])
    best = {i: (box.round(3).tolist(), score) for i, box, score in _best(maps, boxes, crops, False)}
    assert best == {
        0: ([76.0, 68.0, 108.0, 100.0], pytest.approx(0.9)),
        2: ([228.0, 28.0, 260.0, 60.0], pytest.approx(0.3)),
    }
    mirrored = {i: box.round(3).tolist() for i, box, _ in _best(maps, boxes, crops, True)}
    assert mirrored == {0: [84.0, 68.0, 116.0, 100.0]}
