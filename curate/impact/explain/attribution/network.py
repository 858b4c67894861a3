"""Access to a classifier's network for gradient methods, and the parameter randomization test."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from curate.core.errors import UsageError
from curate.core.protocols import Classifier
from curate.impact.explain.attribution import HasNetwork


def open_network(classifier: HasNetwork) -> nn.Module:
    """Return the network of a classifier.

    Raises:
        UsageError: if there is none, or it is compiled.
    """
    network: nn.Module = classifier.network()
    if isinstance(network, torch.jit.ScriptModule):
        raise UsageError("not supported for TorchScript, which does not expose its layers")
    return network


def to_input(network: nn.Module, prepared: npt.NDArray[np.float32]) -> torch.Tensor:
    """Return a prepared image as a batch of one on the network's device, with a gradient."""
    like = next(network.parameters(), torch.empty(0))
    tensor = torch.from_numpy(prepared[None].copy())
    return tensor.to(device=like.device, dtype=like.dtype).requires_grad_()


def to_scores(output: Any) -> torch.Tensor:
    """Return the scores in a network's output: the output itself, or its ``logits``."""
    scores = output if isinstance(output, torch.Tensor) else getattr(output, "logits", None)
    if not isinstance(scores, torch.Tensor) or scores.ndim != 2:
        raise UsageError("not supported for this architecture: its output is not one score table")
    return scores


class RandomizedClassifier:
    """A classifier whose last layer has shuffled weights; exposes its network only.

    Adebayo et al., *Sanity Checks for Saliency Maps*, NeurIPS 2018: a method whose maps do not
    change when the weights are randomized shows the image and not the model.

    Args:
        classifier: left unchanged.
        seed: random seed of the shuffle.

    Raises:
        UsageError: if it has no network, or no linear layer.
    """

    def __init__(self, classifier: Classifier, seed: int) -> None:
        network = copy.deepcopy(classifier.network())
        heads = [module for module in network.modules() if isinstance(module, nn.Linear)]
        if not heads:
            raise UsageError("the network has no linear layer to randomize")
        generator = torch.Generator().manual_seed(seed)
        weight = heads[-1].weight
        order = torch.randperm(weight.numel(), generator=generator)
        with torch.no_grad():
            weight.copy_(weight.flatten()[order.to(weight.device)].view_as(weight))
        self._network = network

    def network(self) -> Any:
        """Return the network with its last layer shuffled."""
        return self._network
