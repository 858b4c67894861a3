"""Classifier from a Python function of the user."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from curate.core.errors import SetupError, UsageError, name_error
from curate.core.protocols import Classifier
from curate.impact.models.preprocess import parse_preprocess
from curate.impact.models.request import Request
from curate.impact.models.torch_module import Loaded, TorchClassifier, digest_state

_CONTRACT = ("spec", "classes", "prepare", "predict", "features", "network", "describe")


def build(request: Request) -> Classifier:
    """Load the model of a specification.

    The function takes no arguments and returns a ``torch.nn.Module``, whose
    preprocessing is then stated in the specification, or an object that implements
    `curate.core.protocols.Classifier`. Modules are searched in the current folder first.

    Raises:
        UsageError: if there is no such function, or it does not return a model.
        SetupError: if it fails.
    """
    preprocess = parse_preprocess(request.settings)
    made = _call(_find(request.what), request)
    if isinstance(made, nn.Module):
        loaded = Loaded(
            module=made,
            prepare=preprocess.apply,
            preprocess=preprocess.to_dict(),
            weights_sha256={"state_dict": digest_state(made)},
            libraries={},
        )
        return TorchClassifier(request.spec, request.public_spec, loaded, request.device)
    request.refuse_settings()
    missing = [name for name in _CONTRACT if not hasattr(made, name)]
    if missing:
        raise UsageError(
            f"{request.what!r} returns {type(made).__name__}, which is not a torch module and has "
            "no "
            f"{missing[0]!r}; see curate.core.protocols.Classifier"
        )
    classifier: Classifier = made
    return classifier


def _find(what: str) -> Callable[[], Any]:
    name, _, attribute = what.partition(":")
    if not name or not attribute:
        raise UsageError(f"python:{what} is not of the form python:package.module:function")
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        function = getattr(importlib.import_module(name), attribute)
    except Exception as error:  # a user's module can fail in any way
        raise UsageError(f"python:{what} cannot be imported: {name_error(error)}") from None
    finally:
        sys.path.remove(here)
    if not callable(function):
        raise UsageError(f"python:{what} is not a function")
    return function  # type: ignore[no-any-return]


def _call(function: Callable[[], Any], request: Request) -> Any:
    try:
        return function()
    except Exception as error:
        raise SetupError(f"{request.public_spec} failed: {name_error(error)}") from error
