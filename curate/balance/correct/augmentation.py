"""Augmentation with albumentations, and the affine map of every augmented image.

albumentations is imported on first use, which takes seconds.
"""

from __future__ import annotations

import os
import random
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from curate.balance.correct.transforms import PRESETS, check_transforms, load_transforms
from curate.core.affine import Affine, from_corners
from curate.core.errors import DataError, UsageError, one_line
from curate.core.protocols import Pixels

__all__ = ["PRESETS", "Augmentation", "Augmented", "make_augmentation"]

_MISS = 0.05  # tolerance in pixels for the fourth corner; corners are float32
_NEAR = 1e-5  # float32 rounding of a whole number
_LONGEST_LIST = 16  # longer arrays are noise, which the seed reproduces
_SIZES = frozenset({"shape", "rows", "cols"})


@dataclass(frozen=True, slots=True)
class Augmented:
    """An augmented image.

    Args:
        image: uint8, shape (H, W, 3).
        affine: map from the original to this image.
        parameters: sampled parameters, by transform.
    """

    image: Pixels
    affine: Affine
    parameters: Mapping[str, Any]


class Augmentation:
    """A composition of transforms whose randomness comes from a seed only.

    Args:
        name: a preset's name, or ``custom``.
        transform: the composition as serialized by albumentations.

    Raises:
        UsageError: if it contains other than pixel-level and affine transforms.
    """

    def __init__(self, name: str, transform: Mapping[str, Any]) -> None:
        check_transforms(transform)
        self.name = name
        self._plain = _build(transform)
        self._traced = _build(
            {
                **transform,
                "keypoint_params": {
                    "format": "xy",
                    "remove_invisible": False,
                    "label_fields": ["corner"],
                },
            }
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return (Augmentation, (self.name, self.to_dict()["transform"]))

    def to_dict(self) -> dict[str, Any]:
        """The composition as serialized by albumentations, with its version."""
        found = _plain(_albumentations().to_dict(self._plain))
        return {"__version__": found["__version__"], "transform": found["transform"]}

    def apply(self, image: Pixels, seed: int) -> Augmented:
        """Augment an image.

        Args:
            image: upright, uint8, shape (H, W, 3); not modified.
            seed: random seed, not negative.

        Raises:
            DataError: if the composition fails on this image, does not return an RGB image,
                or is not affine.
        """
        height, width = image.shape[:2]
        _seed(self._traced, seed)
        # Keypoints are relative to the center of the first pixel.
        corners = np.array([[0, 0], [width, 0], [0, height], [width, height]], np.float32) - 0.5
        try:
            with _silent():
                found = self._traced(image=image.copy(), keypoints=corners, corner=[0, 1, 2, 3])
        except Exception as error:  # the library raises anything
            line = one_line(error)
            raise DataError(
                f"the augmentation fails on an image of {width}×{height} pixels: {line}"
            ) from None
        output = found["image"]
        if output.dtype != np.uint8 or output.ndim != 3 or output.shape[2] != 3 or not output.size:
            raise DataError(
                f"the augmentation returns an array of {output.dtype} with shape {output.shape}; "
                "expected uint8 with shape (H, W, 3)"
            )
        affine = _affine(np.asarray(found["keypoints"]), (width, height), output.shape[1::-1])
        return Augmented(np.ascontiguousarray(output), affine, dict(_drawn(self._traced)))


def make_augmentation(preset_or_file: str) -> Augmentation:
    """Create an augmentation from a preset or a file.

    Args:
        preset_or_file: a name in `PRESETS`, or the path of a composition written by
            ``albumentations.save``, JSON or YAML.

    Raises:
        UsageError: if it is neither, or contains other than pixel-level and affine
            transforms.
    """
    if preset_or_file in PRESETS:
        transforms = {"__class_fullname__": "Compose", "transforms": PRESETS[preset_or_file]}
        return Augmentation(preset_or_file, transforms)
    path = Path(preset_or_file)
    if not path.is_file():
        known = ", ".join(PRESETS)
        raise UsageError(
            f"{preset_or_file!r} is neither a preset ({known}) nor a file written by "
            "albumentations.save"
        )
    return Augmentation("custom", load_transforms(path))


def _affine(found: Any, size: tuple[int, int], output: tuple[int, int]) -> Affine:
    corners = found + 0.5
    if corners.shape != (4, 2) or not np.isfinite(corners).all():
        raise DataError("the augmentation repeats or loses points; its border must not mirror")
    matrix, miss = from_corners(corners, *size)
    if miss > _MISS:
        raise DataError(
            f"the augmentation bends the image by {miss:.2f} pixels; boxes would no longer fit"
        )
    rows = [tuple(_snap(value) for value in row) for row in matrix]
    affine = Affine((rows[0], rows[1]), *output)  # type: ignore[arg-type]
    if abs(affine.determinant) < _NEAR:
        raise DataError("the augmentation squeezes the image to a line")
    return affine


def _snap(value: float) -> float:
    whole = round(value)
    return float(whole) if abs(value - whole) < _NEAR * max(1, abs(whole)) else value


def _drawn(composition: Any) -> Iterator[tuple[str, Any]]:
    """Sampled parameters of each applied transform; repeated names are numbered."""
    seen: dict[str, int] = {}
    for node in _iter_nodes(composition):
        if not hasattr(node, "transforms") and node.params:
            name = type(node).__name__
            seen[name] = seen.get(name, 0) + 1
            values = {str(key): value for key, value in node.params.items() if key not in _SIZES}
            yield name if seen[name] == 1 else f"{name}_{seen[name]}", _plain(values)


def _plain(value: Any) -> Any:
    """JSON values; long arrays are dropped, as the seed reproduces them."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, Mapping):
        long = [key for key, item in value.items() if getattr(item, "size", 0) > _LONGEST_LIST]
        return {str(key): _plain(item) for key, item in value.items() if key not in long}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, str | int | float | bool | None):
        return value
    return str(getattr(value, "value", type(value).__name__))


def _seed(composition: Any, seed: int) -> None:
    """Seed each transform with its own generators; the library would seed all alike."""
    for number, node in enumerate(_iter_nodes(composition)):
        root = np.random.SeedSequence([seed, number])
        node.random_generator = np.random.default_rng(root)
        node.py_random = random.Random(int(root.generate_state(1, np.uint64)[0]))  # noqa: S311
        node.params = {}


def _iter_nodes(node: Any) -> Iterator[Any]:
    yield node
    for inner in getattr(node, "transforms", ()):
        yield from _iter_nodes(inner)


def _build(transform: Mapping[str, Any]) -> Any:
    """Create a composition from its serialized form.

    Raises:
        UsageError: if albumentations rejects it.
    """
    library = _albumentations()
    try:
        with _silent(), _without_torch():
            warnings.filterwarnings("error", message=r"Argument\(s\) .* not valid")
            return library.from_dict({"transform": dict(transform)})
    except Exception as error:  # the library raises anything
        line = one_line(error)
        raise UsageError(f"albumentations rejects the augmentation: {line}") from None


def _albumentations() -> Any:
    """Import the library without its version check on the network."""
    before = os.environ.get("NO_ALBUMENTATIONS_UPDATE")
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
    try:
        with _silent(), _without_torch():
            import albumentations
    finally:
        if before is None:
            del os.environ["NO_ALBUMENTATIONS_UPDATE"]
        else:
            os.environ["NO_ALBUMENTATIONS_UPDATE"] = before
    return albumentations


@contextmanager
def _without_torch() -> Iterator[None]:
    """Keep albumentations from loading torch for a conversion to tensors that is not used.

    That takes two thirds of the time of its import. Torch can be imported afterwards.
    """
    if "torch" in sys.modules:
        yield
        return
    sys.modules["torch"] = None  # type: ignore[assignment]  # makes its import fail
    try:
        yield
    finally:
        del sys.modules["torch"]


@contextmanager
def _silent() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
