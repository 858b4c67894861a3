"""Classifier from a torch module."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from curate.core.errors import DataError, SetupError, UsageError
from curate.core.protocols import Pixels
from curate.detectors.device import exact_convolutions

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A loaded module with its preprocessing and metadata.

    Args:
        module: returns logits, shape (N, K), for float32 of shape (N, 3, H, W), or an object
            with ``logits``.
        prepare: converts an image, shape (H, W, 3), uint8, to (3, H, W) float32.
        preprocess: the same as plain values, for the report.
        weights_sha256: digest of each weights file, by name.
        libraries: versions of the packages, by name.
        classes: class names in the order of the scores, if known.
    """

    module: nn.Module
    prepare: Callable[[Pixels], Floats]
    preprocess: Mapping[str, Any]
    weights_sha256: Mapping[str, str]
    libraries: Mapping[str, str]
    classes: tuple[str, ...] | None = None


class TorchClassifier:
    """A module in evaluation mode as a `Classifier`.

    Args:
        spec: the user's specification.
        public_spec: the same without folders.
        loaded: the module.
        device: ``cpu`` or ``cuda``.

    Raises:
        SetupError: if the device has too little memory.
    """

    def __init__(self, spec: str, public_spec: str, loaded: Loaded, device: str) -> None:
        self.spec = spec
        self.classes = loaded.classes
        self._public_spec = public_spec
        self._loaded = loaded
        self._device = device
        with _Described(self._public_spec):
            self._module = loaded.module.to(device).eval()

    def prepare(self, image: Pixels) -> Floats:
        """See `Classifier.prepare`."""
        return self._loaded.prepare(image)

    def predict(self, batch: Floats) -> Floats:
        """See `Classifier.predict`."""
        with torch.inference_mode(), _Described(self._public_spec), exact_convolutions():
            scores = find_scores(self._module(self._tensor(batch)), len(batch), self._public_spec)
            return _array(scores)

    def features(self, batch: Floats) -> Floats:
        """See `Classifier.features`."""
        with torch.inference_mode(), _Described(self._public_spec), exact_convolutions():
            return _array(head_input(self._module, self._tensor(batch), self._public_spec))

    def network(self) -> nn.Module:
        """Return the module in evaluation mode."""
        return self._module

    def describe(self) -> Mapping[str, Any]:
        """See `Classifier.describe`."""
        return {
            "spec": self._public_spec,
            "weights_sha256": dict(self._loaded.weights_sha256),
            "preprocess": dict(self._loaded.preprocess),
            "libraries": {**self._loaded.libraries, "torch": torch.__version__},
            "device": self._device,
            "dtype": "float32",
        }

    def _tensor(self, batch: Floats) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(batch, dtype=np.float32)).to(self._device)


def find_scores(output: Any, count: int, spec: str) -> Tensor:
    """Return the scores in a module's output.

    Raises:
        UsageError: if there are none, or not one row per image.
    """
    scores = output if isinstance(output, Tensor) else getattr(output, "logits", None)
    if not isinstance(scores, Tensor) or scores.ndim != 2 or len(scores) != count:
        shape = tuple(scores.shape) if isinstance(scores, Tensor) else type(output).__name__
        raise UsageError(
            f"the model {spec!r} is not an image classifier: for {count} images it returns "
            f"{shape}, "
            "not one row of scores each"
        )
    return scores


def head_input(module: nn.Module, batch: Tensor, spec: str) -> Tensor:
    """Return the input of the linear layer that computes the scores, shape (N, D).

    Raises:
        UsageError: if the scores do not come from such a layer.
    """
    last: list[tuple[Tensor, Tensor]] = []

    def keep(_: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        last[:] = [(inputs[0], output)]

    hooks = [
        layer.register_forward_hook(keep)
        for layer in module.modules()
        if isinstance(layer, nn.Linear)
    ]
    try:
        scores = find_scores(module(batch), len(batch), spec)
    finally:
        for hook in hooks:
            hook.remove()
    if not last or last[0][0].ndim != 2 or not torch.equal(last[0][1], scores):
        raise UsageError(
            f"the model {spec!r} has no features: its scores do not come from one linear layer"
        )
    return last[0][0]


def digest_state(module: nn.Module) -> str:
    """Return the SHA-256 of all parameters and buffers, hexadecimal."""
    total = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        if isinstance(value, Tensor):
            total.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
            plain = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
            total.update(plain.numpy().tobytes())
    return total.hexdigest()


class _Described:
    """Turns errors of a network into one line."""

    def __init__(self, spec: str) -> None:
        self._spec = spec

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, torch.OutOfMemoryError):
            raise SetupError(
                f"the model {self._spec!r} does not fit into GPU memory; use a smaller --batch, "
                "or --device cpu"
            ) from None
        if isinstance(error, (RuntimeError, ValueError, TypeError, IndexError)):
            line = " ".join(str(error).split())[-200:]
            raise DataError(
                f"the model {self._spec!r} failed on its input ({line}); check its preprocessing"
            ) from None


def _array(tensor: Tensor) -> Floats:
    return tensor.float().cpu().numpy()
