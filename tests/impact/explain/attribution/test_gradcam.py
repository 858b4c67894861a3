from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from curate.core.errors import UsageError
from curate.impact.explain.attribution import MethodOptions, Subject
from curate.impact.explain.attribution.gradcam import open_gradcam
from tests.impact.explain.attribution.networks import Small

IMAGE = np.random.default_rng(0).uniform(size=(3, 16, 16)).astype(np.float32)


class Two(nn.Module):
    """A shared activation, and a last convolution that sees one place only."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.block = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4))
        self.relu = nn.ReLU()
        self.squeeze = nn.Conv2d(4, 4, 1)
        self.head = nn.Linear(4, 3)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.relu(self.block(self.relu(self.stem(image))))
        x = self.squeeze(x.mean((2, 3), keepdim=True))
        return self.head(x.flatten(1))


class Wrapped(nn.Module):
    """Answers as the models of transformers do."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Two()

    def forward(self, image: torch.Tensor) -> object:
        class Output:
            logits = self.inner(image)

        return Output()


def test_last_spatial_layer_is_found() -> None:
    method = open_gradcam(Small(Two()), IMAGE, MethodOptions())
    assert method.parameters == {"layer": "block", "kind": "Sequential"}


def test_scores_from_an_object_with_logits() -> None:
    network = Wrapped().eval()
    subject = Subject(IMAGE, 1, np.zeros((16, 16), np.int64), 0)
    found = open_gradcam(Small(network), IMAGE, MethodOptions()).attribute(subject)
    plain = open_gradcam(Small(network.inner), IMAGE, MethodOptions()).attribute(subject)
    np.testing.assert_array_equal(found, plain)


def test_the_map_is_the_weighted_sum_of_channels() -> None:
    torch.manual_seed(0)
    network = Two().eval().requires_grad_(False)
    method = open_gradcam(Small(network), IMAGE, MethodOptions(layer="stem"))
    found = method.attribute(Subject(IMAGE, 2, np.zeros((16, 16), np.int64), 0))
    channels = network.stem(torch.from_numpy(IMAGE[None])).requires_grad_()
    x = network.relu(network.block(network.relu(channels)))
    score = network.head(network.squeeze(x.mean((2, 3), keepdim=True)).flatten(1))[0, 2]
    (gradient,) = torch.autograd.grad(score, channels)
    expected = (gradient.mean((2, 3), keepdim=True) * channels).sum(1, keepdim=True).relu()
    scaled = nn.functional.interpolate(expected, (16, 16), mode="bilinear")
    np.testing.assert_allclose(found, scaled[0, 0].detach().numpy(), atol=1e-6)


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        ("relu", "has no layer 'relu' that runs once"),
        ("squeeze", "returns 1×4×1×1, which has no spatial"),
        ("head", "returns 1×3, which has no spatial"),
    ],
)
def test_unsuitable_layer_is_refused(layer: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        open_gradcam(Small(Two()), IMAGE, MethodOptions(layer=layer))


def test_compiled_network_is_refused() -> None:
    class Compiled(torch.jit.ScriptModule):
        pass

    with pytest.raises(UsageError, match="not supported for TorchScript"):
        open_gradcam(Small(Compiled()), IMAGE, MethodOptions())
