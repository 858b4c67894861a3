"""A classifier that has unlearned: the check whether a map has to do with what was learned.

Adebayo et al., *Sanity Checks for Saliency Maps*, NeurIPS 2018: a method whose maps stay the
same when the network's weights are made random shows the image and not the model.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from curate.core.errors import UsageError
from curate.core.protocols import Classifier


class Randomised:
    """A classifier whose last layer has its weights shuffled; shows its network only.

    Args:
        classifier: left as it is.
        seed: of the shuffle.

    Raises:
        UsageError: if it has no network, or that no linear layer.
    """

    def __init__(self, classifier: Classifier, seed: int) -> None:
        network = copy.deepcopy(classifier.network())
        heads = [module for module in network.modules() if isinstance(module, nn.Linear)]
        if not heads:
            raise UsageError("the network has no linear layer to make random")
        generator = torch.Generator().manual_seed(seed)
        weight = heads[-1].weight
        order = torch.randperm(weight.numel(), generator=generator)
        with torch.no_grad():
            weight.copy_(weight.flatten()[order.to(weight.device)].view_as(weight))
        self._network = network

    def network(self) -> Any:
        """The network with its last layer shuffled."""
        return self._network
