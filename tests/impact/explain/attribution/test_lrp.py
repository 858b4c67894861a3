from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from curate.core.errors import UsageError
from curate.impact.explain.attribution import Map, MethodOptions, Subject, lrp
from curate.impact.explain.attribution.lrp import open_lrp
from curate.impact.explain.attribution.lrp_steps import Kind, to_steps
from tests.impact.explain.attribution.networks import Small, Spotlight, box_mask


class Residual(nn.Module):
    """Without biases: relevance, were nothing added to the divisor, is gradient times input."""

    def __init__(self, function: str = "plus") -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1, bias=False)
        self.second = nn.Conv2d(6, 6, 3, padding=1, bias=False)
        self.relu = nn.ReLU()
        self.head = nn.Linear(6, 4, bias=False)
        self.function = function

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.relu(self.first(image))
        y = self.second(x)
        if self.function == "plus":
            x = x + y
        elif self.function == "inplace":
            x = y.add_(x)
        else:
            x = torch.add(x, y)
        x = functional.max_pool2d(functional.relu(x), 2)
        x = functional.pad(x, (1, 1, 0, 0)) * 0.5
        return self.head(x.mean([2, 3]))


class Normalized(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 5, 3)
        self.norm = nn.BatchNorm2d(5)
        self.again = nn.BatchNorm2d(5)
        for norm in (self.norm, self.again):
            nn.init.normal_(norm.weight)
            nn.init.normal_(norm.bias)
            norm.running_mean.uniform_(-1, 1)
            norm.running_var.uniform_(0.5, 2)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.again(self.norm(self.first(image)).relu()).sum((2, 3))


class Shared(nn.Module):
    """What the convolution gives is read twice, so that nothing can be folded into it."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 3, 1)
        self.norm = nn.BatchNorm2d(3)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.first(image)
        return (self.norm(x) + x).mean((2, 3))


def attribute(network: nn.Module, target: int = 1) -> tuple[Map, np.ndarray]:
    image = np.random.default_rng(3).normal(size=(3, 8, 8)).astype(np.float32)
    method = open_lrp(Small(network), image, MethodOptions())
    return method.attribute(Subject(image, target, np.zeros((8, 8), np.int64), 0)), image


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lrp, "EPSILON", 0.0)


@pytest.mark.parametrize("function", ["plus", "inplace", "function"])
def test_without_biases_and_epsilon_it_is_gradient_times_input(exact: None, function: str) -> None:
    torch.manual_seed(0)
    network = Residual(function).eval()
    found, image = attribute(network)
    inputs = torch.from_numpy(image[None]).requires_grad_()
    output = network(inputs)[0, 1]
    (gradient,) = torch.autograd.grad(output, inputs)
    expected = (gradient * inputs)[0].sum(0).detach().numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert found.sum() == pytest.approx(float(output.detach()), rel=1e-4)


def test_epsilon_absorbs_relevance_without_changing_signs() -> None:
    torch.manual_seed(0)
    network = Residual().eval()
    found, image = attribute(network)
    output = float(network(torch.from_numpy(image[None]))[0, 1].detach())
    assert 0 < found.sum() / output < 0.95


def test_saturated_activation_passes_relevance_through(
    exact: None,
) -> None:
    network = nn.Sequential(nn.Conv2d(3, 2, 1, bias=False), nn.ReLU6(), nn.Flatten())
    network[0].weight.data.fill_(100.0)
    image = np.full((3, 8, 8), 1.0, np.float32)
    method = open_lrp(Small(network), image, MethodOptions())
    found = method.attribute(Subject(image, 0, np.zeros((8, 8), np.int64), 0))
    assert found[0, 0] == pytest.approx(6.0, rel=1e-4)
    assert np.count_nonzero(np.abs(found) > 1e-6) == 1


def test_batch_normalization_is_folded() -> None:
    torch.manual_seed(1)
    network = Normalized().eval()
    image = torch.randn(1, 3, 8, 8)
    steps = to_steps(network, image)
    assert [step.kind for step in steps] == [
        Kind.LINEAR,
        Kind.ACTIVATION,
        Kind.LINEAR,
        Kind.LINEAR,
    ]
    torch.testing.assert_close(lrp._Program(steps)(image), network(image))
    steps = to_steps(Shared().eval(), image)
    assert len(steps) == 4
    torch.testing.assert_close(lrp._Program(steps)(image), Shared().eval()(image), rtol=9, atol=9)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda x: x * x.relu(), "the operation 'mul' has no rule"),
        (lambda x: 1 / (x.relu() + 1), "the operation 'truediv' has no rule"),
        (
            lambda x: functional.pad(x, (1, 1), value=2.0),
            "the operation 'pad' has no rule",
        ),
        (lambda x: x.softmax(1), "the operation 'softmax' has no rule"),
        (lambda x: x.max(1), "returns several values"),
        (lambda x: (x, x), "its output is not one score table"),
    ],
)
def test_operations_without_a_rule_are_named(function: object, said: str) -> None:
    class Other(nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return function(image)  # type: ignore[operator]

    with pytest.raises(UsageError, match=said):
        to_steps(Other(), torch.randn(1, 3, 8, 8))


def test_modules_without_a_rule_are_named() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.GroupNorm(2, 4))
    with pytest.raises(UsageError, match=r"GroupNorm \(1\) has no rule"):
        to_steps(network, torch.randn(1, 3, 8, 8))


def test_parameters_count_the_steps_of_each_kind() -> None:
    network = Spotlight(box_mask(slice(0, 4), slice(0, 4), 8))
    image = np.ones((3, 8, 8), np.float32)
    assert open_lrp(Small(network), image, MethodOptions()).parameters == {
        "rule": "epsilon",
        "epsilon": 0.25,
        "linear_steps": 6,
        "activation_steps": 2,
        "movement_steps": 1,
    }
