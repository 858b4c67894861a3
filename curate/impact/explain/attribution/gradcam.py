"""Grad-CAM, through Captum.

Selvaraju et al., *Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
Localization*, ICCV 2017: a layer's channels, each weighted by the mean gradient of the
class's score, added up; what is negative is left out.
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
from curate.impact.explain.attribution.method import Map, Options, Shown, Subject
from curate.impact.models.torch_module import exact_convolutions


def open_gradcam(classifier: Shown, example: npt.NDArray[np.float32], options: Options) -> GradCam:
    """Choose the layer.

    Raises:
        UsageError: if the classifier has no network, or no layer that will do.
    """
    network = open_network(classifier)
    shapes = _trace(network, example)
    if options.layer is None:
        return GradCam(network, find_layer(shapes))
    if options.layer not in shapes:
        known = ", ".join([name for name, shape in shapes.items() if _is_image(shape)][-5:])
        raise UsageError(
            f"the network has no layer {options.layer!r} that runs once; the last ones that "
            f"would do are: {known or 'none'}"
        )
    if not _is_image(shapes[options.layer]):
        raise UsageError(
            f"layer {options.layer!r} gives {_format(shapes[options.layer])}, which is no image "
            "of several channels; choose an earlier one"
        )
    return GradCam(network, options.layer)


def open_network(classifier: Shown) -> torch.nn.Module:
    """The network behind a classifier, if its layers can be looked into.

    Raises:
        UsageError: if there is none, or it is compiled.
    """
    network: torch.nn.Module = classifier.network()
    if isinstance(network, torch.jit.ScriptModule):
        raise UsageError("not for TorchScript, which does not show its layers at work")
    return network


def find_layer(shapes: dict[str, tuple[int, ...] | None]) -> str:
    """The last layer whose output is still an image.

    Args:
        shapes: of the outputs by name, in the order in which layers come to their end.

    Raises:
        UsageError: if there is none.
    """
    for name in reversed(shapes):
        if _is_image(shapes[name]):
            return name
    raise UsageError(
        "not for this architecture: no layer is seen to give an image of several channels"
    )


class GradCam:
    """Grad-CAM at one layer.

    Args:
        network: in evaluation mode.
        layer: its name.
    """

    title = "Grad-CAM"
    looks_inside = True

    def __init__(self, network: torch.nn.Module, layer: str) -> None:
        self._network, self._layer = network, layer
        self._captum = LayerGradCam(
            lambda inputs: to_scores(network(inputs)), network.get_submodule(layer)
        )

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The layer, by its name in the network, and its kind."""
        kind = type(self._network.get_submodule(self._layer)).__name__
        return {"layer": self._layer, "kind": kind}

    def attribute(self, subject: Subject) -> Map:
        """The class activation map, scaled up to the input's size."""
        inputs = to_input(self._network, subject.prepared)
        with exact_convolutions():
            found = self._captum.attribute(
                inputs, target=subject.target, relu_attributions=True, attr_dim_summation=True
            )
        size = subject.prepared.shape[1:]
        scaled = LayerAttribution.interpolate(found, size, "bilinear")
        return np.asarray(scaled[0, 0].detach().cpu().numpy(), dtype=np.float64)


def to_input(network: torch.nn.Module, prepared: npt.NDArray[np.float32]) -> torch.Tensor:
    """One prepared image as a batch of one where the network is, with a gradient."""
    like = next(network.parameters(), torch.empty(0))
    tensor = torch.from_numpy(prepared[None].copy())
    return tensor.to(device=like.device, dtype=like.dtype).requires_grad_()


def to_scores(output: Any) -> torch.Tensor:
    """The scores in what a network gives: itself, or its ``logits``."""
    scores = output if isinstance(output, torch.Tensor) else getattr(output, "logits", None)
    if not isinstance(scores, torch.Tensor) or scores.ndim != 2:
        raise UsageError("not for this architecture: its answer is not one table of scores")
    return scores


def _trace(
    network: torch.nn.Module, example: npt.NDArray[np.float32]
) -> dict[str, tuple[int, ...] | None]:
    """Shapes of the outputs of all layers that run exactly once, as they come to their end."""
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
