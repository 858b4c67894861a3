"""A torch module as a classifier."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from curate.core.errors import DataError, SetupError, UsageError
from curate.core.protocols import Pixels

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A module that was loaded, with what is known of it.

    Args:
        module: gives scores before softmax, N×K, of N×3×H×W float32, or something that
            holds them as ``logits``.
        prepare: from an H×W×3 uint8 image to 3×H×W float32.
        preprocess: the same in plain values, for the report.
        weights_sha256: digest of each weights file, by name.
        libraries: versions of the packages that took part, by name.
        classes: the classes' names in the order of the scores, if known.
    """

    module: nn.Module
    prepare: Callable[[Pixels], Floats]
    preprocess: Mapping[str, Any]
    weights_sha256: Mapping[str, str]
    libraries: Mapping[str, str]
    classes: tuple[str, ...] | None = None


class TorchClassifier:
    """A module in evaluation mode behind the contract of `Classifier`.

    Args:
        spec: what the user asked for.
        public_spec: the same without any folder.
        loaded: the module.
        device: ``cpu`` or ``cuda``.

    Raises:
        SetupError: if the module does not fit the device.
    """

    def __init__(self, spec: str, public_spec: str, loaded: Loaded, device: str) -> None:
        self.spec = spec
        self.classes = loaded.classes
        self._public_spec = public_spec
        self._loaded = loaded
        self._device = device
        with _understood(self._public_spec):
            self._module = loaded.module.to(device).eval()

    def prepare(self, image: Pixels) -> Floats:
        """See `Classifier.prepare`."""
        return self._loaded.prepare(image)

    def predict(self, batch: Floats) -> Floats:
        """See `Classifier.predict`."""
        with torch.inference_mode(), _understood(self._public_spec), exact_convolutions():
            scores = find_scores(self._module(self._tensor(batch)), len(batch), self._public_spec)
            return _array(scores)

    def features(self, batch: Floats) -> Floats:
        """See `Classifier.features`."""
        with torch.inference_mode(), _understood(self._public_spec), exact_convolutions():
            return _array(head_input(self._module, self._tensor(batch), self._public_spec))

    def network(self) -> nn.Module:
        """The module in evaluation mode; it gives N×K scores, or something with ``logits``."""
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
    """The scores in what a module gave.

    Raises:
        UsageError: if there are none, or not a row for each image.
    """
    scores = output if isinstance(output, Tensor) else getattr(output, "logits", None)
    if not isinstance(scores, Tensor) or scores.ndim != 2 or len(scores) != count:
        shape = tuple(scores.shape) if isinstance(scores, Tensor) else type(output).__name__
        raise UsageError(
            f"the model {spec!r} is no image classifier: of {count} images it gives {shape}, "
            "not a row of scores for each"
        )
    return scores


def head_input(module: nn.Module, batch: Tensor, spec: str) -> Tensor:
    """What the linear layer that makes the scores is fed with, N×D.

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
            f"the model {spec!r} shows no features: its scores do not come from one linear layer"
        )
    return last[0][0]


def digest_state(module: nn.Module) -> str:
    """SHA-256 over names, types, shapes and bytes of all parameters and buffers."""
    total = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        if isinstance(value, Tensor):
            total.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
            plain = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
            total.update(plain.numpy().tobytes())
    return total.hexdigest()


def exact_convolutions() -> AbstractContextManager[None]:
    """On CUDA: full float32, and the same algorithm every time."""
    return torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    )


class _understood:  # noqa: N801 - reads as a sentence after ``with``
    """Turns what a network throws into one line."""

    def __init__(self, spec: str) -> None:
        self._spec = spec

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, torch.OutOfMemoryError):
            raise SetupError(
                f"the model {self._spec!r} has no room on the GPU; use a smaller --batch, "
                "or --device cpu"
            ) from None
        if isinstance(error, (RuntimeError, ValueError, TypeError, IndexError)):
            line = " ".join(str(error).split())[-200:]
            raise DataError(
                f"the model {self._spec!r} cannot be run on what it is fed with ({line}); "
                "does its preprocessing fit it?"
            ) from None


def _array(tensor: Tensor) -> Floats:
    return tensor.float().cpu().numpy()
