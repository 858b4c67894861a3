"""The three networks of MTCNN, from the weights that the package ``facenet-pytorch`` carries.

Architecture: Zhang et al., *Joint Face Detection and Alignment Using Multitask
Cascaded Convolutional Networks*, IEEE Signal Processing Letters 2016.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor
from torch.nn import functional

from curate.core.errors import WeightsError
from curate.detectors.weights import Weights, WeightsSpec, find_weights

WEIGHTS = WeightsSpec(
    package="facenet_pytorch",
    distribution="facenet-pytorch",
    requirement="facenet-pytorch>=2.5.3,<2.6",
    sha256={
        "data/pnet.pt": "a2a71925e0b9996a42f63e47efc1ca19043e69558b5c523b978d611dfae49c8f",
        "data/rnet.pt": "bbb937de72efc9ef83b186c49f5f558467a1d7e3453a8ece0d71a886633f6a86",
        "data/onet.pt": "165bfbe42940416ccfb977545cf0e976d5bf321f67083ae2aaaa5c764280118d",
    },
)

R_SIDE = 24
"""Side of the refinement network's input, pixels."""
O_SIDE = 48
"""Side of the output network's input, pixels."""
CROPS = 512
"""Crops that are run together at most, to bound the memory of a crowd."""

Parameters = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class Networks:
    """The weights of the three networks, by the names in their files, on one device."""

    proposal: Parameters
    refinement: Parameters
    output: Parameters


def load_networks(device: str, threads: int) -> tuple[Networks, Weights]:
    """Load the three networks and say where they came from.

    Raises:
        WeightsError: if the package or a file is missing, altered or unreadable.
    """
    torch.set_num_threads(threads)
    weights = find_weights(WEIGHTS)
    loaded = [_load(weights.paths[f"{name}net.pt"], device) for name in "pro"]
    return Networks(*loaded), weights


def propose(net: Parameters, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """The proposal network, on whole images.

    Args:
        net: its weights.
        pixels: N×3×H×W float32, normalized, sides ≥ 12.

    Returns:
        Probability of a face, N×h×w, and corrections of its box, N×4×h×w.
    """
    x = _convolve(net, "1", pixels)
    x = functional.max_pool2d(x, 2, 2, ceil_mode=True)
    x = _convolve(net, "3", _convolve(net, "2", x))
    scores = functional.conv2d(x, net["conv4_1.weight"], net["conv4_1.bias"])
    shifts = functional.conv2d(x, net["conv4_2.weight"], net["conv4_2.bias"])
    return scores.softmax(dim=1)[:, 1], shifts


def refine(net: Parameters, crops: Tensor) -> tuple[Tensor, Tensor]:
    """The refinement network, on crops.

    Args:
        net: its weights.
        crops: N×3×24×24 float32, normalized.

    Returns:
        Probability of a face, N, and corrections of its box, N×4.
    """
    x = functional.max_pool2d(_convolve(net, "1", crops), 3, 2, ceil_mode=True)
    x = functional.max_pool2d(_convolve(net, "2", x), 3, 2, ceil_mode=True)
    x = _dense(net, "4", _flat(_convolve(net, "3", x)))
    return _heads(net, "5", x)


def decide(net: Parameters, crops: Tensor) -> tuple[Tensor, Tensor]:
    """The output network, on crops.

    Args:
        net: its weights.
        crops: N×3×48×48 float32, normalized.

    Returns:
        Probability of a face, N, and corrections of its box, N×4.
    """
    x = functional.max_pool2d(_convolve(net, "1", crops), 3, 2, ceil_mode=True)
    x = functional.max_pool2d(_convolve(net, "2", x), 3, 2, ceil_mode=True)
    x = functional.max_pool2d(_convolve(net, "3", x), 2, 2, ceil_mode=True)
    x = _dense(net, "5", _flat(_convolve(net, "4", x)))
    return _heads(net, "6", x)


def normalized(pixels: Tensor) -> Tensor:
    """Pixel values 0..255 as the networks want them, about -1..1."""
    return (pixels - 127.5) * 0.0078125


def resized(pixels: Tensor, height: int, width: int) -> Tensor:
    """An N×3×H×W image at another size, by averaging areas."""
    return functional.adaptive_avg_pool2d(pixels, (height, width))


def _convolve(net: Parameters, layer: str, x: Tensor) -> Tensor:
    x = functional.conv2d(x, net[f"conv{layer}.weight"], net[f"conv{layer}.bias"])
    return functional.prelu(x, net[f"prelu{layer}.weight"])


def _dense(net: Parameters, layer: str, x: Tensor) -> Tensor:
    x = functional.linear(x, net[f"dense{layer}.weight"], net[f"dense{layer}.bias"])
    return functional.prelu(x, net[f"prelu{layer}.weight"])


def _heads(net: Parameters, layer: str, x: Tensor) -> tuple[Tensor, Tensor]:
    scores = functional.linear(x, net[f"dense{layer}_1.weight"], net[f"dense{layer}_1.bias"])
    shifts = functional.linear(x, net[f"dense{layer}_2.weight"], net[f"dense{layer}_2.bias"])
    return scores.softmax(dim=1)[:, 1], shifts


def _flat(x: Tensor) -> Tensor:
    """Width before height before channels: the order in which the weights were trained."""
    return x.permute(0, 3, 2, 1).flatten(1)


def _load(path: Path, device: str) -> Parameters:
    try:
        loaded: Parameters = torch.load(path, map_location=device, weights_only=True)
    except (OSError, RuntimeError, UnpicklingError) as error:
        raise WeightsError(f"cannot read the weights {path.name}: {error}") from error
    return loaded
