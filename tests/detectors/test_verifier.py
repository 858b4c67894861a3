from __future__ import annotations

import numpy as np
import pytest

from curate.core.errors import WeightsError
from curate.detectors import centerface, verifier
from curate.detectors.network import Network
from curate.detectors.verifier import load_head, pool, rescore
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
