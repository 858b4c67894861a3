"""Augmentation presets that preserve labels, and the check of user-defined transforms.

Augmentation must not change an image's labels, in particular the group a person is
perceived as. Changes of lightness and color are therefore smaller than between two photos of
one scene: in 95 % of samples the lightness L* of skin changes by less than 5, about half a
step of the ten-step Monk skin tone scale, and the hue by at most 4 degrees (tested).

Affine transforms replicate the border pixels. Mirrored borders would show people a second
time without labels; black borders would let a model recognize augmented images.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from curate.core.documents import MAX_YAML, parse_json, parse_yaml
from curate.core.errors import DataError, UsageError
from curate.storage.regular import open_regular

_PHOTOMETRIC: tuple[Mapping[str, Any], ...] = (
    {
        "__class_fullname__": "RandomBrightnessContrast",
        "brightness_limit": (-0.02, 0.02),
        "contrast_limit": (-0.05, 0.05),
        "brightness_by_max": True,
        "ensure_safe_range": False,  # else an image of all values would stay as it is
        "p": 1.0,
    },
    {
        "__class_fullname__": "HueSaturationValue",
        "hue_shift_limit": (-2, 2),  # OpenCV's degrees of hue are two of a circle's
        "sat_shift_limit": (-8, 8),
        "val_shift_limit": (0, 0),
        "p": 0.5,
    },
    {"__class_fullname__": "RandomGamma", "gamma_limit": (96, 104), "p": 0.5},
    {
        "__class_fullname__": "OneOf",
        "transforms": (
            {"__class_fullname__": "GaussNoise", "std_range": (0.004, 0.016), "p": 1.0},
            {
                "__class_fullname__": "GaussianBlur",
                "blur_limit": (3, 3),
                "sigma_limit": (0.3, 0.8),
                "p": 1.0,
            },
        ),
        "p": 0.5,
    },
)
_FLIP: Mapping[str, Any] = {"__class_fullname__": "HorizontalFlip", "p": 0.5}
_GEOMETRIC: Mapping[str, Any] = {
    "__class_fullname__": "Affine",
    "rotate": (-8, 8),
    "scale": (0.92, 1.08),
    "keep_ratio": True,
    "translate_percent": (-0.04, 0.04),
    "interpolation": 1,  # OpenCV's linear
    "border_mode": 1,  # OpenCV's BORDER_REPLICATE
    "p": 1.0,
}

PRESETS: Mapping[str, tuple[Mapping[str, Any], ...]] = MappingProxyType(
    {
        "photometric": _PHOTOMETRIC,
        "flip": (_FLIP, *_PHOTOMETRIC),
        "geometric": (_FLIP, _GEOMETRIC, *_PHOTOMETRIC),
    }
)
"""Presets as serialized by albumentations.

``photometric``: brightness, contrast, color, slight noise or blur; no geometric change.
``flip``: also a horizontal flip with probability 0.5; not for labels that depend on left and
right, such as letters and road signs. ``geometric``: also a small rotation, scaling and shift.
"""


_CONTAINERS = frozenset({"Compose", "OneOf", "OneOrOther", "RandomOrder", "Sequential", "SomeOf"})

_AFFINE = frozenset(
    {
        *("Affine", "CenterCrop", "Crop", "CropAndPad", "D4", "HorizontalFlip", "NoOp", "Pad"),
        *("PadIfNeeded", "RandomCrop", "RandomCropFromBorders", "RandomRotate90", "Rotate"),
        *("SafeRotate", "ShiftScaleRotate", "SquareSymmetry", "Transpose", "VerticalFlip"),
    }
)
"""Affine transforms that report keypoints exactly."""

_MAX_TRANSFORMS = 200
_MAX_DEPTH = 8  # of transforms in each other
_MAX_PARAMETER = 1000
_MAX_PARAMETERS = dict.fromkeys(("height", "width", "min_height", "min_width", "px"), 8192)
_MAX_PARAMETERS |= {"scale": 10, "scale_limit": 10}

_RESIZING = frozenset(
    {
        *("LongestMaxSize", "RandomResizedCrop", "RandomScale", "RandomSizedCrop", "Resize"),
        *("SmallestMaxSize",),
    }
)

_PIXELS = frozenset(
    {
        *("AdditiveNoise", "AdvancedBlur", "AutoContrast", "Blur", "CLAHE", "ChannelDropout"),
        *("ChannelShuffle", "ChromaticAberration", "ColorJitter", "Defocus", "Downscale"),
        *("Emboss", "Equalize", "FancyPCA", "GaussNoise", "GaussianBlur", "GlassBlur"),
        *("HEStain", "HueSaturationValue", "ISONoise", "Illumination", "ImageCompression"),
        *("InvertImg", "MedianBlur", "MotionBlur", "MultiplicativeNoise", "PlanckianJitter"),
        *("PlasmaBrightnessContrast", "PlasmaShadow", "Posterize", "RGBShift", "RandomFog"),
        *("RandomBrightnessContrast", "RandomGamma", "RandomGravel", "RandomRain"),
        *("RandomShadow", "RandomSnow", "RandomSunFlare", "RandomToneCurve"),
        *("RingingOvershoot", "SaltAndPepper", "Sharpen", "ShotNoise", "Solarize", "Spatter"),
        *("Superpixels", "ToGray", "ToSepia", "UnsharpMask", "ZoomBlur"),
    }
)
"""Pixel-level transforms that need nothing but the image."""

_MIRRORED = frozenset({2, 3, 4})  # OpenCV's BORDER_REFLECT, BORDER_WRAP, BORDER_REFLECT_101


def load_transforms(path: Path) -> dict[str, Any]:
    """Read a composition written by ``albumentations.save`` as plain values.

    Raises:
        UsageError: if the file is not valid.
    """
    try:
        with open_regular(path, follow_links=True) as file:
            data = file.read(MAX_YAML + 1)
    except OSError as error:
        raise UsageError(f"the augmentation {path} cannot be read: {error.strerror}") from None
    value = _parse(data, path) if len(data) <= MAX_YAML else None
    transform = value.get("transform") if isinstance(value, dict) else None
    if not isinstance(transform, dict):
        raise UsageError(
            f"{path} is not a valid augmentation; write it with albumentations.save(compose, path)"
        )
    if transform.get("__class_fullname__") != "Compose":
        transform = {"__class_fullname__": "Compose", "transforms": [transform]}
    # Parameters for boxes and keypoints are not used here.
    dropped = ("bbox_params", "keypoint_params", "additional_targets", "seed")
    return {key: item for key, item in transform.items() if key not in dropped}


def check_transforms(transform: Mapping[str, Any]) -> None:
    """Check that a composition is affine.

    Args:
        transform: as serialized by albumentations.

    Raises:
        UsageError: if it is not; names the transform.
    """
    for count, node in enumerate(_iter_nodes(transform), start=1):
        if count > _MAX_TRANSFORMS:
            raise UsageError(
                f"the augmentation has more than {_MAX_TRANSFORMS} transforms, which are too many"
            )
        _check_numbers(node)
        name = node.get("__class_fullname__")
        if name in _RESIZING or (name == "CropAndPad" and node.get("keep_size", True)):
            raise UsageError(
                f"{name} resizes the image, which moves boxes by up to half a pixel; "
                "remove it from the augmentation and resize during training"
            )
        if name not in _CONTAINERS | _AFFINE | _PIXELS:
            raise UsageError(
                f"the augmentation contains {name!r}; only pixel-level and affine transforms, such "
                "as HorizontalFlip, Rotate, Affine and RandomCrop, keep annotations valid"
            )
        if name in _AFFINE and node.get("border_mode") in _MIRRORED:
            raise UsageError(
                f"{name} mirrors the image at its border, which repeats people without their "
                "labels; set border_mode to cv2.BORDER_CONSTANT or cv2.BORDER_REPLICATE"
            )


def _check_numbers(node: Mapping[str, Any]) -> None:
    """Refuse parameters with which an image would take any amount of memory or time."""
    for key, value in node.items():
        if key in ("transforms", "seed"):
            continue
        limit = _MAX_PARAMETERS.get(key, _MAX_PARAMETER)
        for number in _iter_numbers(value):
            if not abs(number) <= limit:  # also for NaN
                raise UsageError(
                    f"the augmentation has a transform whose {key[:40]!a} is over {limit:,}; use a "
                    "smaller value"
                )


def _iter_numbers(value: Any) -> Iterator[float]:
    if isinstance(value, int | float):
        yield value
    elif isinstance(value, list | tuple | Mapping):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _iter_numbers(item)


def _iter_nodes(node: Any, depth: int = 1) -> Iterator[Mapping[str, Any]]:
    if depth > _MAX_DEPTH:
        raise UsageError(f"the augmentation is nested deeper than {_MAX_DEPTH} levels")
    if not isinstance(node, Mapping):
        raise UsageError("the augmentation is not valid: a transform is not a mapping")
    yield node
    inner = node.get("transforms", ())
    if not isinstance(inner, list | tuple):
        raise UsageError("the augmentation is not valid: transforms is not a list")
    for item in inner:
        yield from _iter_nodes(item, depth + 1)


def _parse(data: bytes, path: Path) -> Any:
    try:
        if path.suffix.lower() in (".yaml", ".yml"):
            return parse_yaml(data, path.name)
        return parse_json(data, path.name)
    except DataError as error:
        raise UsageError(f"{path} is not a valid augmentation: {error}") from None
    except (ValueError, RecursionError):
        return None
