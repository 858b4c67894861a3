"""What layer-wise relevance propagation makes of each operation of a network."""

from __future__ import annotations

import operator
from enum import Enum
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional


class Kind(Enum):
    """Which rule an operation takes."""

    LINEAR = "linear"  # relevance goes to what was added up, in proportion
    ACTIVATION = "activation"  # element by element, 0 to 0: relevance passes as it is
    MOVEMENT = "movement"  # values only change places: relevance goes with them


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
# A pool that takes the largest value moves it; relevance goes where the value came from.
_MOVEMENT_MODULES = (
    *(nn.Flatten, nn.Unflatten, nn.ZeroPad2d, nn.ReflectionPad2d, nn.ReplicationPad2d),
    *(nn.MaxPool2d, nn.AdaptiveMaxPool2d, nn.PixelShuffle, nn.PixelUnshuffle, nn.ChannelShuffle),
)
_NOTHING = (nn.Identity, nn.Dropout, nn.Dropout2d, nn.AlphaDropout)

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
    """What kind of operation a node of a traced network is.

    Args:
        node: the node.
        module: the module that it runs, or None.
        reads: how many of the values that it reads depend on the input.

    Returns:
        None where no rule is known, such as for a product of two values that both depend on
        the input, or a function that does not turn 0 into 0.
    """
    if module is not None:
        return _find_module_kind(module)
    target: Any = node.target
    if (
        (target in _LINEAR and reads == 1)
        or target in _SUMS
        or (target in _SCALINGS and reads == 1)
    ):
        is_inverse = target in (operator.truediv, torch.div, "div", "div_")
        # A number divided by a value is not linear in it.
        return None if is_inverse and not isinstance(node.args[0], fx.Node) else Kind.LINEAR
    if target in _ACTIVATIONS:
        return Kind.ACTIVATION
    if target in _MOVEMENTS and _keeps_zero(node):
        return Kind.MOVEMENT
    return None


def is_nothing(module: nn.Module) -> bool:
    """Whether a module does nothing once a network is trained."""
    return isinstance(module, _NOTHING)


def _find_module_kind(module: nn.Module) -> Kind | None:
    if isinstance(module, _LINEAR_MODULES):
        return Kind.LINEAR
    if isinstance(module, _ACTIVATION_MODULES):
        return Kind.ACTIVATION
    if isinstance(module, _MOVEMENT_MODULES):
        return Kind.MOVEMENT
    return None


def _keeps_zero(node: fx.Node) -> bool:
    """Whether a movement brings nothing in: padding with another value than 0 does."""
    value = node.kwargs.get("value", node.args[3] if len(node.args) > 3 else None)
    return node.target is not functional.pad or value in (None, 0, 0.0)
