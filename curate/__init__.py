"""Obfuscate the faces of an image dataset, balance its groups, account for both.

>>> import curate
>>> summary = curate.blur("photos", "out")                      # doctest: +SKIP
>>> hidden = curate.obfuscate(image, [(40, 30, 90, 95)])        # doctest: +SKIP
>>> detector = curate.make_detector(curate.DetectorOptions())   # doctest: +SKIP
>>> faces = detector.detect(image)                              # doctest: +SKIP
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from curate.core.errors import CurateError as CurateError
    from curate.core.faces import Detection as Detection
    from curate.core.faces import Face as Face
    from curate.core.geometry import Box as Box
    from curate.detectors import DetectorOptions as DetectorOptions
    from curate.detectors import make as make_detector
    from curate.obfuscators.apply import obfuscate as obfuscate
    from curate.pipeline.blur import blur as blur
    from curate.pipeline.check import iter_problems as iter_problems
    from curate.pipeline.detect import detect as detect
    from curate.pipeline.replay import replay as replay
    from curate.pipeline.session import Session as Session
    from curate.pipeline.summary import Summary as Summary
    from curate.publishing.card.run import CardOptions as CardOptions
    from curate.publishing.card.run import write_card as write_card
    from curate.publishing.hub.prepare import PushOptions as PushOptions
    from curate.publishing.hub.pull import pull as pull
    from curate.publishing.hub.push import push as push
    from curate.recipe import Recipe as Recipe
    from curate.review.export import export_review as export_review
    from curate.review.export import redo_reviewed as redo_reviewed
    from curate.review.run import start_review as start_review
    from curate.review.summary import report_review as report_review

__version__ = "0.1.0"

_HOMES = {
    "Box": "curate.core.geometry:Box",
    "CardOptions": "curate.publishing.card.run:CardOptions",
    "CurateError": "curate.core.errors:CurateError",
    "Detection": "curate.core.faces:Detection",
    "DetectorOptions": "curate.detectors:DetectorOptions",
    "Face": "curate.core.faces:Face",
    "PushOptions": "curate.publishing.hub.prepare:PushOptions",
    "Recipe": "curate.recipe:Recipe",
    "Session": "curate.pipeline.session:Session",
    "Summary": "curate.pipeline.summary:Summary",
    "blur": "curate.pipeline.blur:blur",
    "detect": "curate.pipeline.detect:detect",
    "export_review": "curate.review.export:export_review",
    "iter_problems": "curate.pipeline.check:iter_problems",
    "make_detector": "curate.detectors:make",
    "redo_reviewed": "curate.review.export:redo_reviewed",
    "report_review": "curate.review.summary:report_review",
    "start_review": "curate.review.run:start_review",
    "replay": "curate.pipeline.replay:replay",
    "obfuscate": "curate.obfuscators.apply:obfuscate",
    "pull": "curate.publishing.hub.pull:pull",
    "push": "curate.publishing.hub.push:push",
    "write_card": "curate.publishing.card.run:write_card",
}

__all__ = [
    "Box",
    "CardOptions",
    "CurateError",
    "Detection",
    "DetectorOptions",
    "Face",
    "PushOptions",
    "Recipe",
    "Session",
    "Summary",
    "blur",
    "detect",
    "export_review",
    "iter_problems",
    "make_detector",
    "obfuscate",
    "pull",
    "push",
    "redo_reviewed",
    "replay",
    "report_review",
    "start_review",
    "write_card",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that ``import curate`` stays light."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'curate' has no attribute {name!r}")
    module, _, attribute = home.partition(":")
    return getattr(importlib.import_module(module), attribute)
