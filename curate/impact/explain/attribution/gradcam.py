"""Grad-CAM, by Captum.

Selvaraju et al., *Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
Localization*, ICCV 2017: the positive part of a layer's channels, weighted by the mean gradient
of the class's score.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from captum.attr import LayerAttribution, LayerGradCam

from curate.core.errors import UsageError
from curate.detectors.device import exact_convolutions
from curate.impact.explain.attribution import HasNetwork, Map, MethodOptions, Subject
from curate.impact.explain.attribution.network import open_network, to_input, to_scores


def open_gradcam(
    classifier: HasNetwork, example: npt.NDArray[np.float32], options: MethodOptions
) -> GradCam:
    """Open Grad-CAM at the given or at the last suitable layer.

    Raises:
        UsageError: if the classifier has no network, or no suitable layer.
    """
    network = open_network(classifier)
    shapes = _trace(network, example)
    if options.layer is None:
        return GradCam(network, find_layer(shapes))
    if options.layer not in shapes:
        known = ", ".join([name for name, shape in shapes.items() if _is_image(shape)][-5:])
        raise UsageError(
            f"the network has no layer {options.layer!r} that runs once; the last suitable "
            f"ones are: {known or 'none'}"
        )
    if not _is_image(shapes[options.layer]):
        raise UsageError(
            f"layer {options.layer!r} returns {_format(shapes[options.layer])}, which has no "
            "spatial "
            "dimensions; choose an earlier one"
        )
    return GradCam(network, options.layer)


def find_layer(shapes: dict[str, tuple[int, ...] | None]) -> str:
    """Return the last layer whose output has spatial dimensions.

    Args:
        shapes: of the outputs by name, in the order in which layers finish.

    Raises:
        UsageError: if there is none.
    """
    for name in reversed(shapes):
        if _is_image(shapes[name]):
            return name
    raise UsageError(
        "not supported for this architecture: no layer has an output with spatial dimensions"
    )


class GradCam:
    """Grad-CAM at one layer.

    Args:
        network: in evaluation mode.
        layer: its name.
    """

    title = "Grad-CAM"
    is_gradient = True

    def __init__(self, network: torch.nn.Module, layer: str) -> None:
        self._network, self._layer = network, layer
        self._captum = LayerGradCam(
            lambda inputs: to_scores(network(inputs)), network.get_submodule(layer)
        )

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Name and type of the layer."""
        kind = type(self._network.get_submodule(self._layer)).__name__
        return {"layer": self._layer, "kind": kind}

    def attribute(self, subject: Subject) -> Map:
        """Return the class activation map, resized to the input."""
        inputs = to_input(self._network, subject.prepared)
        with exact_convolutions():
            found = self._captum.attribute(
                inputs, target=subject.target, relu_attributions=True, attr_dim_summation=True
            )
        size = subject.prepared.shape[1:]
        scaled = LayerAttribution.interpolate(found, size, "bilinear")
        return np.asarray(scaled[0, 0].detach().cpu().numpy(), dtype=np.float64)


def _trace(
    network: torch.nn.Module, example: npt.NDArray[np.float32]
) -> dict[str, tuple[int, ...] | None]:
    """Shapes of the outputs of all layers that run exactly once, in the order of finishing."""
    shapes: dict[str, tuple[int, ...] | None] = {}
    runs: Counter[str] = Counter()

    def note(name: str) -> Any:
        def hook(module: torch.nn.Module, inputs: Any, output: Any) -> None:
            runs[name] += 1
            shapes.pop(name, None)
            shapes[name] = tuple(output.shape) if isinstance(output, torch.Tensor) else None

        return hook

    modules = [(name, module) for name, module in network.named_modules() if name]
    hooks = [module.register_forward_hook(note(name)) for name, module in modules]
    try:
        with torch.no_grad():
            to_scores(network(to_input(network, example)))
    finally:
        for hook in hooks:
            hook.remove()
    return {name: shape for name, shape in shapes.items() if runs[name] == 1}


def _is_image(shape: tuple[int, ...] | None) -> bool:
    return shape is not None and len(shape) == 4 and shape[2] * shape[3] > 1


def _format(shape: tuple[int, ...] | None) -> str:
    return "no tensor" if shape is None else "×".join(map(str, shape))
