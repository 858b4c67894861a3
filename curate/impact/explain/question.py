"""What is asked of ``curate impact explain``."""

from __future__ import annotations

from dataclasses import dataclass, field

from curate.core.errors import UsageError
from curate.impact.explain.attribution import METHODS
from curate.impact.explain.attribution.method import Options
from curate.impact.explain.choice import Choice

TARGETS = ("predicted", "original")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is explained, and how.

    Args:
        methods: names in `curate.impact.explain.attribution.METHODS`, each once.
        options: how they work.
        choice: which images.
        classes: names of the classes, as a file or ``imagenet``; None for the model's own.
        target: whose class is explained: ``predicted``, each image's own; or ``original``,
            the original's for both.
        layout: the originals' layout, or ``auto``.
        sheet: whether pictures are drawn.
        show_originals: whether these show the originals as they are.

    Raises:
        UsageError: if an option makes no sense.
    """

    methods: tuple[str, ...] = tuple(METHODS)
    options: Options = field(default_factory=Options)
    choice: Choice = field(default_factory=Choice)
    classes: str | None = None
    target: str = "predicted"
    layout: str = "auto"
    sheet: bool = False
    show_originals: bool = False

    def __post_init__(self) -> None:
        if not self.methods or len(set(self.methods)) < len(self.methods):
            raise UsageError(f"name methods, each once, from: {', '.join(METHODS)}")
        for name in self.methods:
            METHODS.check(name)
        if self.target not in TARGETS:
            raise UsageError(f"unknown target {self.target!r}; choose one of: {', '.join(TARGETS)}")
        if min(self.options.lime_samples, self.options.shap_samples) < 10:
            raise UsageError("--lime-samples and --shap-samples must be 10 or more")
