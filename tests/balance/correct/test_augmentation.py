from __future__ import annotations

import json
import pickle
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from curate.balance.correct.augmentation import PRESETS, Augmentation, make_augmentation
from curate.core.affine import Affine
from curate.core.errors import DataError, UsageError
from tests.codec.samples import photo

MONK = (
    *("f6ede4", "f3e7db", "f7ead0", "eadaba", "d7bd96"),
    *("a07e56", "825c43", "604134", "3a312a", "292420"),
)
"""The ten tones of the Monk skin tone scale."""


@pytest.fixture(scope="module", params=list(PRESETS))
def preset(request: pytest.FixtureRequest) -> Augmentation:
    return make_augmentation(request.param)


def save(path: Path, *transforms: dict[str, Any], **rest: Any) -> str:
    named = [{"p": 1.0, **item} for item in transforms]
    whole = {"__class_fullname__": "Compose", "p": 1.0, "transforms": named, **rest}
    path.write_text(json.dumps({"__version__": "2.0.8", "transform": whole}))
    return str(path)


def transform(name: str, **options: Any) -> dict[str, Any]:
    return {"__class_fullname__": name, **options}


def spot(x: float, y: float, width: int, height: int) -> np.ndarray[Any, Any]:
    """A soft round spot whose center is at continuous coordinates."""
    rows, columns = np.mgrid[:height, :width]
    away = (columns + 0.5 - x) ** 2 + (rows + 0.5 - y) ** 2
    return np.repeat((np.exp(-away / 128) * 250).round().astype(np.uint8)[..., None], 3, axis=2)


def center(image: np.ndarray[Any, Any]) -> tuple[float, float]:
    weights = image[..., 0].astype(float)
    rows, columns = np.mgrid[: weights.shape[0], : weights.shape[1]]
    total = weights.sum()
    return (weights * (columns + 0.5)).sum() / total, (weights * (rows + 0.5)).sum() / total


def test_a_seed_decides_all_and_the_image_stays(preset: Augmentation) -> None:
    image = photo(90, 70)
    before = image.copy()
    first, other = preset.apply(image, 7), preset.apply(image, 8)
    again = preset.apply(image, 7)
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(first.image, again.image)
    assert (first.affine, first.parameters) == (again.affine, again.parameters)
    assert not np.array_equal(first.image, other.image)
    assert first.image.dtype == np.uint8
    assert first.image.flags.c_contiguous
    assert json.loads(json.dumps(first.parameters)) == first.parameters


def test_every_draw_changes_the_image(preset: Augmentation) -> None:
    image = photo(90, 70)
    made = {preset.apply(image, seed).image.tobytes() for seed in range(20)}
    assert len(made) == 20
    assert image.tobytes() not in made


def test_parts_draw_independently() -> None:
    flip = make_augmentation("flip")
    image = photo(60, 50)
    drawn = [set(flip.apply(image, seed).parameters) for seed in range(200)]
    flipped = [names for names in drawn if "HorizontalFlip" in names]
    assert 70 < len(flipped) < 130
    colored = [names for names in flipped if "HueSaturationValue" in names]
    assert 0.3 < len(colored) / len(flipped) < 0.7


def test_no_generator_of_the_process_is_touched(preset: Augmentation) -> None:
    np.random.seed(3)
    random.seed(3)
    cv2.setRNGSeed(3)
    before = (np.random.get_state()[1].tolist(), random.getstate())  # type: ignore[index]
    preset.apply(photo(60, 50), 1)
    assert (np.random.get_state()[1].tolist(), random.getstate()) == before  # type: ignore[index]


def test_another_process_makes_the_same_image_and_says_nothing(preset: Augmentation) -> None:
    code = (
        "import hashlib, socket, sys\n"
        "def refuse(*_): raise AssertionError('the network is asked')\n"
        "socket.socket.connect = refuse\n"
        "from curate.balance.correct.augmentation import make_augmentation\n"
        "from tests.codec.samples import photo\n"
        "assert 'albumentations' not in sys.modules\n"
        "made = make_augmentation(sys.argv[1]).apply(photo(90, 70), 7)\n"
        "print(hashlib.sha256(made.image.tobytes()).hexdigest(), made.affine)\n"
    )
    import hashlib

    made = preset.apply(photo(90, 70), 7)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, preset.name], capture_output=True, text=True
    )
    assert done.stderr == ""
    digest = hashlib.sha256(made.image.tobytes()).hexdigest()
    assert done.stdout == f"{digest} {made.affine}\n"


def test_torch_is_not_loaded_and_stays_available() -> None:
    code = """
import sys
from curate.balance.correct.augmentation import make_augmentation
make_augmentation("flip")
assert "albumentations" in sys.modules and "torch" not in sys.modules
import albumentations.pytorch
assert "torch" in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_is_written_down_makes_the_same_again(preset: Augmentation, tmp_path: Path) -> None:
    said = json.loads(json.dumps(preset.to_dict()))
    assert said["__version__"].startswith("2.")
    (tmp_path / "again.json").write_text(json.dumps(said))
    again = make_augmentation(str(tmp_path / "again.json"))
    image = photo(90, 70)
    for other in (again, pickle.loads(pickle.dumps(preset))):  # noqa: S301 - made here
        np.testing.assert_array_equal(other.apply(image, 5).image, preset.apply(image, 5).image)
        assert other.to_dict() == said


def test_photometric_moves_nothing_and_flip_only_mirrors() -> None:
    image = photo(90, 70)
    for seed in range(20):
        assert make_augmentation("photometric").apply(image, seed).affine.is_identity(90, 70)
        flipped = make_augmentation("flip").apply(image, seed).affine
        mirror = Affine(((-1.0, 0.0, 90.0), (0.0, 1.0, 0.0)), 90, 70)
        assert flipped.is_identity(90, 70) or flipped == mirror


def test_geometric_keeps_shapes_nearly_as_they_are() -> None:
    geometric = make_augmentation("geometric")
    for seed in range(40):
        affine = geometric.apply(photo(90, 70), seed).affine
        assert (affine.width, affine.height) == (90, 70)
        scale = abs(affine.determinant) ** 0.5
        assert 0.91 < scale < 1.09
        linear = np.array(affine.matrix)[:, :2] / scale
        np.testing.assert_allclose(linear @ linear.T, np.eye(2), atol=1e-4)  # no shear


def test_skin_keeps_its_tone() -> None:
    """Lightness L* by less than 5, half a step of the scale; hue by at most 4 degrees."""
    photometric = make_augmentation("photometric")
    for tone in MONK:
        patch = np.zeros((24, 24, 3), np.uint8) + np.frombuffer(bytes.fromhex(tone), np.uint8)
        before = _lab(patch)
        made = [photometric.apply(patch, seed) for seed in range(100)]
        lightness = np.abs([_lab(each.image)[0] - before[0] for each in made])
        assert np.percentile(lightness, 95) < 5, tone
        hues = [each.parameters.get("HueSaturationValue", {}).get("hue_shift", 0) for each in made]
        assert 0 < max(map(abs, hues)) <= 2  # of OpenCV's 180 steps of a circle


def _lab(image: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    found = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    return np.asarray(found[6:-6, 6:-6].reshape(-1, 3).mean(axis=0))


AFFINE = [
    transform("Affine", rotate=[10, 10], scale=[0.8, 0.8], shear=[5, 5], translate_percent=0.05),
    transform("Affine", rotate=[30, 30], fit_output=True),
    transform("CenterCrop", height=150, width=201),
    transform("Crop", x_min=3, y_min=5, x_max=280, y_max=190),
    transform("CropAndPad", px=-7, keep_size=False),
    transform("D4"),
    transform("HorizontalFlip"),
    transform("Pad", padding=7),
    transform("PadIfNeeded", min_height=256, min_width=400),
    transform("RandomCrop", height=190, width=281),
    transform("RandomCropFromBorders"),
    transform("RandomRotate90"),
    transform("Rotate", limit=[20, 20]),
    transform("Rotate", limit=[9, 9], crop_border=True),
    transform("SafeRotate", limit=[20, 20]),
    transform("ShiftScaleRotate", rotate_limit=[20, 20]),
    transform("SquareSymmetry"),
    transform("Transpose"),
    transform("VerticalFlip"),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("given", AFFINE, ids=lambda item: str(item["__class_fullname__"]))
def test_the_map_says_where_every_point_went(given: dict[str, Any], tmp_path: Path) -> None:
    made_by = make_augmentation(save(tmp_path / "a.json", given))
    for x, y in ((150, 100), (130, 90), (165, 110)):
        for seed in range(3):
            made = made_by.apply(spot(x, y, 300, 200), seed)
            assert made.image.shape[:2] == (made.affine.height, made.affine.width)
            found = made.affine.points([[x, y]])[0]
            np.testing.assert_allclose(center(made.image), found, atol=0.03)


def test_a_file_in_yaml_with_choices_is_read(tmp_path: Path) -> None:
    import albumentations

    flips = [albumentations.HorizontalFlip(p=1), albumentations.VerticalFlip(p=1)]
    whole = albumentations.Compose(
        [albumentations.OneOf(flips, p=1), albumentations.RandomGamma(p=1)],
        bbox_params=albumentations.BboxParams("coco"),
        seed=3,
    )
    albumentations.save(whole, str(tmp_path / "a.yaml"), data_format="yaml")
    made_by = make_augmentation(str(tmp_path / "a.yaml"))
    drawn = [made_by.apply(photo(40, 30), seed).parameters for seed in range(30)]
    assert {frozenset(names) for names in drawn} == {
        frozenset({"HorizontalFlip", "RandomGamma"}),
        frozenset({"VerticalFlip", "RandomGamma"}),
    }
    assert made_by.name == "custom"


REFUSED = [
    (transform("ElasticTransform"), "'ElasticTransform'; only"),
    (transform("Perspective"), "'Perspective'; only"),
    (transform("CoarseDropout"), "'CoarseDropout'; only"),
    (transform("Lambda"), "'Lambda'; only"),
    (transform("Normalize"), "'Normalize'; only"),
    (transform("os.system"), r"'os\.system'; only"),
    (transform("OneOf", transforms=[transform("GridDistortion")]), "'GridDistortion'; only"),
    (transform("OneOf", transforms=7), "transforms is not a list"),
    (transform("OneOf", transforms=[7]), "a transform is not a mapping"),
    (transform("Resize", height=20, width=20), "Resize resizes"),
    (transform("CropAndPad", px=4), "CropAndPad resizes"),
    (transform("Affine", border_mode=4), "Affine mirrors"),
    (transform("RandomGamma", gamma=7), "rejects.*gamma"),
    (transform("RandomGamma", gamma_limit="x"), "rejects the augmentation"),
]


@pytest.mark.parametrize(("given", "line"), REFUSED)
def test_what_would_break_annotations_is_refused_in_one_line(
    given: dict[str, Any], line: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=line) as caught:
        make_augmentation(save(tmp_path / "a.json", given))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", "{"),
        ("a.json", "[]"),
        ("a.json", '{"transform": 3}'),
        ("a.yaml", "a: ["),
        ("a.json", " " * (2 << 20)),
        ("a.json", "[" * 100_000),
    ],
)
def test_what_is_no_augmentation_is_refused(name: str, content: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UsageError, match="is not a valid augmentation"):
        make_augmentation(str(tmp_path / name))


def test_an_unknown_name_lists_the_presets() -> None:
    with pytest.raises(UsageError, match=r"photometric, flip, geometric"):
        make_augmentation("flips")


def test_an_image_that_it_cannot_take_is_one_line(tmp_path: Path) -> None:
    crop = make_augmentation(
        save(tmp_path / "a.json", transform("RandomCrop", height=99, width=99))
    )
    with pytest.raises(DataError, match="fails on an image of 40×30 pixels") as caught:
        crop.apply(photo(40, 30), 1)
    assert "\n" not in str(caught.value)


def test_an_image_of_one_pixel_is_made_too(preset: Augmentation) -> None:
    made = preset.apply(np.full((1, 1, 3), 90, np.uint8), 4)
    assert made.image.shape == (1, 1, 3)
