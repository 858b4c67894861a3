"""Classifier from an ONNX file, run by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from curate.core.errors import DataError, SetupError, UsageError, WeightsError, one_line
from curate.core.protocols import Classifier, Pixels
from curate.impact.models.preprocess import Preprocess, parse_preprocess
from curate.impact.models.request import Request, digest_weights

Floats = npt.NDArray[np.float32]

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_ERRORS_ONLY = 3


class OnnxClassifier:
    """An ONNX Runtime session as a `Classifier`.

    Args:
        request: the specification.
        preprocess: the preprocessing.
        session: the network.
        weights_sha256: digest of each file, by name.
    """

    classes: tuple[str, ...] | None = None

    def __init__(
        self,
        request: Request,
        preprocess: Preprocess,
        session: Any,
        weights_sha256: Mapping[str, str],
    ) -> None:
        self.spec = request.spec
        self._request = request
        self._preprocess = preprocess
        self._session = session
        self._weights_sha256 = weights_sha256
        self._input = session.get_inputs()[0]
        self._output = session.get_outputs()[0].name

    def prepare(self, image: Pixels) -> Floats:
        """See `Classifier.prepare`."""
        return self._preprocess.apply(image)

    def predict(self, batch: Floats) -> Floats:
        """See `Classifier.predict`."""
        # A network that was exported for a fixed batch size is run several times.
        size = self._input.shape[0] if self._input.shape else None
        step = size if isinstance(size, int) and size > 0 else len(batch)
        parts = [
            self._run(batch[start : start + step], step) for start in range(0, len(batch), step)
        ]
        return np.concatenate(parts)

    def features(self, batch: Floats) -> Floats:
        """Not supported: ONNX files do not mark the last layer.

        Raises:
            UsageError: always.
        """
        self._refuse("has no features")

    def network(self) -> Any:
        """Not supported: there is no torch module.

        Raises:
            UsageError: always.
        """
        self._refuse("has no torch module behind it")

    def describe(self) -> Mapping[str, Any]:
        """See `Classifier.describe`."""
        import onnxruntime

        return {
            "spec": self._request.public_spec,
            "weights_sha256": dict(self._weights_sha256),
            "preprocess": self._preprocess.to_dict(),
            "libraries": {"onnxruntime": onnxruntime.__version__},
            "device": self._request.device,
            "dtype": "float32",
        }

    def _run(self, batch: Floats, step: int) -> Floats:
        spec = self._request.public_spec
        missing = step - len(batch)
        inputs = (
            np.concatenate([batch, np.repeat(batch[-1:], missing, axis=0)]) if missing else batch
        )
        try:
            (scores,) = self._session.run([self._output], {self._input.name: inputs})
        except Exception as error:  # its errors have no other common base
            line = " ".join(str(error).split())[-200:]
            raise DataError(
                f"the model {spec!r} failed on its input ({line}); check its preprocessing"
            ) from None
        scores = np.asarray(scores)
        if scores.ndim != 2 or len(scores) != len(inputs):
            raise UsageError(
                f"the model {spec!r} is not an image classifier: for {len(inputs)} images it "
                "returns "
                f"shape {scores.shape}, not one row of scores each"
            )
        return np.asarray(scores[: len(batch)], dtype=np.float32)

    def _refuse(self, what: str) -> NoReturn:
        raise UsageError(
            f"the model {self._request.public_spec!r} {what}; use its torch original, "
            "as python:package.module:function"
        )


def build(request: Request) -> Classifier:
    """Load the model of a specification.

    Raises:
        UsageError: if its preprocessing is invalid.
        SetupError: if ONNX Runtime has no CUDA and it was asked for.
        WeightsError: if the file cannot be read.
    """
    import onnxruntime

    preprocess = parse_preprocess(request.settings)
    path = Path(request.what).expanduser()
    digests = _digests(path)
    provider = _PROVIDERS[request.device]
    if provider not in onnxruntime.get_available_providers():
        raise SetupError(
            "ONNX Runtime here has no CUDA; run: pip install onnxruntime-gpu, or use --device cpu"
        )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    try:
        session = onnxruntime.InferenceSession(path, options, providers=[provider])
    except Exception as error:  # its errors have no other common base
        line = one_line(error)
        raise WeightsError(f"cannot read {path} as ONNX: {line}") from None
    return OnnxClassifier(request, preprocess, session, digests)


_MAX_GRAPH = 2 << 30  # bytes, the limit of the format; further weights are in files beside it


def _digests(path: Path) -> dict[str, str]:
    """Digests of the file and of the files beside it with its weights, which it names."""
    digests = {path.name: digest_weights(path, _MAX_GRAPH)}
    graph = path.read_bytes()
    for other in sorted(path.parent.iterdir()):
        if other != path and other.is_file() and other.name.encode() in graph:
            digests[other.name] = digest_weights(other)
    return digests
