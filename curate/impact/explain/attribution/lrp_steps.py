"""Decomposition of a network into steps of three kinds, for LRP.

Captum has rules for modules by their type and none for operations between modules: a residual
sum written as ``x + y`` would count relevance twice, and a module that runs twice is refused.
The network is therefore traced (torch.fx), every operation becomes a step that is linear, an
activation or a movement of values, and batch normalization is folded into the preceding
convolution, as Montavon et al. recommend
(*Layer-Wise Relevance Propagation: An Overview*, 2019, 10.3.1).
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from curate.core.errors import UsageError, one_line

Operation = Callable[..., Any]


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One operation on values that depend on the input.

    Args:
        kind: determines the rule.
        run: the operation, called with the values that it reads.
        reads: these values, by the number of their step; -1 is the input.
        conv: its convolution, while nothing is folded into it, or None.
        norm: its batch normalization, or None.
    """

    kind: Kind
    run: Operation
    reads: tuple[int, ...]
    conv: nn.Conv2d | None = None
    norm: nn.BatchNorm2d | None = None


def to_steps(network: nn.Module, example: torch.Tensor) -> list[Step]:
    """Decompose a network.

    Args:
        network: in evaluation mode; left unchanged.
        example: an input, shape (N, C, H, W); the steps are for inputs of this shape.

    Raises:
        UsageError: if it cannot be traced, or an operation has no rule.
    """
    try:
        reading = _Reading(fx.GraphModule(network, _Tracer().trace(network)))
        with torch.no_grad():
            reading.run(example)
    except UsageError:
        raise
    except Exception as error:  # tracing runs arbitrary code with proxy values
        line = one_line(error)
        raise UsageError(
            f"not supported for this architecture: the network cannot be traced ({line})"
        ) from None
    return fold(reading.finish())


def fold(steps: list[Step]) -> list[Step]:
    """Fold every batch normalization into its convolution."""
    uses = Counter(read for step in steps for read in step.reads)
    became: dict[int, int] = {-1: -1}
    kept: list[Step] = []
    for number, step in enumerate(steps):
        source = became[step.reads[0]] if step.reads else -1
        conv = kept[source].conv if source >= 0 else None
        if step.norm is not None and conv is not None and uses[step.reads[0]] == 1:
            kept[source] = replace(kept[source], run=fuse_conv_bn_eval(conv, step.norm), conv=None)
            became[number] = source
            continue
        became[number] = len(kept)
        kept.append(replace(step, reads=tuple(became[read] for read in step.reads)))
    return kept


class _Tracer(fx.Tracer):
    """Traces into every module except torch's own and convolutions."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, nn.Conv2d) or super().is_leaf_module(m, module_qualified_name)


class _Reading(fx.Interpreter):
    """Runs a traced network once and records a step for each value that depends on the input."""

    def __init__(self, traced: fx.GraphModule) -> None:
        super().__init__(traced)
        self.extra_traceback = False  # an error's text is for the user, and one line
        self.steps: list[Step] = []
        self._made: dict[fx.Node, int] = {}
        self._values: dict[fx.Node, Any] = {}
        self._answer: fx.Node | None = None

    def finish(self) -> list[Step]:
        """Return the steps; the last one returns the scores."""
        if self._answer is None or self._made.get(self._answer, -1) != len(self.steps) - 1:
            raise UsageError(
                "not supported for this architecture: its output is not one score table"
            )
        return self.steps

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        self._values[n] = value
        if n.op == "placeholder":
            if self._made:
                raise UsageError(
                    "not supported for this architecture: it takes more than one input"
                )
            self._made[n] = -1
        elif n.op == "output":
            found = n.args[0]
            self._answer = found if isinstance(found, fx.Node) else None
        elif isinstance(value, torch.Tensor) and self._reads(n):
            self._note(n)
        elif self._reads(n) and not _is_plain(value):
            raise UsageError(
                f"not supported for this architecture: {_name(n, None)} returns several values"
            )
        return value

    def _reads(self, node: fx.Node) -> list[fx.Node]:
        return [each for each in node.all_input_nodes if each in self._made]

    def _note(self, node: fx.Node) -> None:
        module = self.module.get_submodule(str(node.target)) if node.op == "call_module" else None
        reads = self._reads(node)
        if module is not None and is_identity(module):
            self._made[node] = self._made[reads[0]]
            return
        kind = find_kind(node, module, len(reads))
        if kind is None:
            raise UsageError(
                f"not supported for this architecture: {_name(node, module)} has no rule"
            )
        is_conv, is_norm = isinstance(module, nn.Conv2d), isinstance(module, nn.BatchNorm2d)
        step = Step(
            kind,
            _bind(node, module, reads, self._values),
            tuple(self._made[each] for each in reads),
            module if is_conv else None,  # type: ignore[arg-type]
            module if is_norm else None,  # type: ignore[arg-type]
        )
        self._made[node] = len(self.steps)
        self.steps.append(step)


def _bind(
    node: fx.Node, module: nn.Module | None, reads: list[fx.Node], values: Mapping[fx.Node, Any]
) -> Operation:
    """A node's operation with all values bound that do not depend on the input."""
    positions = {each: position for position, each in enumerate(reads)}
    known = dict(values)

    def run(*given: torch.Tensor) -> Any:
        def fill(each: fx.Node) -> Any:
            return given[positions[each]] if each in positions else known[each]

        args = fx.map_arg(node.args, fill)
        kwargs = fx.map_arg(node.kwargs, fill)
        if module is not None:
            return module(*args, **kwargs)
        if node.op == "call_method":
            return getattr(args[0], str(node.target))(*args[1:], **kwargs)
        assert callable(node.target)  # noqa: S101 - narrows the type
        return node.target(*args, **kwargs)

    return run


def _is_plain(value: Any) -> bool:
    """Whether a value is a size or the like, not a tensor."""
    if isinstance(value, (tuple, list)):
        return all(_is_plain(each) for each in value)
    return not isinstance(value, torch.Tensor)


def _name(node: fx.Node, module: nn.Module | None) -> str:
    if module is not None:
        return f"{type(module).__name__} ({node.target})"
    target = node.target
    name = target if isinstance(target, str) else getattr(target, "__name__", "")
    return f"the operation {name!r}"


class Kind(Enum):
    """Kind of an operation, which determines its rule."""

    LINEAR = "linear"  # relevance is distributed in proportion to the summands
    ACTIVATION = "activation"  # elementwise, 0 to 0: relevance passes through
    MOVEMENT = "movement"  # values change positions: relevance moves with them


_LINEAR_MODULES = (
    nn.Conv2d,
    nn.Linear,
    nn.BatchNorm2d,
    nn.BatchNorm1d,
    nn.AvgPool2d,
    nn.AdaptiveAvgPool2d,
)
_ACTIVATION_MODULES = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.Hardtanh, nn.ELU, nn.CELU, nn.SELU),
    *(nn.GELU, nn.SiLU, nn.Mish, nn.Hardswish, nn.Tanh, nn.Softsign),
)
# Max pooling moves a value; relevance moves back to its position.
_MOVEMENT_MODULES = (
    *(nn.Flatten, nn.Unflatten, nn.ZeroPad2d, nn.ReflectionPad2d, nn.ReplicationPad2d),
    *(nn.MaxPool2d, nn.AdaptiveMaxPool2d, nn.PixelShuffle, nn.PixelUnshuffle, nn.ChannelShuffle),
)
_IDENTITIES = (nn.Identity, nn.Dropout, nn.Dropout2d, nn.AlphaDropout)

_LINEAR = {
    *(torch.conv2d, functional.linear, functional.avg_pool2d, functional.adaptive_avg_pool2d),
    *(torch.mean, torch.sum, "mean", "sum"),
}
_SUMS = {operator.add, operator.iadd, operator.sub, torch.add, torch.sub, "add", "add_", "sub"}
_INVERSES = {operator.truediv, torch.div, "div", "div_"}
_SCALINGS = {operator.mul, operator.imul, torch.mul, "mul", "mul_"} | _INVERSES
_ACTIVATIONS = {
    *(functional.relu, functional.relu6, functional.leaky_relu, functional.elu),
    *(functional.gelu, functional.silu, functional.mish, functional.hardswish),
    *(torch.relu, torch.relu_, torch.tanh, "relu", "relu_", "tanh"),
}
_MOVEMENTS = {
    *(torch.flatten, torch.reshape, torch.squeeze, torch.unsqueeze, torch.permute),
    *(torch.transpose, torch.cat, torch.clone, torch.max_pool2d, operator.getitem),
    *(functional.pad, functional.max_pool2d, functional.pixel_shuffle),
    *(functional.dropout, functional.dropout2d),
    *("flatten", "view", "reshape", "squeeze", "unsqueeze", "permute", "transpose"),
    *("contiguous", "clone", "float"),
}


def find_kind(node: fx.Node, module: nn.Module | None, reads: int) -> Kind | None:
    """Return the kind of a node of a traced network.

    Args:
        node: the node.
        module: the module that it runs, or None.
        reads: number of values it reads that depend on the input.

    Returns:
        None without a rule, such as for a product of two values that both depend on the input,
        or a function that does not map 0 to 0.
    """
    if module is not None:
        return _find_module_kind(module)
    target: Any = node.target
    if (
        (target in _LINEAR and reads == 1)
        or target in _SUMS
        or (target in _SCALINGS and reads == 1)
    ):
        is_inverse = target in _INVERSES
        # A number divided by a value is not linear in it.
        return None if is_inverse and not isinstance(node.args[0], fx.Node) else Kind.LINEAR
    if target in _ACTIVATIONS:
        return Kind.ACTIVATION
    if target in _MOVEMENTS and _keeps_zero(node):
        return Kind.MOVEMENT
    return None


def is_identity(module: nn.Module) -> bool:
    """Return whether a module is the identity in evaluation mode."""
    return isinstance(module, _IDENTITIES)


def _find_module_kind(module: nn.Module) -> Kind | None:
    if isinstance(module, _LINEAR_MODULES):
        return Kind.LINEAR
    if isinstance(module, _ACTIVATION_MODULES):
        return Kind.ACTIVATION
    if isinstance(module, _MOVEMENT_MODULES):
        return Kind.MOVEMENT
    return None


def _keeps_zero(node: fx.Node) -> bool:
    """Whether a movement adds only zeros; padding with another value does not."""
    value = node.kwargs.get("value", node.args[3] if len(node.args) > 3 else None)
    return node.target is not functional.pad or value in (None, 0, 0.0)
