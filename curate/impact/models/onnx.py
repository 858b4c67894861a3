"""An ONNX file as a classifier, run by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from curate.core.errors import DataError, SetupError, UsageError, WeightsError
from curate.core.protocols import Classifier, Pixels
from curate.impact.models.preprocess import Preprocess, parse_preprocess
from curate.impact.models.request import Request
from curate.impact.models.weights import digest_weights

Floats = npt.NDArray[np.float32]

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_ERRORS_ONLY = 3


class OnnxClassifier:
    """An ONNX Runtime session behind the contract of `Classifier`.

    Args:
        request: what the user asked for.
        preprocess: what goes before the network.
        session: the network.
        weights_sha256: digest of each of its files, by name.
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
        # A network that was exported for a fixed number of images is run as often as it takes.
        size = self._input.shape[0] if self._input.shape else None
        step = size if isinstance(size, int) and size > 0 else len(batch)
        parts = [
            self._run(batch[start : start + step], step) for start in range(0, len(batch), step)
        ]
        return np.concatenate(parts)

    def features(self, batch: Floats) -> Floats:
        """ONNX files name no layer that could be taken for the last.

        Raises:
            UsageError: always.
        """
        self._refuse("shows no features")

    def network(self) -> Any:
        """There is no torch module.

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
        fed = np.concatenate([batch, np.repeat(batch[-1:], missing, axis=0)]) if missing else batch
        try:
            (scores,) = self._session.run([self._output], {self._input.name: fed})
        except Exception as error:  # its errors have no common base but this one
            line = " ".join(str(error).split())[-200:]
            raise DataError(
                f"the model {spec!r} cannot be run on what it is fed with ({line}); "
                "does its preprocessing fit it?"
            ) from None
        scores = np.asarray(scores)
        if scores.ndim != 2 or len(scores) != len(fed):
            raise UsageError(
                f"the model {spec!r} is no image classifier: of {len(fed)} images it gives "
                f"{scores.shape}, not a row of scores for each"
            )
        return np.asarray(scores[: len(batch)], dtype=np.float32)

    def _refuse(self, what: str) -> NoReturn:
        raise UsageError(
            f"the model {self._request.public_spec!r} {what}; use its torch original, "
            "as python:package.module:function"
        )


def build(request: Request) -> Classifier:
    """The model as a request asks for it.

    Raises:
        UsageError: if its preprocessing makes no sense.
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
    except Exception as error:  # its errors have no common base but this one
        line = " ".join(str(error).split())[:200]
        raise WeightsError(f"{path} cannot be read as ONNX: {line}") from None
    return OnnxClassifier(request, preprocess, session, digests)


def _digests(path: Path) -> dict[str, str]:
    """Digests of the file and of those beside it that hold its weights, whose names it says."""
    digests = {path.name: digest_weights(path)}
    graph = path.read_bytes()
    for other in sorted(path.parent.iterdir()):
        if other != path and other.is_file() and other.name.encode() in graph:
            digests[other.name] = digest_weights(other)
    return digests
