from __future__ import annotations

import importlib.util
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.errors import DataError, WeightsError, WithheldError
from curate.core.geometry import Box
from curate.detectors import verifier
from curate.detectors.backbone import OpenCvBackbone, load_backbone
from curate.detectors.backbone_torch import TorchBackbone
from curate.detectors.backends import opencv_major
from curate.detectors.centerface import WEIGHTS
from curate.detectors.verifier import MIN_SIDE, SIDE, VETO_BELOW, Verifier, square
from curate.detectors.weights import find_weights


def packaged(name: str) -> np.ndarray:
    """A picture that scikit-image ships, RGB."""
    found = importlib.util.find_spec("skimage")
    if found is None or found.origin is None:
        pytest.skip("scikit-image is not installed")
    image = cv2.imread(str(Path(found.origin).parent / "data" / name), cv2.IMREAD_COLOR)
    assert image is not None
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


ASTRONAUT = Box(173, 66, 272, 195)
CHELSEA = Box(115, 60, 285, 255)


@pytest.fixture(scope="module")
def judge() -> Verifier:
    return Verifier()


def test_a_persons_face_is_kept(judge: Verifier) -> None:
    assert judge.person_scores(packaged("astronaut.png"), [ASTRONAUT])[0] > 0.9


def test_a_cats_face_is_vetoed(judge: Verifier) -> None:
    assert judge.person_scores(packaged("chelsea.png"), [CHELSEA])[0] < VETO_BELOW


@pytest.mark.parametrize("side", [20, 40, 120])
def test_a_persons_face_is_kept_at_any_size(judge: Verifier, side: int) -> None:
    factor = side / ASTRONAUT.height
    image = cv2.resize(packaged("astronaut.png"), None, fx=factor, fy=factor, interpolation=3)
    box = Box(*(value * factor for value in ASTRONAUT.xyxy))
    assert judge.person_scores(image, [box])[0] > VETO_BELOW


def test_boxes_too_small_to_judge_score_one(judge: Verifier) -> None:
    cat = packaged("chelsea.png")
    small = Box(150, 100, 150 + MIN_SIDE - 1, 100 + MIN_SIDE - 1)
    assert judge.person_scores(cat, [small]).tolist() == [1.0]


def test_no_boxes_give_no_scores(judge: Verifier) -> None:
    scores = judge.person_scores(packaged("chelsea.png"), [])
    assert scores.shape == (0,)
    assert scores.dtype == np.float32


def test_scores_do_not_depend_on_the_other_boxes(judge: Verifier) -> None:
    image = packaged("astronaut.png")
    boxes = [Box(x, y, x + 60, y + 80) for x in range(0, 420, 70) for y in range(0, 400, 100)]
    together = judge.person_scores(image, boxes)
    alone = np.concatenate([judge.person_scores(image, [box]) for box in boxes])
    np.testing.assert_allclose(together, alone, atol=1e-4)


def test_the_image_is_left_unchanged(judge: Verifier) -> None:
    image = packaged("chelsea.png")
    before = image.copy()
    judge.person_scores(image, [CHELSEA])
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 40, 3), (30, 20, 3)])
def test_images_smaller_than_the_box_are_judged(judge: Verifier, shape: tuple[int, ...]) -> None:
    scores = judge.person_scores(np.zeros(shape, np.uint8), [Box(-50, -50, 90, 90)])
    assert np.isfinite(scores).all()


def test_anything_but_rgb_bytes_is_refused(judge: Verifier) -> None:
    with pytest.raises(DataError):
        judge.person_scores(np.zeros((40, 40), np.uint8), [Box(0, 0, 30, 30)])


def test_an_altered_head_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifier, "HEAD_SHA256", "0" * 64)
    with pytest.raises(WeightsError, match="not the expected file"):
        Verifier().person_scores(packaged("chelsea.png"), [CHELSEA])


def test_a_score_that_is_not_finite_is_an_error_not_a_veto(
    judge: Verifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = verifier.load_head()
    broken = verifier.Head(head.weight * np.float32(np.nan), head.bias, head.provenance)
    monkeypatch.setattr(judge, "_head", broken)
    with pytest.raises(WithheldError):
        judge.person_scores(packaged("chelsea.png"), [CHELSEA])


@pytest.mark.skipif(opencv_major() < 5, reason="OpenCV 4 does not run the backbone")
def test_opencv_and_torch_see_the_same() -> None:
    weights = find_weights(WEIGHTS).paths["centerface.onnx"]
    squares = np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE, 3), dtype=np.uint8)
    one, other = OpenCvBackbone(weights, 1).maps(squares), TorchBackbone(weights, 1).maps(squares)
    for mine, theirs in zip(one, other, strict=True):
        assert mine == pytest.approx(theirs, abs=1e-4)


@pytest.mark.parametrize(("major", "library"), [(4, "torch"), (5, "opencv")])
@pytest.mark.skipif(opencv_major() < 5, reason="OpenCV 4 does not run the backbone")
def test_models_name_the_library_that_runs_the_backbone(
    major: int, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curate.detectors.backbone.opencv_major", lambda: major)
    (model,) = Verifier().models()
    assert model.backend.startswith(library)
    backbone = load_backbone(find_weights(WEIGHTS).paths["centerface.onnx"], 1)
    assert type(backbone) is (TorchBackbone if library == "torch" else OpenCvBackbone)


def test_the_head_says_where_it_comes_from() -> None:
    provenance = verifier.load_head().provenance
    assert {"data", "seed", "script"} <= set(provenance)


def test_models_name_every_weights_file() -> None:
    (model,) = Verifier().models()
    assert set(model.weights_sha256) == {"centerface.onnx", verifier.HEAD}
    assert all(len(digest) == 64 for digest in model.weights_sha256.values())


sides = st.integers(1, 300)
places = st.floats(-400, 700, allow_nan=False)


@given(width=sides, height=sides, x=places, y=places, w=st.floats(0, 900), h=st.floats(0, 900))
def test_a_square_is_always_full_size(
    width: int, height: int, x: float, y: float, w: float, h: float
) -> None:
    image = np.full((height, width, 3), 77, np.uint8)
    result = square(image, Box(x, y, x + w, y + h), 2.0)
    assert result.shape == (SIDE, SIDE, 3)
    assert (result == 77).all()


def test_a_square_shows_what_is_around_the_box() -> None:
    image = np.zeros((400, 400, 3), np.uint8)
    image[152:248, 152:248] = 255
    half = square(image, Box(152, 152, 248, 248), 2.0)
    quarter = SIDE // 4
    assert half[quarter + 2 : -quarter - 2, quarter + 2 : -quarter - 2].min() == 255
    assert half[: quarter - 2].max() == 0


def test_a_square_repeats_the_border() -> None:
    image = np.zeros((96, 96, 3), np.uint8)
    image[:, 48:] = 200
    result = square(image, Box(0, 0, 96, 96), 2.0)
    assert (result[:, -10:] == 200).all()
    assert (result[:, :10] == 0).all()
