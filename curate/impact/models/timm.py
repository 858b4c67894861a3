"""Classifier from PyTorch Image Models (timm).

https://github.com/huggingface/pytorch-image-models
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from curate.core.errors import SetupError, UsageError, WeightsError, one_line
from curate.core.protocols import Classifier
from curate.impact.class_names import imagenet_ids
from curate.impact.models.preprocess import Preprocess
from curate.impact.models.request import Request
from curate.impact.models.torch_module import Loaded, TorchClassifier, digest_state

_FITS = {"center": "shorter", "squash": "stretch"}
_IMAGENET_TAG = "in1k"


def build(request: Request) -> Classifier:
    """Load the model of a specification.

    Raises:
        UsageError: if there is no such model.
        SetupError: if timm cannot be imported.
        WeightsError: if its weights cannot be loaded.
    """
    request.refuse_settings()
    timm = _import_timm()
    if not timm.is_model(request.what.split("/")[-1].split(".")[0]):
        raise UsageError(f"timm has no model {request.what!r}; see timm.list_models()")
    try:
        module = timm.create_model(request.what, pretrained=True)
    except Exception as error:  # any error of the network or the Hub
        line = one_line(error)
        raise WeightsError(
            f"cannot load the weights of {request.what!r} ({line}); without a network, download "
            "them elsewhere and copy the cache"
        ) from None
    preprocess = _preprocess(timm.data.resolve_model_data_config(module))
    loaded = Loaded(
        module=module,
        prepare=preprocess.apply,
        preprocess=preprocess.to_dict(),
        weights_sha256={"state_dict": digest_state(module)},
        libraries={"timm": timm.__version__},
        classes=_classes(module),
    )
    return TorchClassifier(request.spec, request.public_spec, loaded, request.device)


def _import_timm() -> ModuleType:
    try:
        import timm
    except (ImportError, RuntimeError) as error:  # torchvision of another build raises the latter
        line = one_line(error)
        raise SetupError(
            f"timm cannot be imported ({line}); it needs a torchvision of the same build as "
            "torch: see https://pytorch.org/get-started/locally/"
        ) from None
    return timm  # type: ignore[no-any-return]


def _preprocess(config: dict[str, Any]) -> Preprocess:
    """The preprocessing of timm's evaluation, from a model's configuration."""
    _, height, width = config["input_size"]
    mode = config.get("crop_mode") or "center"
    if mode not in _FITS:
        raise UsageError(f"models that crop by {mode!r} cannot be used; choose another")
    return Preprocess(
        height=height,
        width=width,
        resize=int(max(height, width) / config["crop_pct"]),
        fit=_FITS[mode],
        interpolation=config["interpolation"],
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
    )


def _classes(module: Any) -> tuple[str, ...] | None:
    """The class names, if the configuration has them."""
    config = module.pretrained_cfg
    names = config.get("label_names")
    if names:
        return tuple(map(str, names))
    is_imagenet = str(config.get("tag", "")).endswith(_IMAGENET_TAG)
    return imagenet_ids() if is_imagenet and module.num_classes == 1000 else None
