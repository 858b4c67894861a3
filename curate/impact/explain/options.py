"""Options of `explain_impact`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from curate.core.errors import UsageError, describe_choice
from curate.core.records import set_names
from curate.impact.explain.attribution import METHODS, MethodOptions

TARGETS = ("predicted", "original")


@dataclass(frozen=True, slots=True)
class Selection:
    """Which images are explained; by default those whose prediction changed most.

    Args:
        max_images: number of images whose prediction changed.
        sample: number of images drawn at random instead, or None.
        ids: a file with one id per line instead, or None.
        predictions: folder kept by ``curate impact evaluate`` that tells which predictions
            changed; None to run the classifier on all images with faces.
        seed: random seed.

    Raises:
        UsageError: if a number is below 1, or two ways are requested.
    """

    max_images: int = 24
    sample: int | None = None
    ids: Path | None = None
    predictions: Path | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.max_images < 1 or (self.sample is not None and self.sample < 1):
            raise UsageError("--max-images and --sample must be 1 or more")
        if self.seed < 0:
            raise UsageError("--seed must be 0 or more")
        if self.sample is not None and self.ids is not None:
            raise UsageError("--sample and --ids select images in different ways; give one")
        if self.predictions is not None and self.way != "changed":
            raise UsageError("--predictions is for images that changed; drop --sample or --ids")

    @property
    def way(self) -> str:
        """``changed``, ``sample`` or ``ids``."""
        if self.ids is not None:
            return "ids"
        return "changed" if self.sample is None else "sample"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainOptions:
    """Options of `explain_impact`.

    Args:
        methods: names in `curate.impact.explain.attribution.METHODS`, without duplicates.
        method_options: options of the methods.
        selection: which images.
        classes: a file of class names or ``imagenet``; None for the model's own.
        target: class that is explained: ``predicted`` for each image's own prediction, or
            ``original`` for the original's on both.
        layout: layout of the originals, or ``auto``.
        sheet: whether to draw a contact sheet.
        show_originals: whether the sheet shows the originals.

    Raises:
        UsageError: if a value is invalid.
    """

    methods: tuple[str, ...] = tuple(METHODS)
    method_options: MethodOptions = field(default_factory=MethodOptions)
    selection: Selection = field(default_factory=Selection)
    classes: str | None = None
    target: str = "predicted"
    layout: str = "auto"
    sheet: bool = False
    show_originals: bool = False

    def __post_init__(self) -> None:
        set_names(self, "methods")
        if not self.methods or len(set(self.methods)) < len(self.methods):
            raise UsageError(f"name methods, each once, from: {', '.join(METHODS)}")
        for name in self.methods:
            METHODS.check(name)
        if self.target not in TARGETS:
            raise UsageError(describe_choice("target", self.target, TARGETS))
        if min(self.method_options.lime_samples, self.method_options.shap_samples) < 10:
            raise UsageError("--lime-samples and --shap-samples must be 10 or more")
