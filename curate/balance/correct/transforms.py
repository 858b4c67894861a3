"""Augmentations that leave every label true.

What is drawn must not change what an image is labelled with, and least of all
the group that a person in it is seen as. So light and colours move less than
they do between two photos of one scene: in 19 of 20 draws the lightness L* of skin
changes by less than 5, which is about half of one of the ten steps of the Monk
skin tone scale, and the hue by at most 4 degrees. A test holds these numbers.

Where an image is moved or turned, the strip that opens at its border repeats
the border's pixels. A mirrored strip would show people a second time, without
their labels; a black one would teach a model to tell made images from others.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from curate.core.errors import UsageError

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
"""Transforms by preset, as albumentations serialises them.

``photometric``: light, contrast, colours, a little noise or blur; every pixel stays
where it is. ``flip``: a mirror image every other time, too; not where left and right
make the label, as of letters and road signs. ``geometric``: turned, scaled and moved a
little, too.
"""


_LARGEST = 1 << 20
_CONTAINERS = frozenset({"Compose", "OneOf", "OneOrOther", "RandomOrder", "Sequential", "SomeOf"})

_AFFINE = frozenset(
    {
        *("Affine", "CenterCrop", "Crop", "CropAndPad", "D4", "HorizontalFlip", "NoOp", "Pad"),
        *("PadIfNeeded", "RandomCrop", "RandomCropFromBorders", "RandomRotate90", "Rotate"),
        *("SafeRotate", "ShiftScaleRotate", "SquareSymmetry", "Transpose", "VerticalFlip"),
    }
)
"""What moves points by an affine map, and tells exactly where to."""

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
"""What changes values and no places, and needs nothing beside the image."""

_MIRRORED = frozenset({2, 3, 4})  # OpenCV's BORDER_REFLECT, BORDER_WRAP, BORDER_REFLECT_101


def load_transforms(path: Path) -> dict[str, Any]:
    """Read a composition that ``albumentations.save`` has written, as plain values.

    Raises:
        UsageError: if it is no such file.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"the augmentation {path} cannot be read: {error.strerror}") from None
    value = _parse(data, path) if len(data) <= _LARGEST else None
    transform = value.get("transform") if isinstance(value, dict) else None
    if not isinstance(transform, dict):
        raise UsageError(
            f"{path} holds no augmentation; write it with albumentations.save(compose, path)"
        )
    if transform.get("__class_fullname__") != "Compose":
        transform = {"__class_fullname__": "Compose", "transforms": [transform]}
    # What belongs to the user's own boxes and points is not asked for here.
    dropped = ("bbox_params", "keypoint_params", "additional_targets", "seed")
    return {key: item for key, item in transform.items() if key not in dropped}


def check_transforms(transform: Mapping[str, Any]) -> None:
    """Make sure that a composition moves points by an affine map, if at all.

    Args:
        transform: as albumentations serialises it.

    Raises:
        UsageError: if it does not; names the transform.
    """
    for node in _iter_nodes(transform):
        name = node.get("__class_fullname__")
        if name in _RESIZING or (name == "CropAndPad" and node.get("keep_size", True)):
            raise UsageError(
                f"{name} resizes the image, after which boxes are up to half a pixel off; "
                "leave it out of the augmentation and resize when you train"
            )
        if name not in _CONTAINERS | _AFFINE | _PIXELS:
            raise UsageError(
                f"the augmentation holds {name!r}; only transforms of pixels' values and affine "
                "ones such as HorizontalFlip, Rotate, Affine and RandomCrop keep annotations true"
            )
        if name in _AFFINE and node.get("border_mode") in _MIRRORED:
            raise UsageError(
                f"{name} mirrors the image at its border, where people would be without their "
                "labels; set border_mode to cv2.BORDER_CONSTANT or cv2.BORDER_REPLICATE"
            )


def _iter_nodes(node: Any) -> Iterator[Mapping[str, Any]]:
    if not isinstance(node, Mapping):
        raise UsageError("the augmentation has something else where a transform should be")
    yield node
    inner = node.get("transforms", ())
    if not isinstance(inner, list | tuple):
        raise UsageError("the augmentation has no list of transforms where one should be")
    for item in inner:
        yield from _iter_nodes(item)


def _parse(data: bytes, path: Path) -> Any:
    try:
        if path.suffix.lower() in (".yaml", ".yml"):
            import yaml

            try:
                return yaml.safe_load(data)
            except yaml.YAMLError:
                return None
        return json.loads(data)
    except (ValueError, RecursionError):
        return None
