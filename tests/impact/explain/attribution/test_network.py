from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from curate.core.errors import UsageError
from curate.impact.explain.attribution.network import RandomizedClassifier
from tests.impact.explain.attribution.networks import Small, Spotlight, box_mask


def test_randomization_shuffles_a_copy_of_the_last_layer() -> None:
    network = Spotlight(box_mask(slice(0, 9), slice(0, 9))).eval()
    before = copy.deepcopy(network.state_dict())
    shuffled = RandomizedClassifier(Small(network), 3).network()
    assert all((before[key] == value).all() for key, value in network.state_dict().items())
    assert not torch.equal(shuffled.head.weight, network.head.weight)
    assert torch.equal(
        shuffled.head.weight.flatten().sort().values, network.head.weight.flatten().sort().values
    )
    assert torch.equal(shuffled.second.weight, network.second.weight)
    again = RandomizedClassifier(Small(network), 3).network()
    assert torch.equal(shuffled.head.weight, again.head.weight)


def test_network_without_a_linear_layer_is_refused() -> None:
    with pytest.raises(UsageError, match="no linear layer"):
        RandomizedClassifier(Small(nn.Sequential(nn.Conv2d(3, 3, 1), nn.Flatten())), 0)
