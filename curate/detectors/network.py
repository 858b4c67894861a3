"""Convolutional networks in ONNX Runtime, or in torch on a CUDA device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from curate.core.errors import WeightsError, WithheldError
from curate.core.protocols import Model, Pixels
from curate.detectors.onnx_graph import extract
from curate.detectors.passes import PassDetector
from curate.detectors.profiles import InputScale
from curate.detectors.weights import Weights

Maps = npt.NDArray[np.float32]
"""Feature maps or network inputs: N×C×H×W float32."""


class Network(Protocol):
    """A loaded network, from one input to some of its maps."""

    backend: str
    """The library that runs it, with its version and device."""
    batches: bool
    """Whether a batch of inputs is faster than one input at a time."""

    def run(self, inputs: Maps) -> list[Maps]:
        """The outputs, in the order in which they were named, for N×3×H×W float32."""
        ...

    def run_images(self, images: Pixels) -> list[Maps]:
        """The same for N images, N×H×W×3 uint8, RGB, whose values are the network's input."""
        ...


class OnnxNetwork:
    """A network in ONNX Runtime, on the processor.

    Args:
        data: the ONNX file's bytes.
        name: its name, for messages.
        input_name: name of the input; batch size, height and width are free.
        outputs: names of the maps to compute; nothing else is.
        threads: processor threads.

    Raises:
        WeightsError: if the bytes are not a network with these maps.
    """

    batches = False

    def __init__(
        self, data: bytes, name: str, input_name: str, outputs: Sequence[str], threads: int
    ) -> None:
        self._session = open_session(extract(data, name, [input_name], outputs), name, threads)
        self._input, self._outputs, self._name = input_name, tuple(outputs), name
        self.backend = onnx_runtime_version()

    def run(self, inputs: Maps) -> list[Maps]:
        """See `Network.run`.

        Raises:
            WithheldError: if an output has a value that is not a finite number.
        """
        made = self._session.run(self._outputs, {self._input: inputs})
        return [checked(values, self._name) for values in made]

    def run_images(self, images: Pixels) -> list[Maps]:
        """See `Network.run_images`."""
        return self.run(rgb_batch(images))


class NetworkDetector(PassDetector):
    """A detector of one such network.

    Args:
        network: the loaded network.
        weights: where its weights came from, for the manifest.
        scale: the input scale.
        confidence: candidates below this score are dropped, 0..1.
    """

    def __init__(
        self, network: Network, weights: Weights, scale: InputScale, confidence: float
    ) -> None:
        self.network = network
        self._weights = weights
        self._scale = scale
        self._confidence = confidence

    def models(self) -> tuple[Model, ...]:
        """The network and its weights, for the manifest."""
        weights = self._weights
        backend = self.network.backend
        return (Model(self.name, weights.package, weights.version, weights.sha256, backend),)


def onnx_runtime_version() -> str:
    """Name and version of ONNX Runtime, for the manifest."""
    import onnxruntime

    return f"onnxruntime {onnxruntime.__version__}"


def open_session(data: bytes, name: str, threads: int) -> Any:
    """An ``onnxruntime.InferenceSession`` on the processor.

    Args:
        data: the ONNX file's bytes.
        name: its name, for messages.
        threads: processor threads.

    Raises:
        WeightsError: if ONNX Runtime cannot load it.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.enable_mem_pattern = False  # one plan is kept for each input size otherwise
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own exceptions share no narrower class
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise WeightsError(f"ONNX Runtime cannot load {name}: {reason}") from error


def checked(values: Any, name: str) -> Maps:
    """An output as float32.

    Raises:
        WithheldError: if a value is not a finite number.
    """
    array = np.asarray(values, dtype=np.float32)
    if not np.isfinite(array).all():
        raise WithheldError("detector_failed", f"{name} returned values that are not finite")
    return array


def rgb_batch(images: Sequence[Pixels] | Pixels) -> Maps:
    """N images H×W×3 uint8, RGB, as N×3×H×W float32, values 0..255."""
    stacked = np.asarray(images).transpose(0, 3, 1, 2)
    return np.ascontiguousarray(stacked, dtype=np.float32)
