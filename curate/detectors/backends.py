"""Runs the CenterFace network: one class per library, all with the same outputs."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from curate.core.errors import MissingExtraError, UsageError, WithheldError
from curate.core.protocols import Pixels

Maps = npt.NDArray[np.float32]

INPUT = "input.1"
"""The graph's name of its input."""
OUTPUTS = ("537", "538", "539")
"""The graph's names of the heat map, the scale and the offset."""


@dataclass(frozen=True, slots=True, eq=False)
class Heads:
    """What CenterFace says about a batch of inputs, at a quarter of their size.

    Args:
        heat: N×h×w float32, probability of a face's centre, 0..1.
        scale: N×2×h×w float32, logarithm of height and width, in cells.
        offset: N×2×h×w float32, the centre's place within its cell, y and x.
    """

    heat: Maps
    scale: Maps
    offset: Maps


class Network(Protocol):
    """CenterFace, loaded and ready."""

    backend: str
    """The library that runs it, with its version."""
    batches: bool
    """Whether several inputs at once are faster than one by one."""

    def run(self, images: Pixels) -> Heads:
        """Run on a batch of RGB images, N×H×W×3 uint8, sides multiples of 32."""
        ...


def opencv_major() -> int:
    """The first number of OpenCV's version; 5 brought a new, faster engine."""
    return int(cv2.__version__.partition(".")[0])


class OpenCv4Network:
    """CenterFace in the DNN module of OpenCV 4."""

    batches = False

    def __init__(self, weights: Path) -> None:
        self.backend = f"opencv {cv2.__version__}"
        self._net = cv2.dnn.readNetFromONNX(str(weights))
        # It folds the batch normalisations into the transposed convolutions again
        # whenever the input's size changes, so that the scores run away.
        self._net.enableFusion(False)

    def run(self, images: Pixels) -> Heads:
        """Run on N×H×W×3 uint8; see `Network.run`."""
        blob = cv2.dnn.blobFromImages(list(images), swapRB=False)
        self._net.setInput(blob)
        return heads(*self._net.forward(OUTPUTS))


class OpenVinoNetwork:
    """CenterFace in OpenVINO, at full float32 precision whatever the processor offers."""

    batches = False

    def __init__(self, weights: Path, threads: int) -> None:
        import openvino

        self.backend = f"openvino {openvino.__version__.split('-')[0]}"
        core = openvino.Core()
        model = core.read_model(str(weights))
        model.reshape([-1, 3, -1, -1])
        settings: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
        }
        compiled = core.compile_model(model, "CPU", settings)
        self._outputs = [compiled.output(name) for name in OUTPUTS]
        self._request = compiled.create_infer_request()

    def run(self, images: Pixels) -> Heads:
        """Run on N×H×W×3 uint8; see `Network.run`."""
        blob = np.ascontiguousarray(images.transpose(0, 3, 1, 2), dtype=np.float32)
        self._request.infer({0: blob})
        return heads(*(self._request.get_tensor(output).data for output in self._outputs))


def load_network(backend: str, weights: Path, device: str, threads: int) -> Network:
    """CenterFace on a backend.

    Args:
        backend: ``opencv``, ``openvino`` or ``torch``.
        weights: the checked ONNX file.
        device: ``cpu`` or ``cuda``; only ``torch`` runs on ``cuda``.
        threads: processor threads that the library may use.

    Raises:
        UsageError: if there is no such backend.
        MissingExtraError: if its package is not installed.
    """
    if backend == "openvino":
        if importlib.util.find_spec("openvino") is None:
            raise MissingExtraError("the backend 'openvino'", "openvino", "openvino")
        return OpenVinoNetwork(weights, threads)
    if backend == "torch":
        from curate.detectors.centerface_torch import TorchNetwork

        return TorchNetwork(weights, device, threads)
    if backend != "opencv":
        raise UsageError(f"unknown backend {backend!r}; choose one of: opencv, openvino, torch")
    cv2.setNumThreads(threads)
    if opencv_major() < 5:
        return OpenCv4Network(weights)
    from curate.detectors.centerface_opencv import OpenCvNetwork

    return OpenCvNetwork(weights)


def choose_backend(wanted: str, device: str, preferred: str) -> str:
    """The backend for ``auto`` or for a name.

    Args:
        wanted: ``auto``, ``opencv``, ``openvino`` or ``torch``.
        device: ``cpu`` or ``cuda``.
        preferred: what to take on a processor for ``auto``, unless OpenVINO is installed
            beside an OpenCV older than 5, which it outruns.

    Raises:
        UsageError: if the wanted backend does not run on the device.
    """
    if device == "cuda":
        if wanted not in ("auto", "torch"):
            raise UsageError(f"the backend {wanted!r} does not run on cuda; choose torch or auto")
        return "torch"
    if wanted != "auto":
        return wanted
    has_openvino = importlib.util.find_spec("openvino") is not None
    return "openvino" if has_openvino and opencv_major() < 5 else preferred


def heads(heat: Any, scale: Any, offset: Any) -> Heads:
    """The three outputs as arrays of their own, checked to be finite.

    Raises:
        WithheldError: if an output has a value that is not a finite number.
    """
    arrays = [np.array(values, dtype=np.float32) for values in (heat, scale, offset)]
    if not all(np.isfinite(values).all() for values in arrays):
        raise WithheldError(
            "detector_failed", "the face detector gave values that are not finite numbers"
        )
    return Heads(arrays[0][:, 0], arrays[1], arrays[2])
