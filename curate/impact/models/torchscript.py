"""Classifier from a TorchScript file."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch

from curate.core.errors import WeightsError
from curate.core.protocols import Classifier
from curate.impact.models.preprocess import parse_preprocess
from curate.impact.models.request import Request, digest_weights
from curate.impact.models.torch_module import Loaded, TorchClassifier


def build(request: Request) -> Classifier:
    """Load the model of a specification.

    Raises:
        UsageError: if its preprocessing is invalid.
        WeightsError: if the file cannot be read.
    """
    preprocess = parse_preprocess(request.settings)
    path = Path(request.what).expanduser()
    digest = digest_weights(path)
    load: Any = torch.jit.load  # has no types
    try:
        with warnings.catch_warnings():
            # TorchScript is deprecated in favor of export.
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", FutureWarning)
            module = load(path, map_location="cpu")
    except (RuntimeError, ValueError) as error:
        line = (str(error).splitlines() or [""])[0][:200]
        raise WeightsError(f"cannot read {path} as TorchScript: {line}") from None
    loaded = Loaded(
        module=module,
        prepare=preprocess.apply,
        preprocess=preprocess.to_dict(),
        weights_sha256={path.name: digest},
        libraries={},
    )
    return TorchClassifier(request.spec, request.public_spec, loaded, request.device)
