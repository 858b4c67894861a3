from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.protocols import Pixels
from curate.detectors import second_look
from curate.detectors.backends import Heads, load_network
from curate.detectors.centerface import WEIGHTS
from curate.detectors.claims import Claims
from curate.detectors.second_look import SHARED, look_again, shared_views
from curate.detectors.weights import find_weights
from tests.detectors.pictures import ASTRONAUT_FACE, astronaut

EXTENT = (400, 300)


class Blind:
    """A network that finds nothing, and remembers the shapes that it was shown."""

    backend = "none"
    batches = False

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def run(self, images: Pixels) -> Heads:
        self.shapes.append(images.shape[:3])
        maps = np.zeros((len(images), 2, images.shape[1] // 4, images.shape[2] // 4), np.float32)
        return Heads(maps[:, 0], maps, maps)


def served(*boxes: tuple[float, float, float, float]) -> list[list[int]]:
    return [indices for _, indices in shared_views(np.array(boxes), EXTENT)]


def test_claims_about_one_face_share_a_view() -> None:
    assert served((100, 100, 120, 130), (104, 98, 124, 128), (98, 104, 118, 134)) == [[0, 1, 2]]


def test_a_claim_that_is_not_well_inside_gets_its_own_view() -> None:
    far, edge = (200, 100, 220, 130), (132, 100, 152, 130)
    assert served((100, 100, 120, 130), far, edge) == [[0], [1], [2]]


def test_a_claim_of_another_size_gets_its_own_view() -> None:
    assert served((100, 100, 120, 130), (103, 105, 117, 120)) == [[0], [1]]


def test_no_margin_is_asked_for_at_the_edge_of_the_image() -> None:
    assert served((20, 20, 40, 50), (0, 12, 20, 42)) == [[0, 1]]


places = st.floats(0, 200)
sizes = st.floats(1, 100)


@given(st.lists(st.tuples(places, places, sizes, sizes), max_size=30))
def test_every_claim_is_served_once_and_lies_in_its_view(
    drawn: list[tuple[float, float, float, float]],
) -> None:
    boxes = np.array([(x, y, x + w, y + h) for x, y, w, h in drawn]).reshape(-1, 4)
    planned = shared_views(boxes, EXTENT)
    indices = [i for _, served in planned for i in served]
    assert sorted(indices) == list(range(len(boxes)))
    for view, served in planned:
        assert view.width <= SHARED[0]
        assert view.height <= SHARED[1]
        for box in boxes[served]:
            assert view.x0 <= box[0]
            assert view.y0 <= box[1]
            assert box[2] <= view.x1
            assert box[3] <= view.y1


def test_few_claims_get_views_of_their_own_and_a_crowd_shares(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(second_look, "FEW", 2)
    image = np.zeros((*EXTENT[::-1], 3), np.uint8)
    boxes = np.array([(100.0 + i, 100.0, 120.0 + i, 130.0) for i in range(3)])
    for count, shape in ((2, (2, 96, 64)), (3, (1, 96, 96))):
        network = Blind()
        seen = look_again(network, image, Claims(boxes[:count], np.full(count, 0.3)))
        assert network.shapes == [shape]
        assert np.array_equal(seen.boxes, boxes[:count])
        assert not seen.scores.any()


@pytest.mark.parametrize("few", [0, 10])
def test_all_claims_about_a_face_are_told_where_it_is(
    few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(second_look, "FEW", few)
    network = load_network("opencv", find_weights(WEIGHTS).paths["centerface.onnx"], "cpu", 1)
    box = np.array(ASTRONAUT_FACE.xyxy)
    claims = Claims(np.stack([box, box + 20, box * 0 + [10, 400, 110, 500]]), np.full(3, 0.3))
    seen = look_again(network, astronaut(), claims)
    assert (seen.scores[:2] > 0.5).all()
    assert seen.boxes[0] == pytest.approx(seen.boxes[1], abs=10)
    assert seen.scores[2] < 0.1
