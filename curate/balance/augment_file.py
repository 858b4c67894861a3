"""An augmentation that a user has saved, looked over before anything of it is built."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from curate.core.errors import UsageError

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
