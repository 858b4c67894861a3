"""Networks that the user provides: ``onnx:FILE`` with a family, and ``torchscript:FILE``.

Families and their outputs, for an input of H×W pixels (multiples of 32):

``retinaface``
    Pytorch_Retinaface: offsets N×A×4, class scores N×A×2 (probabilities or logits), and
    optionally landmarks N×A×10. Input BGR minus (104, 117, 123). See `retinaface.decode`.
``scrfd``
    InsightFace's SCRFD: for each of the strides 8, 16 and 32 scores A×1 and distances A×4 from
    the anchor's center to the left, top, right and bottom edge in strides; two anchors per
    place; landmarks A×10 are ignored. Input RGB, (x − 127.5) / 128.
``yolo-face``
    YOLOv8-face: 1×(5+K)×A with center x, y, width and height in input pixels and the score in
    channel 4; or YOLOv5-face: 1×A×16 with box, objectness, ten landmarks and class score,
    whose product with the objectness is the score. Input RGB / 255.
``centerface``
    Heat map 1×1×h×w, scale and offset 1×2×h×w, in this order. Input RGB. See
    `centerface.decode`.
``yunet``
    OpenCV's YuNet; the same as ``--detector yunet:FILE``.

A TorchScript file follows EgoBlur's convention: called with a 3×H×W BGR uint8 tensor, it
returns boxes N×4 (``xyxy``, pixels), labels, scores and dimensions.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import cv2
import numpy as np

from curate.core.errors import UsageError, WeightsError, WithheldError
from curate.core.geometry import Box, iou
from curate.core.protocols import Detector, Model, Pixels
from curate.detectors import centerface, retinaface, yunet
from curate.detectors.candidates import Candidates, Floats, concatenate, from_centers
from curate.detectors.device import choose_device, refuse_cuda
from curate.detectors.network import Maps, checked, onnx_runtime_version, open_session, rgb_batch
from curate.detectors.options import FAMILIES, DetectorOptions
from curate.detectors.passes import PassDetector, padded
from curate.detectors.profiles import InputScale
from curate.detectors.weights import Weights, weights_of_file

CONFIDENCE = 0.3
"""Default minimum score."""
NMS_IOU = 0.4
PICTURE = "portrait.jpg"
"""Picture of the self-test: Eileen Collins, NASA, public domain."""
PICTURE_FACE = Box(87, 33, 136, 97)
"""The face in it, pixels."""
FEW = 10
"""More boxes than this on the picture are those of a wrong decoding."""
STRIDES = (8, 16, 32)

Decode = Callable[[Sequence[Maps], tuple[int, int], float], Candidates]


@dataclass(frozen=True, slots=True)
class Family:
    """How networks of one kind are fed and decoded.

    Args:
        prepare: the network's input for 1×H×W×3 uint8, RGB.
        decode: candidates in pixels of the input, from the outputs, the input's height and
            width, and the minimum score.
    """

    prepare: Callable[[Pixels], Maps]
    decode: Decode


class OnnxDetector(PassDetector):
    """Detector that runs a provided ONNX network.

    Args:
        weights: the file.
        family: its name in `options.FAMILIES`.
        scale: the input scale; a network of fixed size sees tiles of that size.
        confidence: minimum score, 0..1.
        threads: processor threads.

    Raises:
        WeightsError: if ONNX Runtime cannot load it, or it is not a network of one image.
    """

    name = "onnx"
    nms_iou = NMS_IOU

    def __init__(
        self, weights: Weights, family: str, scale: InputScale, confidence: float, threads: int
    ) -> None:
        self._weights = weights
        self._family_name, self._family = family, _FAMILIES[family]
        (self._file,) = weights.paths
        self._session = open_session(weights.read(), self._file, threads)
        inputs = self._session.get_inputs()
        shape = list(inputs[0].shape)
        if len(inputs) != 1 or len(shape) != 4 or (_fixed(shape[1]) and shape[1] != 3):
            raise WeightsError(
                f"{self._file} is not a network of one RGB image: its inputs are "
                f"{[(each.name, each.shape) for each in inputs]}"
            )
        self._input = inputs[0].name
        self._size = (shape[2], shape[3]) if _fixed(shape[2]) and _fixed(shape[3]) else None
        self._scale = scale if self._size is None else replace(scale, tile=min(self._size))
        self._confidence = confidence

    def models(self) -> tuple[Model, ...]:
        """The provided file, for the manifest."""
        weights = self._weights
        name = f"{self.name}, {self._family_name}"
        return (Model(name, weights.package, "-", weights.sha256, onnx_runtime_version()),)

    def find(self, pixels: Pixels) -> Candidates:
        """Candidate boxes in one crop, H×W×3 uint8, before suppression.

        Raises:
            UsageError: if the outputs are not the family's.
            WithheldError: if an output is not finite.
        """
        shown = padded(pixels, self._size)
        made = self._session.run(None, {self._input: self._family.prepare(shown[None])})
        outputs = [checked(values, self._file) for values in made]
        try:
            return self._family.decode(outputs, shown.shape[:2], self._confidence)
        except (ValueError, IndexError) as error:
            shapes = ", ".join("×".join(map(str, each.shape)) for each in outputs)
            raise UsageError(
                f"the outputs of {self._file} ({shapes}) are not those of the family "
                f"{self._family_name!r}: {error}; choose another --detector-family"
            ) from error


class TorchScriptDetector(PassDetector):
    """Detector that runs a provided TorchScript module of EgoBlur's convention.

    Args:
        weights: the file.
        scale: the input scale.
        confidence: minimum score, 0..1.
        device: ``cpu`` or ``cuda``.
        threads: processor threads.

    Raises:
        WeightsError: if torch cannot load it.
    """

    name = "torchscript"
    nms_iou = NMS_IOU

    def __init__(
        self, weights: Weights, scale: InputScale, confidence: float, device: str, threads: int
    ) -> None:
        import torch

        torch.set_num_threads(threads)
        self._weights, self._scale, self._confidence = weights, scale, confidence
        ((self._file, path),) = weights.paths.items()
        self._device = device
        self._backend = f"torch {torch.__version__} on {device}"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # EgoBlur's files need it
                load: Any = torch.jit.load
                self._module = load(str(path), map_location=device).eval()
        except (RuntimeError, ValueError, OSError) as error:
            reason = str(error).strip().splitlines()[0]
            raise WeightsError(f"torch cannot load {self._file}: {reason}") from error

    def models(self) -> tuple[Model, ...]:
        """The provided file, for the manifest."""
        weights = self._weights
        return (Model(self.name, weights.package, "-", weights.sha256, self._backend),)

    def find(self, pixels: Pixels) -> Candidates:
        """Candidate boxes in one crop, H×W×3 uint8, before suppression.

        Raises:
            UsageError: if the module does not return what EgoBlur's does.
            WithheldError: if a value is not finite.
        """
        import torch

        bgr = np.ascontiguousarray(pixels[:, :, ::-1].transpose(2, 0, 1))
        with torch.inference_mode():
            try:
                boxes, _, scores, *_ = self._module(torch.from_numpy(bgr).to(self._device))
            except (RuntimeError, ValueError, TypeError) as error:
                raise UsageError(
                    f"{self._file} does not return boxes, labels, scores and dimensions for a "
                    f"3×H×W uint8 image, as EgoBlur's models do: {_first_line(error)}"
                ) from error
        rows = checked(boxes.float().cpu().numpy(), self._file).astype(np.float64)
        values = checked(scores.float().cpu().numpy(), self._file).astype(np.float64)
        if rows.ndim != 2 or rows.shape[1] != 4 or values.shape != rows.shape[:1]:
            raise UsageError(
                f"{self._file} does not return boxes N×4 and scores N, as EgoBlur's models do, "
                f"but {rows.shape} and {values.shape}"
            )
        return _kept(rows, values, self._confidence)


def _kept(boxes: Floats, scores: Floats, confidence: float) -> Candidates:
    found = Candidates(boxes, scores)
    return found.take(scores >= confidence)


def _fixed(side: object) -> bool:
    return isinstance(side, int) and side > 0


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def decode_retinaface(
    outputs: Sequence[Maps], size: tuple[int, int], confidence: float
) -> Candidates:
    """Family ``retinaface``."""
    offsets = _with_last_axis(outputs, 4)
    scores = _with_last_axis(outputs, 2)
    if not np.allclose(scores.sum(axis=-1), 1, atol=1e-3):
        raised = np.exp(scores - scores.max(axis=-1, keepdims=True))
        scores = raised / raised.sum(axis=-1, keepdims=True)
    return retinaface.decode([offsets, scores], 0, size, confidence)


def _with_last_axis(outputs: Sequence[Maps], length: int) -> Maps:
    found = [each for each in outputs if each.ndim == 3 and each.shape[-1] == length]
    if len(found) != 1:
        raise ValueError(f"{len(found)} outputs N×A×{length}, not one")
    return found[0]


def decode_scrfd(outputs: Sequence[Maps], size: tuple[int, int], confidence: float) -> Candidates:
    """Family ``scrfd``."""
    flat = [each.reshape(-1, each.shape[-1]) for each in outputs]
    parts = []
    for stride in STRIDES:
        rows, columns = np.mgrid[: -(-size[0] // stride), : -(-size[1] // stride)]
        centers = np.repeat(np.stack([columns, rows], axis=-1).reshape(-1, 2), 2, axis=0) * stride
        scores, distances = (_with_shape(flat, len(centers), length) for length in (1, 4))
        low = centers - distances[:, :2] * stride
        high = centers + distances[:, 2:] * stride
        boxes = np.concatenate([low, high], axis=1).astype(np.float64)
        parts.append(_kept(boxes, scores[:, 0].astype(np.float64), confidence))
    return concatenate(parts)


def _with_shape(outputs: Sequence[Maps], rows: int, columns: int) -> Maps:
    found = [each for each in outputs if each.shape == (rows, columns)]
    if len(found) != 1:
        raise ValueError(f"{len(found)} outputs {rows}×{columns}, not one")
    return found[0]


def decode_yolo_face(
    outputs: Sequence[Maps], size: tuple[int, int], confidence: float
) -> Candidates:
    """Family ``yolo-face``."""
    if len(outputs) != 1 or outputs[0].ndim != 3 or outputs[0].shape[0] != 1:
        raise ValueError("not one output of three axes")
    table = outputs[0][0]
    if table.shape[1] == 16:
        scores = table[:, 4] * table[:, 15]
    elif 5 <= table.shape[0] < table.shape[1]:
        table = table.T
        scores = table[:, 4]
    else:
        raise ValueError("neither 1×(5+K)×A nor 1×A×16")
    if scores.size and not (scores.min() >= 0 and scores.max() <= 1):
        raise ValueError("the scores are not between 0 and 1")
    kept = scores >= confidence
    center, half = table[kept, :2].astype(np.float64), table[kept, 2:4].astype(np.float64) / 2
    return from_centers(center, half, scores[kept])


def decode_centerface(
    outputs: Sequence[Maps], size: tuple[int, int], confidence: float
) -> Candidates:
    """Family ``centerface``."""
    shape = (size[0] // centerface.CELL, size[1] // centerface.CELL)
    expected = [(1, channels, *shape) for channels in (1, 2, 2)]
    if [each.shape for each in outputs[:3]] != expected:
        raise ValueError(f"the first three are not {expected}")
    return centerface.decode(outputs, 0, confidence)


_FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "retinaface": Family(retinaface.prepared, decode_retinaface),
        "scrfd": Family(
            lambda images: (rgb_batch(images) - np.float32(127.5)) / np.float32(128), decode_scrfd
        ),
        "yolo-face": Family(lambda images: rgb_batch(images) / np.float32(255), decode_yolo_face),
        "centerface": Family(rgb_batch, decode_centerface),
    }
)


def self_test(detector: Detector, hint: str) -> None:
    """Run a detector on the packaged picture of one face.

    Args:
        detector: the detector.
        hint: what the user can change, for the error's message.

    Raises:
        UsageError: if it does not find the face, or finds many boxes.
    """
    encoded = np.frombuffer(Path(__file__).with_name(PICTURE).read_bytes(), dtype=np.uint8)
    decoded = cv2.imdecode(encoded, cv2.IMREAD_COLOR_RGB)
    if decoded is None:
        raise WeightsError(f"{PICTURE} is damaged; reinstall curate-dataset")
    picture = np.asarray(decoded, dtype=np.uint8)
    try:
        found = detector.detect(picture)
    except WithheldError as error:
        raise UsageError(f"the self-test of the detector failed: {error}; {hint}") from error
    right = any(iou(each.box, PICTURE_FACE) >= 0.3 for each in found)
    if not right or len(found) > FEW:
        raise UsageError(
            f"the self-test of the detector failed: {len(found)} boxes on a picture of one face, "
            f"{'one' if right else 'none'} of them on the face; {hint}, or skip the test with "
            "--skip-self-test"
        )


def build_onnx(options: DetectorOptions) -> Detector:
    """The detector of ``onnx:FILE``.

    Raises:
        UsageError: if the file or the family is missing or wrong.
        WeightsError: if the file cannot be loaded.
    """
    if options.weights is None:
        raise UsageError("the detector 'onnx' needs a file; use --detector onnx:FILE")
    if options.family not in FAMILIES:
        raise UsageError(
            f"the detector 'onnx' needs the family of {options.weights.name}; give "
            f"--detector-family, one of: {', '.join(FAMILIES)}"
        )
    hint = "check --detector-family"
    made: Detector
    if options.family == "yunet":
        made = yunet.build(options)
    else:
        refuse_cuda("onnx", options.device)
        made = OnnxDetector(
            weights_of_file(options.weights), options.family, options.scale,
            options.confidence or CONFIDENCE, options.threads,
        )  # fmt: skip
    if options.self_test:
        self_test(made, hint)
    return made


def build_torchscript(options: DetectorOptions) -> Detector:
    """The detector of ``torchscript:FILE``.

    Raises:
        UsageError: if the file is missing or does not follow the convention.
        WeightsError: if the file cannot be loaded.
    """
    if options.weights is None:
        raise UsageError("the detector 'torchscript' needs a file; use --detector torchscript:FILE")
    if options.family is not None:
        raise UsageError("--detector-family is for onnx:FILE; leave it out")
    made = TorchScriptDetector(
        weights_of_file(options.weights), options.scale, options.confidence or CONFIDENCE,
        choose_device(options.device), options.threads,
    )  # fmt: skip
    if options.self_test:
        self_test(made, "check that the file follows EgoBlur's convention")
    return made
