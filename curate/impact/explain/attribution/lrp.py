"""Layer-wise relevance propagation, by Captum.

Bach et al., *On Pixel-Wise Explanations for Non-Linear Classifier Decisions by Layer-Wise
Relevance Propagation*, PLOS ONE 10, 2015. The rule is LRP-ε at every linear step, with ε as
a share of the step's root mean square (Montavon et al., *Layer-Wise Relevance Propagation: An
Overview*, 2019, 10.2); activations pass relevance through.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from captum.attr import LRP
from captum.attr._utils.lrp_rules import EpsilonRule, PropagationRule
from torch import nn

from curate.core.errors import UsageError
from curate.detectors.device import exact_convolutions
from curate.impact.explain.attribution import HasNetwork, Map, MethodOptions, Subject
from curate.impact.explain.attribution.lrp_steps import Kind, Step, to_steps
from curate.impact.explain.attribution.network import open_network, to_input

EPSILON = 0.25
"""Share of a step's root mean square that is added to the denominator."""

_TOLERANCE = 1e-3


def open_lrp(
    classifier: HasNetwork, example: npt.NDArray[np.float32], options: MethodOptions
) -> RelevancePropagation:
    """Decompose the network into steps that each have a rule.

    Raises:
        UsageError: if the classifier has no network, or an operation has no rule.
    """
    network = open_network(classifier)
    return RelevancePropagation(network, _decompose(network, example), example.shape)


def _decompose(network: nn.Module, example: npt.NDArray[np.float32]) -> list[Step]:
    inputs = to_input(network, example).detach()
    steps = to_steps(network, inputs)
    with torch.no_grad():
        expected, found = network(inputs), _Program(steps)(inputs)
    spread = float((expected.max() - expected.min()).clamp(min=1e-6))
    if float((found - expected).abs().max()) > _TOLERANCE * spread:
        raise UsageError(
            "not supported for this architecture: the decomposed network differs from the original"
        )
    return steps


class RelevancePropagation:
    """LRP-ε over the steps of a network.

    Args:
        network: the network.
        steps: its operations, for inputs of one shape.
        shape: that shape, (C, H, W).
    """

    title = "LRP"
    is_gradient = True

    def __init__(self, network: nn.Module, steps: list[Step], shape: tuple[int, ...]) -> None:
        self._network, self._steps, self._shape = network, steps, shape

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Rule, ε and number of steps of each kind."""
        kinds = [step.kind.value for step in self._steps]
        counts = {f"{kind.value}_steps": kinds.count(kind.value) for kind in Kind}
        return {"rule": "epsilon", "epsilon": EPSILON, **counts}

    def attribute(self, subject: Subject) -> Map:
        """Return the relevance of every position, summed over channels."""
        if subject.prepared.shape != self._shape:
            self._steps = _decompose(self._network, subject.prepared)
            self._shape = subject.prepared.shape
        inputs = to_input(self._network, subject.prepared)
        program = _Program(self._steps)  # Captum removes the rules afterwards
        with exact_convolutions():
            found = LRP(program).attribute(inputs, target=subject.target)
        return np.asarray(found[0].sum(dim=0).detach().cpu().numpy(), dtype=np.float64)


class _Program(nn.Module):
    """Steps in order, each as a module with the rule for Captum."""

    def __init__(self, steps: list[Step]) -> None:
        super().__init__()
        self._reads = [step.reads for step in steps]
        self._steps = nn.ModuleList([_StepModule(step) for step in steps])

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        values = {-1: inputs}
        for number, (step, reads) in enumerate(zip(self._steps, self._reads, strict=True)):
            # A copy for each reader: Captum hooks a value once, whoever reads it.
            values[number] = step(*(values[read].clone() for read in reads))
        answer: torch.Tensor = values[len(self._steps) - 1]
        return answer


class _StepModule(nn.Module):
    def __init__(self, step: Step) -> None:
        super().__init__()
        self._run = (step.run,)  # in a tuple, so that no module is a child: Captum looks for leaves
        self._is_activation = step.kind is Kind.ACTIVATION
        self.rule = _RelativeEpsilonRule() if step.kind is Kind.LINEAR else _StraightRule()

    def forward(self, *values: torch.Tensor) -> torch.Tensor:
        # Copies, because an operation in place would change what Captum keeps of its inputs.
        copies = [value.clone() for value in values]
        run = self._run[0]
        if self._is_activation:
            passed: torch.Tensor = _PassOn.apply(copies[0], run)  # type: ignore[no-untyped-call]
            return passed
        result: torch.Tensor = run(*copies)
        return result


class _PassOn(torch.autograd.Function):
    """An activation that passes the gradient through."""

    @staticmethod
    def forward(ctx: Any, value: torch.Tensor, run: Callable[..., Any]) -> torch.Tensor:
        activated: torch.Tensor = run(value)
        return activated

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None]:
        return grads[0], None


class _RelativeEpsilonRule(EpsilonRule):  # type: ignore[misc]
    """LRP-ε with an ε relative to the root mean square of the denominator."""

    def _create_backward_hook_output(self, outputs: torch.Tensor) -> Any:
        def hook(grad: torch.Tensor) -> torch.Tensor:
            sign = torch.where(outputs < 0, -1.0, 1.0).to(outputs.dtype)
            size = outputs.square().mean().sqrt() * EPSILON + float(self.STABILITY_FACTOR)
            self.relevance_output[grad.device] = grad.data
            return grad / (outputs + sign * size)

        return hook


class _StraightRule(PropagationRule):  # type: ignore[misc]
    """Relevance follows the gradient, unchanged."""

    def _create_backward_hook_input(self, inputs: torch.Tensor) -> Any:
        return lambda grad: grad

    def _create_backward_hook_output(self, outputs: torch.Tensor) -> Any:
        return lambda grad: grad

    def _manipulate_weights(self, module: Any, inputs: Any, outputs: Any) -> None:
        pass
